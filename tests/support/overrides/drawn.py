"""Random overrides of all commands: bad values, misspelt keys, misspelt choices."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from solo_ldm.cli import COMMANDS
from solo_ldm.config.command import HydraCommand

VALUES = (
    *("nan", "inf", "-inf", "-1", "0", "0.5", "1e-30", "1e9", "1e20", "1e300"),
    *("2147483648", "9223372036854775808", "true", "false", "someword", "'0.5'", "-0.001"),
    *("[1,2]", "{a:1}", "[]", "{}", "null", "''", "[nan]", "[[1]]", "[-1]", "[null]", "x" * 5000),
)


@dataclass(frozen=True)
class Base:
    """A command and a configuration that is right, from which one override leads astray.

    Args:
        command: of `solo-ldm`.
        config: name of the configuration.
        overrides: that make it right.
        besides: keys that the configuration leaves out.
    """

    command: str
    config: str
    overrides: tuple[str, ...] = ()
    besides: tuple[str, ...] = ()


_TRAINER = (
    *("trainer.gradient_clip_val", "trainer.max_epochs", "trainer.accelerator", "trainer.nonsense"),
    *("trainer.callbacks", "trainer.logger", "trainer"),
)
_ADAM = ("optimizer.kwargs.betas", "optimizer.kwargs.eps", "optimizer.kwargs.amsgrad")
_LARS = (
    *("optimizer.kwargs.eta", "optimizer.kwargs.exclude_bias_n_norm", "optimizer.kwargs.momentum"),
)
_PARTS = ("optimizer", "scheduler", "method_kwargs", "data", "checkpoint", "backbone.kwargs.width")
_ENTROPIES = ("num_neighbours", "norm", "clip_quantile", "kernel_precision", "ridge", "num_slices")
_SERIES = (
    *(f"objective.entropy_kwargs.{key}" for key in _ENTROPIES),
    *("decoders.position.lr", "decoders.position.hidden_dim", "decoders.position", "decoders"),
    *("encoder", "predictor", "objective", *_TRAINER, *_ADAM),
)
_STUDY = ("entropy_kwargs", *(f"entropy_kwargs.{key}" for key in _ENTROPIES))
_VIEW = (
    *("crop_size", "num_crops", "mean", "std", "rrc.crop_min_scale", "rrc", "affine.degrees"),
    *("color_jitter.brightness", "color_jitter.hue", "gaussian_blur.sigma_max", "grayscale.prob"),
)
_VIEWS = tuple(f"augmentations.0.{key}" for key in _VIEW)
_LDM = ("method_kwargs.loss", "method_kwargs.recognition_precision")
_HERE = "pretrained_feature_extractor=."

BASES = (
    Base("pretrain", "gaussprob", (), (*_TRAINER, *_ADAM, *_PARTS, *_VIEWS, *_LDM)),
    Base("pretrain", "sphereprob", ("optimizer.name=lars",), (*_LARS, *_LDM)),
    *(
        Base("pretrain", name, (), _PARTS)
        for name in (
            *("gje", "categorical", "product", "ijepa", "beit", "mae", "vjepa", "lejepa"),
            *("emp_ssl", "vicreg"),
            "directpred",
        )
    ),
    Base("pretrain", "siglip", ("data=digits",), _PARTS),  # no path is looked at
    *(Base("pretrain", f"lightly/{name}", (), _PARTS) for name in ("dino", "swav", "moco", "tico")),
    Base("linear", "linear", (_HERE, "data=digits"), (*_TRAINER, *_LARS, "data")),
    Base("linear", "linear", (_HERE, "data=digits", "finetune=true"), (*_TRAINER, *_VIEWS)),
    Base("knn", "knn", (_HERE,), ("augmentations", "data", "run")),
    Base("uncertainty", "uncertainty", (_HERE,), ("augmentations", "data")),
    Base("clusters", "clusters", (_HERE,), ("run",)),
    Base("zeroshot", "zeroshot", (_HERE,), ("run",)),
    Base("diagnostics", "diagnostics", (_HERE,), ("augmentations", "data", "run")),
    Base("latents", "latents", ("run=.",)),
    Base("compare", "compare", (), ("folder",)),
    Base("ica", "ica", ("entropy=neighbour",), _STUDY),
    Base("ica", "ica", ("task=ornstein_uhlenbeck", "entropy=kernel"), ("folder", *_STUDY)),
    Base("theorem", "theorem", (), ("folder", *_STUDY)),
    Base("predictive", "figure8", (), _SERIES),
    Base("predictive", "circular_jumps", (), _SERIES),
    Base("predictive", "nonlinear_system", (), _SERIES),
    Base("predictive", "ornstein_uhlenbeck", (), _SERIES),
    Base("predictive", "frames", ("data.path=.",), _SERIES),
    Base("decode", "place_cells", (), (*_SERIES, "data.num_cells", "data.running_speed")),
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One override of a command.

    Args:
        base: what is overridden.
        key: as it is given.
        value: as on the command line.
        meant: the key that a misspelt one stands for; None for a key that is spelt right.
    """

    base: Base
    key: str
    value: str
    meant: str | None = None

    @property
    def parsed(self) -> Any:
        """The value as Hydra reads it."""
        return OverridesParser.create().parse_override(f"key={self.value}").value()

    @property
    def arguments(self) -> list[str]:
        """The command line."""
        return [
            *("--config-name", self.base.config, *self.base.overrides),
            f"++{self.key}={self.value}",
        ]

    @property
    def can_be_typed(self) -> bool:
        """Whether Hydra has a word for the key; it has none for an entry of a list."""
        return not self.key.startswith("augmentations.")

    def __str__(self) -> str:
        value = self.value if len(self.value) < 50 else f"{self.value[:50]}…"
        return " ".join([self.base.command, *self.arguments[1:-1], f"{self.key}={value}"])


