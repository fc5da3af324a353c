"""solo-learn: our methods among its own, and its scripts and methods with what is ours.

In a checkout of solo-learn (github.com/vturrisi/solo-learn, MIT):

    python -m solo_ldm.integrations.solo_learn main_pretrain.py --config-path FOLDER \
        --config-name gaussprob.yaml

registers our methods and runs solo-learn's own script; main_linear.py, main_knn.py and
main_umap.py likewise. In a script of your own, `register()` does the first half. Conversely,
`method=solo/byol` trains a method of solo-learn by `solo-ldm pretrain` (see `find`).

Only this package knows solo-learn's private names. Importing it changes nothing.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import runpy
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import timm
import torch
from omegaconf import DictConfig
from torch import nn

from solo_ldm.backbones import create_backbone
from solo_ldm.config.arguments import check_value
from solo_ldm.config.errors import one_line_errors
from solo_ldm.config.overrides import with_packaged_groups
from solo_ldm.config.suggestions import suggestion
from solo_ldm.integrations.hosted import HostedMethod, PartlyLabelled, private_name
from solo_ldm.integrations.patches import (
    CONFIGURATION_CLASSES,
    cuda_where_there_is_none,
    patch_knn,
)
from solo_ldm.integrations.recipes import RECIPES
from solo_ldm.integrations.translation import for_linear, for_pretraining
from solo_ldm.methods import METHODS
from solo_ldm.methods.ldm.body import LDMBody

TESTED_COMMIT = "9187ea3"  # version 1.0.6; a checkout has no version of its own to ask

# Names of solo-learn that are used, by module.
_NEEDED = {
    "solo.methods": ("METHODS",),
    "solo.methods.base": ("BaseMethod",),
    "solo.args.pretrain": ("parse_cfg",),
    "solo.args.linear": ("parse_cfg",),
    "solo.utils.knn": ("WeightedKNNClassifier",),
}
_NEEDED_OF_METHODS = ("_BACKBONES", "base_training_step", "validation_step", "learnable_params")

# Our methods that solo-learn gets, and the latent model of those that have but one.
BODIES: dict[str, str | None] = {"gaussprob": "plane", "sphereprob": "sphere", "ldm": None}

# Helper processes of a distributed run are started without the name of the script.
_SCRIPT = "SOLO_LDM_SOLO_LEARN_SCRIPT"

_HYDRA_FLAGS = {"--config-name", "-cn", "--config-path", "-cp", "--config-dir", "-cd"}

_USAGE = (
    "usage, in a checkout of solo-learn: python -m solo_ldm.integrations.solo_learn "
    "main_pretrain.py --config-path FOLDER --config-name gaussprob.yaml [key=value ...]; "
    "main_linear.py, main_knn.py and main_umap.py likewise"
)

_log = logging.getLogger(__name__)


def register() -> None:
    """Add our methods and `convnet_small` to solo-learn's own; idempotent.

    `METHODS` gets gaussprob, sphereprob and ldm, on solo-learn's `BaseMethod`; a name that it has
    already keeps its meaning, with a warning. Its data sets stay as they are: its loaders know six
    names, of which `custom` reads any folder of images. Its nearest-neighbour classifier is patched
    to load under torchmetrics 0.12 and later.

    Raises:
        ValueError: in one line: solo-learn is not importable, or is one that does not fit.
    """
    solo = _modules()
    methods, base = solo["solo.methods"].METHODS, solo["solo.methods.base"].BaseMethod
    for name in BODIES:
        if not issubclass(methods.setdefault(name, _on(base, name)), LDMBody):
            _log.warning("solo-learn has a method %s of its own, which is kept", name)
    add_backbone("convnet_small", 32)
    patch_knn(solo["solo.utils.knn"])


def find(name: str) -> type[HostedMethod]:
    """Return one of solo-learn's methods as a method of ours (method=solo/NAME).

    Raises:
        ValueError: in one line: there is no such method, or solo-learn does not fit or is missing.
    """
    check_value("method", f"solo/{name}", Literal[tuple(f"solo/{one}" for one in RECIPES)])
    methods = _modules()["solo.methods"].METHODS
    if name not in methods:
        raise ValueError(f"method=solo/{name}: the solo-learn that is imported has no {name}")
    return _hosted(methods[name], name)


def add_backbone(name: str, image_size: int) -> None:
    """Add a backbone of ours to solo-learn's, unless it has one of that name.

    Args:
        name: under which solo-learn finds it; a timm model, unless backbone.kwargs hold the `name`
            of one, and of the other arguments of `solo_ldm.backbones.create_backbone`.
        image_size: side of the images in pixels.
    """

    def build(method: str, **kwargs: Any) -> nn.Module:
        backbone: Any = create_backbone(**{"name": name, "image_size": image_size, **kwargs})
        if name.startswith("resnet"):
            backbone.inplanes = backbone.num_features  # where solo-learn looks for ResNets
        return backbone

    _modules()["solo.methods.base"].BaseMethod._BACKBONES.setdefault(name, build)


def main(argv: Sequence[str] | None = None) -> None:
    """Register, and run a script of solo-learn as if it had been called itself."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with one_line_errors():
        if _SCRIPT in os.environ and "LOCAL_RANK" in os.environ:
            script = Path(os.environ[_SCRIPT])
        else:
            script = _script(arguments.pop(0) if arguments else "")
            arguments = _with_our_groups(arguments)
        sys.path.insert(0, str(script.parent))
        register()
        solo = _modules()
    _translate(solo["solo.args.pretrain"], _for_pretraining)
    _translate(solo["solo.args.linear"], _for_linear)
    torch.serialization.add_safe_globals(CONFIGURATION_CLASSES)
    os.environ[_SCRIPT] = str(script)
    sys.argv = [str(script), *arguments]
    with cuda_where_there_is_none(), warnings.catch_warnings():
        # lightning 2.6 asks torch 2.15 for a tree type that torch is about to rename.
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        runpy.run_path(str(script), run_name="__main__")


