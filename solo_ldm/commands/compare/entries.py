"""The entries of a comparison: composed, completed and tried out before the first run starts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from hydra import compose, initialize_config_dir, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from solo_ldm.commands.compare.schema import EntrySpec, override_key, parse_entries
from solo_ldm.config.command import one_line
from solo_ldm.config.suggestions import suggestion
from solo_ldm.data.config import DataConfig
from solo_ldm.data.module import ImageDataModule
from solo_ldm.evaluation.protocols import find_protocol
from solo_ldm.methods import find_method
from solo_ldm.methods.base import Description
from solo_ldm.optim.optimizers import check_optimizer
from solo_ldm.run.configuration import RunConfig, complete, for_method
from solo_ldm.run.folder import identity
from solo_ldm.run.hardware import resolve_hardware

_PACKAGE = "solo_ldm.configs"


@dataclass(frozen=True)
class Entry:
    """A method of a comparison, ready to run.

    Args:
        spec: as the user wrote it.
        runs: the completed configuration of each seed.
        description: what the method is.
    """

    spec: EntrySpec
    runs: dict[int, DictConfig]
    description: Description

    @property
    def label(self) -> str:
        """Its name in the table."""
        return self.spec.label

    @property
    def cfg(self) -> DictConfig:
        """The configuration of its first seed."""
        return next(iter(self.runs.values()))

    @property
    def cell(self) -> str:
        """Its place on the grid in words, or its headline where it is off the grid."""
        return cell_of(self.description.axes, self.description.headline)


def cell_of(axes: dict[str, str | None], headline: str) -> str:
    """Name a cell of the grid: latent, entropy and, where they are not the plain ones, the rest.

    >>> axes = {"latent": "sphere", "entropy": "none", "over": "joint"}
    >>> cell_of(axes | {"predictor": "mlp", "target": "detached"}, "")
    'sphere, no entropy, mlp predictor, detached target'

    Args:
        axes: latent, entropy, over, predictor and target; all None off the grid.
        headline: what a method off the grid says of itself.
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


def prepare_entries(cfg: DictConfig, folder: Path | None = None) -> list[Entry]:
    """Compose every entry for every seed, and try it out as far as can be done without training.

    Args:
        cfg: the completed comparison.
        folder: a folder of the user's own configurations, which go before the packaged ones.

    Raises:
        ValueError: one line naming the entry and what is wrong with it.
        FileNotFoundError: one line naming the entry whose data is not there.
    """
    for protocol in cfg.protocols:
        find_protocol(protocol)
    entries: list[Entry] = []
    read: dict[str, ImageDataModule] = {}
    for spec in parse_entries(cfg.methods):
        with _naming(spec.label):
            runs = _compose(spec, cfg, folder)
            description = find_method(_first(runs).method).describe(_first(runs))
            entry = Entry(spec, runs, description)
            _try_out(entry, read)
            entries.append(entry)
    _assert_different(entries)
    return entries


def _compose(spec: EntrySpec, cfg: DictConfig, folder: Path | None) -> dict[int, DictConfig]:
    """Return the completed configuration of each seed."""
    fixed = ["++evaluation.report=false"]
    if cfg.jobs > 1:
        # The cores are taken; and loaders would start their workers by spawning, seconds each.
        fixed.append("++data.num_workers=0")
    overrides = merge_overrides([*fixed, *cfg.overrides], spec.overrides)
    with _configurations(spec.config, folder) as search:
        composed = compose(spec.config, overrides=[*search, *overrides])
    runs: dict[int, DictConfig] = {}
    for seed in cfg.seeds:
        one = composed.copy()
        OmegaConf.set_struct(one, False)
        one.seed = seed
        OmegaConf.update(one, "evaluation.protocols", list(cfg.protocols), force_add=True)
        OmegaConf.update(one, "checkpoint.dir", str(cfg.checkpoint.dir), force_add=True)
        runs[seed] = complete(one)
        # Said in the name, so that people find a run; the digest in a folder's name says all.
        runs[seed].name = f"{runs[seed].name}-seed{seed}"
    return runs