def draw(count: int, seed: int) -> list[Case]:
    """Return distinct cases, the same for a seed: every base and every sort of value has its share.

    One key in twelve is misspelt; a choice is misspelt as often as a value of its own is drawn.
    """
    random_ = random.Random(seed)
    cases: dict[str, Case] = {}
    while len(cases) < count:
        base = random_.choice(BASES)
        key, given = random_.choice(keys_of(base))
        value, meant = random_.choice(VALUES), None
        if random_.random() < 1 / 12 and not key.startswith("augmentations."):
            meant, key, value = key, _misspelt(key, random_), "1"
            if key in dict(keys_of(base)):
                continue
        elif isinstance(given, str) and given.isidentifier() and random_.random() < 0.3:
            value = _misspelt(given, random_)
        case = Case(base, key, value, meant)
        cases.setdefault(str(case), case)
    return list(cases.values())


@cache
def keys_of(base: Base) -> list[tuple[str, Any]]:
    """Return the keys of a configuration with their values, and the base's own."""
    content = OmegaConf.to_container(composed(base))
    found = dict.fromkeys(base.besides) | dict(_leaves(content, ""))
    return [(key, value) for key, value in found.items() if not key.startswith("published")]


@cache
def composed(base: Base) -> DictConfig:
    """Return what Hydra makes of a base."""
    with initialize_config_module(command_of(base.command).package, version_base="1.3"):
        cfg = compose(base.config, overrides=list(base.overrides))
    OmegaConf.set_struct(cfg, False)
    return cfg


@cache
def command_of(name: str) -> HydraCommand:
    """Return a command whose work is `tried.accept`."""
    command = getattr(import_module(COMMANDS[name]), name)
    return replace(command, run="tests.support.overrides.tried:accept")


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}{key}.")
    else:
        yield prefix[:-1], node


def _misspelt(name: str, random_: random.Random) -> str:
    """Drop, double or exchange a letter of the last word."""
    stem, dot, word = name.rpartition(".")
    at = random_.randrange(len(word))
    changed = random_.choice([word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]])
    return f"{stem}{dot}{changed or word * 2}"
