"""A trained run of `solo-ldm predictive`, read back from its folder without its data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from predictive.configuration import complete_predictive, plain
from predictive.method import PredictiveMethod
from predictive.training import Trained, for_method
from solo_ldm.backbones.trial import WEIGHTS
from solo_ldm.files import as_written, read_json
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import single_device
from solo_ldm.weights.checkpoint import read_checkpoint, whole_state

_KEYS = {"encoder", "predictor", "data"}


def read_run(folder: str | Path) -> tuple[DictConfig, PredictiveMethod]:
    """Return the configuration of a run and its trained method, without its online probes.

    Args:
        folder: of the run; its data need not be there.

    Returns:
        The completed configuration, and the method in evaluation mode on the CPU.

    Raises:
        FileNotFoundError: in one line: no folder of a run, or no checkpoint in it.
        ValueError: in one line: the folder of another command, or damaged files.
    """
    run = RunFolder(Path(folder).expanduser())
    cfg = read_configuration(folder)
    state = whole_state(read_checkpoint(run.last), run.last)
    weights = {key: value for key, value in state.items() if not key.startswith("decoders.")}
    bare = for_method(cfg, single_device("cpu"))
    bare.decoders = {}
    with as_written(run.last):
        # With a history the encoder reads each feature twice.
        channels = 2 if bare.encoder.get("history") else 1
        bare.encoder = cfg.encoder = for_weights(plain(cfg.encoder), weights)
        method = PredictiveMethod(bare, len(weights["encoder.mean"]) // channels, {})
        method.load_state_dict(weights)
    return cfg, method.eval()


def for_weights(encoder: dict[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return settings of an encoder whose weights are known, whatever training began with."""
    if encoder.get("backbone") is None:
        return encoder
    given = encoder["backbone_kwargs"] or {}
    return encoder | {
        "backbone_kwargs": {key: value for key, value in given.items() if key not in WEIGHTS},
        "frame_shape": weights["encoder.backbone.frame_shape"].tolist(),
    }


def read_configuration(folder: str | Path) -> DictConfig:
    """Return the completed configuration of a run; see `read_run`."""
    run = RunFolder(Path(folder).expanduser())
    if not run.args.is_file():
        raise FileNotFoundError(
            f"RUN: expected the folder of a run of solo-ldm predictive, got {folder}; check the "
            "path, or train one"
        )
    args = read_json(run.args)
    if _KEYS - args.keys():
        raise ValueError(
            f"RUN: expected a run of solo-ldm predictive, got another one, {folder}; models of "
            "images have solo-ldm knn, linear, clusters and uncertainty"
        )
    return complete_predictive(OmegaConf.create(args))


def read_trained(folder: str | Path) -> Trained | None:
    """Return what a run keeps of its recording; None for a simulation, and for older versions."""
    path = RunFolder(Path(folder).expanduser()).data
    about = read_json(path) if path.is_file() else {}
    if not about.get("features"):
        return None
    return Trained(tuple(about["features"]), about["kind"], about["step_seconds"])