def merge_overrides(shared: Sequence[str], own: Sequence[str]) -> list[str]:
    """Return the overrides of an entry: those of all entries unless it has its own for the key.

    Hydra refuses a group that is chosen twice.
    """
    keys = {override_key(one) for one in own}
    return [one for one in shared if override_key(one) not in keys] + list(own)


def _try_out(entry: Entry, read: dict[str, ImageDataModule]) -> None:
    """Do what a run does before it trains: open the data, build the method.

    Args:
        entry: what to try.
        read: data modules by what they hold, so that each data set is opened once.
    """
    cfg = entry.cfg
    hardware = resolve_hardware(cfg)
    if hardware.num_processes > 1:
        raise ValueError(
            f"devices={cfg.devices} with num_nodes={cfg.num_nodes}: a run of a comparison trains "
            "in one process; set devices=1 and num_nodes=1"
        )
    holds = OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["data", "augmentations"]))
    key = json.dumps([holds, cfg.optimizer.batch_size])
    if key not in read:
        read[key] = ImageDataModule(
            DataConfig(**cfg.data),
            cfg.augmentations,
            cfg.optimizer.batch_size,
            cfg.seed,
            hardware.device,
        )
        read[key].check_batches(hardware.num_processes)
        _assert_labels(read[key])
    check_optimizer(cfg.optimizer.name, dict(cfg.optimizer.kwargs))
    find_method(cfg.method)(for_method(cfg, read[key], hardware))


def _assert_labels(data: ImageDataModule) -> None:
    if not data.num_val_images or not data.num_classes:
        raise ValueError(
            f"{data.data.dataset}: a comparison scores labelled validation images, and there are "
            "none; give class folders (data.train_path, data.val_path), or another set (data=NAME)"
        )


def _assert_different(entries: Sequence[Entry]) -> None:
    """Refuse two entries that would train the same thing, in the same folder."""
    labels: dict[str, str] = {}
    for entry in entries:
        key = json.dumps(identity(entry.cfg), sort_keys=True)
        if key in labels:
            raise ValueError(
                f"methods: {labels[key]} and {entry.label} are the same configuration: "
                "leave one out"
            )
        labels[key] = entry.label


@contextmanager
def _configurations(name: str, folder: Path | None) -> Iterator[list[str]]:
    """Let Hydra compose a configuration of the user's or, where there is none, a packaged one.

    Yields:
        Overrides that let either use the groups of the other.
    """
    packaged = files(_PACKAGE)
    own = folder is not None and (folder / f"{name}.yaml").is_file()
    if not own and not (packaged / f"{name}.yaml").is_file():
        names = sorted(path.name[:-5] for path in packaged.iterdir() if path.name[-5:] == ".yaml")
        where = "packaged" if folder is None else f"in {folder} or packaged"
        raise ValueError(
            f"expected the name of a configuration {where}, got {name!r}{suggestion(name, names)}"
        )
    # Hydra composes the comparison itself, and allows one composer at a time.
    state = GlobalHydra.instance()
    before = state.hydra
    state.clear()
    try:
        if folder is None:
            with initialize_config_module(_PACKAGE, version_base="1.3"):
                yield []
        elif own:
            with initialize_config_dir(str(folder.resolve()), version_base="1.3"):
                yield [f"hydra.searchpath=[pkg://{_PACKAGE}]"]
        else:
            with initialize_config_module(_PACKAGE, version_base="1.3"):
                yield [f"hydra.searchpath=['file://{folder.resolve()}']"]
    finally:
        state.hydra = before


@contextmanager
def _naming(label: str) -> Iterator[None]:
    """Put the label of an entry before what is wrong with it."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{label}: {one_line(error)}") from error
    except ImportError as error:
        raise ValueError(f"{label}: needs a package that is missing: {one_line(error)}") from error
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        raise ValueError(f"{label}: {one_line(error, lambda: RunConfig)}") from error


def _first(runs: dict[int, DictConfig]) -> DictConfig:
    return next(iter(runs.values()))
