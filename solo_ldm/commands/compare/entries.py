"""The entries of a comparison: composed, completed and checked before the first run starts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_ldm import configs
from solo_ldm.commands.compare.runs import OFFLINE
from solo_ldm.commands.compare.schema import EntrySpec, override_key, parse_entries
from solo_ldm.config.command import composed_of
from solo_ldm.config.errors import one_line
from solo_ldm.config.overrides import Arguments, for_hydra
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.protocols import find_protocol
from solo_ldm.methods import find_method
from solo_ldm.methods.base import Description
from solo_ldm.optim.optimizers import check_optimizer
from solo_ldm.run.configuration import (
    RunConfig,
    check_embedded,
    check_groups,
    complete,
    for_method,
    read_data,
    with_own_table,
)
from solo_ldm.run.data_identity import DataIdentity, identity_of_images
from solo_ldm.run.folder import identity
from solo_ldm.run.hardware import resolve_hardware


@dataclass(frozen=True)
class Entry:
    """A method of a comparison, ready to run.

    Args:
        spec: as configured.
        runs: the completed configuration of each seed.
        description: of the method.
        data: the identity of the images; None where they are not opened.
    """

    spec: EntrySpec
    runs: dict[int, DictConfig]
    description: Description
    data: DataIdentity | None

    @property
    def label(self) -> str:
        """Its name in the table."""
        return str(self.spec.label)

    @property
    def cfg(self) -> DictConfig:
        """The configuration of its first seed."""
        return next(iter(self.runs.values()))

    @property
    def cell(self) -> str:
        """Its cell of the grid, or its headline where it is off the grid."""
        return cell_of(self.description.axes, self.description.headline)


def cell_of(axes: Mapping[str, str | None], headline: str) -> str:
    """Name a cell of the grid: latent, entropy and, where they are not the default, the rest.

    >>> axes = {"latent": "sphere", "entropy": "none", "over": "joint"}
    >>> cell_of(axes | {"predictor": "mlp", "target": "detached"}, "")
    'sphere, no entropy, mlp predictor, detached target'

    Args:
        axes: latent, entropy, over, predictor and target; all None off the grid.
        headline: the name of a method off the grid.
    """
    if axes.get("latent") is None:
        return headline
    entropy = "no entropy" if axes["entropy"] == "none" else f"{axes['entropy']}, {axes['over']}"
    parts = [str(axes["latent"]), entropy]
    if axes["predictor"] not in (None, "none"):
        parts.append(f"{axes['predictor']} predictor")
    if axes["target"] not in (None, "same"):
        parts.append(f"{str(axes['target']).replace('_', ' ')} target")
    return ", ".join(parts)


def whole_grid(cells: Collection[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the most cells of three axes that are all combinations of some levels of each."""
    first, middle, last = (list(dict.fromkeys(cell[axis] for cell in cells)) for axis in range(3))
    most: list[tuple[str, ...]] = []
    for some, others in product(_subsets(first), _subsets(last)):
        # With these, all levels of the other axis that have them all.
        levels = [m for m in middle if all((f, m, o) in cells for f in some for o in others)]
        within = (some, levels, others)
        found = [cell for cell in cells if all(cell[axis] in within[axis] for axis in range(3))]
        most = max(most, found, key=len)
    return most


