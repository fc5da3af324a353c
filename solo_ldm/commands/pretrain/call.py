"""`solo_ldm.pretrain`: the command as a function, of images that a program holds."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from solo_ldm.commands.pretrain import pretrain as command
from solo_ldm.commands.pretrain.trained import Run
from solo_ldm.commands.pretrain.values import plain
from solo_ldm.commands.shared.progress import progress_bar
from solo_ldm.config.command import composed_of
from solo_ldm.config.errors import one_line_exceptions
from solo_ldm.config.interruption import handlers_kept
from solo_ldm.config.own import Own
from solo_ldm.config.suggestions import suggestion
from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.memory import MEMORY, Held, hold, views_for
from solo_ldm.data.datasets.registry import DATASETS
from solo_ldm.data.datasets.shards import kind_of_shards, pattern_of_shards
from solo_ldm.data.sources.collected import collect, side_of
from solo_ldm.run.configuration import RunConfig, complete, names_own_table
from solo_ldm.run.console import plain_console
from solo_ldm.run.trainer import is_helper_process

_CONFIGS = Path(__file__).parents[2] / "configs"


def pretrain(
    method: str | Path = "gaussprob",
    data: Any = None,
    labels: Any = None,
    *,
    val: Any = None,
    val_labels: Any = None,
    data_range: tuple[float, float] | None = None,
    epochs: int | None = None,
    output: str | Path | None = None,
    quiet: bool = False,
    **overrides: Any,
) -> Run:
    """Pretrain a backbone on images, evaluate and document it.

    It is the command `solo-ldm pretrain`: the same configuration gives the same weights, and an
    interrupted call continues when it is called again with the same data and settings.

        run = solo_ldm.pretrain("simclr", data=X, labels=y, epochs=20, optimizer={"lr": 1e-3})

    Args:
        method: name of a packaged configuration (gaussprob, simclr, lightly/dino, ...), or the
            path of a YAML.
        data: the training images: an array (N, H, W, C) or (N, H, W); a tensor (N, C, H, W); a
            sequence, or a data set of torch, of images (Pillow's, arrays (H, W[, C]), tensors
            (C, H, W), paths) or of pairs (image, label); a data set of Hugging Face; the path of a
            folder of images or of a list of them; a path, pattern or list of shards, or a folder
            of them; or the name of a data set (digits, cifar10, ...). None takes what the
            configuration says.
        labels: (N,) whole numbers or names, -1 where an image has none; None takes those that the
            data have. Without any, the features are not scored.
        val: the images to score on, of the same kinds; None holds out data.val_fraction (0.2) of
            the labelled images.
        val_labels: of `val`.
        data_range: (BLACK, WHITE) of an array or tensor that is not of 8 bits.
        epochs: of training; max_epochs of the configuration.
        output: folder of runs; trained_models by default.
        quiet: print nothing.
        **overrides: further keys of the configuration (configs/host.yaml): a value, a mapping of
            the keys below it, or the name of a part, as augmentations="cifar". A dotted key is
            given as **{"data.fraction": 0.5}. Without augmentations, images in memory take those
            for their size.

    Returns:
        The trained backbone, its scores, its report and its folder.

    Raises:
        ValueError: in one line: a key, a value or images that do not fit.
        FileNotFoundError: in one line: images or weights that are not there.
        RuntimeError: the training was ended by trainer.max_time.
        KeyboardInterrupt: the training was interrupted; the same call continues it.
    """
    console = plain_console(quiet=quiet or is_helper_process())
    folder, name = _configuration(method)
    explained = Own(folder, name, _CONFIGS).explained
    with handlers_kept(), _random_state_kept(), one_line_exceptions(lambda: RunConfig, explained):
        given = _given(overrides, max_epochs=epochs, output=output)
        images = _Images(data, labels, val, val_labels, console)
        ranged = {} if data_range is None else {"data.range": plain("data_range", data_range)}
        given = images.keys() | ranged | given
        cfg = _composed(folder, name, given)
        if not images.placed and "augmentations" not in given and _has_default_views(cfg):
            cfg = _composed(folder, name, given | images.views())
        held = images.read(cfg)
        try:
            outcome = command(cfg, console)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                "stopped; what is saved stays, and the same call continues it"
            ) from None
        del held
        if outcome is None and is_helper_process():
            raise SystemExit(0)  # this process was started to help another one, which goes on
        if outcome is None:
            raise RuntimeError("trainer.max_time ended the training; the same call continues it")
        return Run(outcome.folder.path)


def _configuration(method: str | Path) -> tuple[Path | None, str]:
    """Return the folder, None for packaged ones, and the name of a configuration."""
    path = Path(method).expanduser()
    if path.suffix not in (".yaml", ".yml"):
        return None, str(method)
    if path.suffix == ".yaml" and (_CONFIGS / path).is_file() and not path.is_file():
        return None, str(path.with_suffix(""))
    if not path.is_file() or path.suffix == ".yml":
        remedy = "rename it to .yaml" if path.is_file() else "check the path"
        raise FileNotFoundError(f"method: expected a YAML, got {method}; {remedy}")
    return path.parent, path.stem


def _given(overrides: Mapping[str, Any], **named: Any) -> dict[str, Any]:
    """Return the keys of the configuration that arguments give, as plain values."""
    given = {key: plain(key, value) for key, value in overrides.items()}
    for key, value in named.items():
        if value is None:
            continue
        argument = "epochs" if key == "max_epochs" else key
        for other in {key, "checkpoint.dir"} if key == "output" else {key}:
            if other in given:
                raise ValueError(f"{argument}: is {other} as well; leave one out")
        given[key] = plain(argument, value)
    return given


def _composed(
    folder: Path | None, name: str, given: Mapping[str, Any], table: bool = False
) -> DictConfig:
    """Return the completed configuration of a name and of keys; with `table`, of data=captions."""

    def is_choice(key: str, value: Any) -> bool:
        groups = [one / key for one in (_CONFIGS, folder) if one is not None]
        made = key in ("data", "augmentations", "masked")  # by the data sets
        return isinstance(value, str) and (made or any(one.is_dir() for one in groups))

    choices = [f"{key}={value}" for key, value in given.items() if is_choice(key, value)]
    if table:
        choices = [*(one for one in choices if not one.startswith("data=")), "data=captions"]
    try:
        cfg = composed_of(name, folder, choices)
    except ValueError as error:
        raise ValueError(f"method: {error}") from None
    except HydraException as error:
        # A YAML may say all of its data by itself, as solo-learn's do; then it says the views, too.
        if "data" not in given or "Could not override 'data'" not in str(error):
            raise
        others = {key: value for key, value in given.items() if key != "data"}
        return _composed(folder, name, {"data.dataset": given["data"], **others})
    OmegaConf.set_struct(cfg, False)
    for key, value in given.items():
        if not is_choice(key, value):
            OmegaConf.update(cfg, key, value, merge=True, force_add=True)
    cfg = complete(cfg)
    # Before the values are mixed: those that are given stay.
    return _composed(folder, name, given, True) if names_own_table(cfg) and not table else cfg


def _has_default_views(cfg: DictConfig) -> bool:
    """Whether views are those of images in memory of no known size."""
    views = OmegaConf.to_container(cfg.augmentations)
    return views in (MEMORY.views.pretraining, MEMORY.views.masked["augmentations"])


class _Images:
    """The images of a call, of whatever kind, and what they say in the configuration.

    Args:
        data: see `pretrain`, as the others.
        labels: of them.
        val: to score on.
        val_labels: of these.
        console: for progress.
    """

    def __init__(
        self,
        data: Any,
        labels: Any,
        val: Any,
        val_labels: Any,
        console: Console,
    ) -> None:
        data, val = pattern_of_shards(data, "data"), pattern_of_shards(val, "val")
        self.data, self.labels, self.val, self.val_labels = data, labels, val, val_labels
        self.console = console
        self.placed = data is None or isinstance(data, (str, Path))
        if not self.placed:
            if isinstance(val, (str, Path)):
                raise ValueError(f"val: expected images in memory, as data are, got {val}")
            return
        for name, value in (("labels", labels), ("val_labels", val_labels)):
            if value is not None:
                raise ValueError(
                    f"{name}: expected none, as data are in files; class folders, or a list of "
                    "files, say their labels"
                )
        if val is not None and not isinstance(val, (str, Path)):
            raise ValueError("val: expected a path, as data are in files, got images in memory")
        if val is not None and data is None:
            raise ValueError("val: expected data as well")

    def views(self) -> dict[str, Any]:
        """Return the choice of views for images of the size of the first."""
        side = side_of(self.data, self.labels)
        self.console.print(f"augmentations={views_for(side)}, for images of {side} pixels")
        return {"augmentations": views_for(side)}

    def keys(self) -> dict[str, Any]:
        """Return the keys of the configuration that the images decide."""
        if not self.placed:
            return {"data": "memory"}
        if self.data is None:
            return {}
        val = {} if self.val is None else {"data.val_path": str(Path(self.val).expanduser())}
        if isinstance(self.data, str) and self.data in DATASETS:
            return {"data": self.data, **val}
        path = Path(self.data).expanduser()
        if kind := kind_of_shards(path):
            return {"data": kind, "data.train_path": str(path), **val}
        if not path.exists():
            near = suggestion(str(self.data), list(DATASETS))
            raise FileNotFoundError(
                f"data: expected a folder, a list of files, shards or one of "
                f"{', '.join(DATASETS)}, got {self.data}{near}"
            )
        return {"data": "custom", "data.train_path": str(path), **val}

    def read(self, cfg: DictConfig) -> list[Held]:
        """Read images into memory and name them in the configuration, as long as they are held."""
        if self.placed:
            return []
        config = DataConfig(**cfg.data)
        known = None if config.range in (None, "auto") else tuple(config.range)
        how: Any = {"pixel_range": known, "channels": config.channels}
        held: list[Held] = []
        for key, images, labels in (
            ("data", self.data, self.labels),
            ("val", self.val, self.val_labels),
        ):
            if images is None:
                continue
            like = held[0].listing if held else None
            if like is not None and not like.classes:
                raise ValueError("val: expected none, as data have no labels to learn classes from")
            with progress_bar(self.console, f"reading {key}") as report:
                told = partial(report, "")
                listing = collect(images, labels, **how, key=key, like=like, report=told)
            held.append(hold(listing))
            cfg.data["val_path" if like else "train_path"] = held[-1].place
        return held


def _random_state_kept() -> AbstractContextManager[Any]:
    """Leave the random numbers of the program that calls as they are."""
    from lightning.pytorch.utilities.seed import isolate_rng

    return isolate_rng()