def pytest_configure() -> None:
    """Register before tests, as in `python -m pytest -p solo_ldm.integrations.solo_learn tests`."""
    register()


@cache
def _modules() -> dict[str, Any]:
    """Import the modules of solo-learn that are used, and check that they have what is needed."""
    checkout = os.environ.get("SOLO_LEARN")
    if _place() is None and checkout:
        sys.path.append(str(Path(checkout).expanduser().resolve()))
        importlib.invalidate_caches()
    place = _place()
    if place is None:
        raise ValueError(
            "solo-learn is not importable: run in a checkout of github.com/vturrisi/solo-learn, "
            "or say where one is by SOLO_LEARN=FOLDER"
        )
    modules: dict[str, Any] = {}
    missing: list[str] = []
    for name, needed in _NEEDED.items():
        try:
            with warnings.catch_warnings():  # it uses names that timm and torch are about to drop
                warnings.simplefilter("ignore")
                modules[name] = importlib.import_module(name)
        except ImportError as error:
            missing.append(f"{name} ({error})")
            continue
        missing += [f"{name}.{one}" for one in needed if not hasattr(modules[name], one)]
    if not missing:
        base = modules["solo.methods.base"].BaseMethod
        missing = [f"BaseMethod.{one}" for one in _NEEDED_OF_METHODS if not hasattr(base, one)]
    if missing:
        raise ValueError(
            f"the solo-learn at {place} does not fit: it lacks {missing[0]}; what fits is version "
            f"1.0.6, commit {TESTED_COMMIT} of github.com/vturrisi/solo-learn, and its requirements"
        )
    return modules


def _place() -> str | None:
    """Return the file of the package `solo`; a folder of runs of that name is none."""
    spec = importlib.util.find_spec("solo")
    return spec.origin if spec is not None else None


@cache
def _on(base: type, name: str) -> type:
    """Return one of our methods on solo-learn's BaseMethod."""
    doc = f"{name} on solo-learn's host."
    return type(name, (LDMBody, PartlyLabelled, base), {"__doc__": doc, "latent": BODIES[name]})


@cache
def _hosted(theirs: type, name: str) -> type[HostedMethod]:
    about = {"solo_name": name, "add_backbone": staticmethod(add_backbone)}
    about["__doc__"] = f"solo-learn's {name} on our host."
    return type(name, (HostedMethod, PartlyLabelled, theirs), about)


def _translate(module: Any, translation: Callable[[DictConfig], None]) -> None:
    """Translate each configuration before solo-learn parses it."""
    theirs = module.parse_cfg

    def parse_cfg(cfg: DictConfig) -> DictConfig:
        with one_line_errors():
            translation(cfg)
        # Lightning starts its other processes by this module, not by the script.
        sys.modules["__main__"].__spec__ = importlib.util.find_spec(
            "solo_ldm.integrations.solo_learn"
        )
        return theirs(cfg)

    module.parse_cfg = parse_cfg


def _for_pretraining(cfg: DictConfig) -> None:
    if cfg.get("method") in METHODS and cfg.method not in BODIES:
        raise ValueError(
            f"method: expected one of two views, as solo-learn makes them, got {cfg.method}; train "
            "by solo-ldm pretrain"
        )
    for_pretraining(cfg, ours=cfg.get("method") in BODIES)
    _provide(cfg.backbone.name, cfg.augmentations[0].crop_size)


def _for_linear(cfg: DictConfig) -> None:
    weights = for_linear(cfg)
    if weights.kind in ("run", "checkpoint"):
        # The network of the checkpoint: under its own name solo-learn would change the stem.
        name = private_name(weights.backbone_name)
        add_backbone(name, weights.image_size)
        cfg.backbone = {"name": name, "kwargs": dict(weights.built_by)}
    else:
        _provide(cfg.backbone.name, weights.image_size)


def _provide(name: str, image_size: int) -> None:
    """Add a timm model to solo-learn's backbones."""
    known = _modules()["solo.methods.base"].BaseMethod._BACKBONES
    if name not in known and not timm.is_model(name):
        raise ValueError(
            f"backbone.name={name}: neither solo-learn nor timm has it{suggestion(name, [*known])}"
        )
    add_backbone(name, image_size)


def _script(name: str) -> Path:
    path = Path(name)
    if not name.endswith(".py"):
        raise ValueError(f"expected a script of solo-learn, got {name or 'nothing'}; {_USAGE}")
    if not path.is_file():
        raise ValueError(f"no {name} in {Path.cwd()}; {_USAGE}")
    return path.resolve()


def _with_our_groups(arguments: list[str]) -> list[str]:
    """Let Hydra find the packaged configurations, where the script takes any."""
    flags = {argument.partition("=")[0] for argument in arguments}
    if not flags & _HYDRA_FLAGS:
        return arguments
    if not flags & {"--config-path", "-cp"}:
        return ["--config-path", "pkg://solo_ldm.configs", *arguments]
    return with_packaged_groups(arguments, "solo_ldm.configs")


if __name__ == "__main__":
    main()