def _subsets(levels: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the subsets of levels, the largest first."""
    return [one for size in range(len(levels), 0, -1) for one in combinations(levels, size)]


def prepare_entries(cfg: DictConfig, folder: Path | None = None) -> list[Entry]:
    """Compose every entry for every seed, and check all that can be checked without training.

    Args:
        cfg: the completed comparison.
        folder: a folder of the user's own configurations, which precede the packaged ones.

    Raises:
        ValueError: one line naming the entry and what is wrong with it.
        FileNotFoundError: one line naming the entry whose data is not there.
    """
    for protocol in cfg.protocols:
        if protocol != OFFLINE:
            find_protocol(protocol, "protocols")
    entries: list[Entry] = []
    labels: dict[str, str] = {}
    read: dict[str, tuple[ImageDataModule, DataIdentity]] = {}
    for spec in parse_entries(cfg.methods):
        with _naming(str(spec.label)):
            runs = _compose(spec, cfg, folder)
            first = next(iter(runs.values()))
            description = find_method(first.method).describe(first)
            entry = Entry(spec, runs, description, _check(first, read) if cfg.train else None)
        entries.append(entry)
        other = labels.setdefault(json.dumps(identity(first), sort_keys=True), entry.label)
        if other != entry.label:
            raise ValueError(
                f"methods: {other} and {entry.label} are the same configuration; leave one out"
            )
    return entries


def _compose(spec: EntrySpec, cfg: DictConfig, folder: Path | None) -> dict[int, DictConfig]:
    """Return the completed configuration of each seed."""
    shared = ["++evaluation.report=false", *cfg.overrides]
    if cfg.jobs > 1:
        # All cores are in use; and loaders would spawn their workers, which takes seconds.
        shared.insert(0, "++data.num_workers=0")
    # An entry's own override replaces a shared one: Hydra refuses a group that is chosen twice.
    own = {override_key(one) for one in spec.overrides}
    overrides = [*(one for one in shared if override_key(one) not in own), *spec.overrides]
    given = Arguments([], overrides, spec.config, folder, multirun=False, shows=False)
    meant = for_hydra(given, RunConfig, groups=Path(configs.__file__).parent)

    def of_seed(composed: DictConfig, seed: int) -> DictConfig:
        one = composed.copy()
        OmegaConf.set_struct(one, False)
        one.seed = seed
        OmegaConf.update(one, "evaluation.protocols", list(cfg.protocols), force_add=True)
        OmegaConf.update(one, "checkpoint.dir", str(cfg.checkpoint.dir), force_add=True)
        return one

    def composed_with(choice: str, seed: int) -> DictConfig:
        others = [one for one in meant if override_key(one) != override_key(choice)]
        return of_seed(composed_of(spec.config, folder, [*others, choice]), seed)

    composed, runs = composed_of(spec.config, folder, meant), dict[int, DictConfig]()
    for seed in cfg.seeds:
        one = complete(of_seed(composed, seed))
        runs[seed] = with_own_table(one, partial(composed_with, seed=seed))
        check_embedded(runs[seed].data)
        # For people to find a run; the digest in the folder's name identifies it.
        runs[seed].name = f"{runs[seed].name}-seed{seed}"
    return runs


def _check(cfg: DictConfig, read: dict[str, tuple[ImageDataModule, DataIdentity]]) -> DataIdentity:
    """Do what a run does before it trains: open the data, build the method.

    Args:
        cfg: the completed configuration of a run.
        read: data modules by their configuration, so that each data set is opened once.

    Returns:
        The identity of the images.
    """
    hardware = resolve_hardware(cfg)
    if hardware.num_processes > 1:
        raise ValueError(
            f"devices: expected one process for a run of a comparison, got devices={cfg.devices} "
            f"with num_nodes={cfg.num_nodes}; set devices=1 and num_nodes=1"
        )
    parts = OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["data", "augmentations"]))
    key = json.dumps([parts, cfg.optimizer.batch_size])
    if key not in read:
        data = read_data(cfg, hardware)
        data.check_batches(hardware.num_processes)
        if not data.num_val_images or not data.num_classes:
            raise ValueError(
                f"data: expected labelled validation images, got none in {cfg.data.dataset}; give "
                "class folders or a table's column of labels (data.train_path, data.val_path), or "
                "another set (data=NAME)"
            )
        read[key] = data, identity_of_images(data)
    check_optimizer(cfg.optimizer.name, dict(cfg.optimizer.kwargs))
    data, identified = read[key]
    method = find_method(cfg.method)(for_method(cfg, data, hardware))
    method.use_images(data)
    check_groups(cfg, data, method, hardware)
    return identified


@contextmanager
def _naming(label: str) -> Iterator[None]:
    """Put the label of an entry before its errors."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{label}: {one_line(error)}") from error
    except ImportError as error:
        raise ValueError(f"{label}: needs a package that is missing: {one_line(error)}") from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ValueError(f"{label}: {one_line(error, lambda: RunConfig)}") from error
