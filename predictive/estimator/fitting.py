"""Training in memory: the run of `solo-ldm predictive`, in a folder that is removed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from predictive.configuration import PredictiveConfig, plain
from predictive.data.sequences import Sequences, TimeSeriesData
from predictive.method import PredictiveMethod
from predictive.objective import PredictiveObjective
from predictive.training import PredictiveRun, train
from solo_ldm.config.errors import one_line_exceptions
from solo_ldm.config.interruption import handlers_kept
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import resolve_hardware

# Lightning and torch draw from the generators of the process, which threads share: one training at
# a time, so that its seed decides on it alone.
ONE_AT_A_TIME = Lock()
# What depends on the number of features of an observation.
_OF_INPUTS = (
    *("encoder.mean", "encoder.scale", "encoder.network.0.weight"),
    "encoder.backbone.frame_shape",
)


def train_in_memory(
    cfg: DictConfig, data: TimeSeriesData, init: Mapping[str, Tensor] | None, verbose: bool
) -> PredictiveRun:
    """Train a method; the random numbers of the caller stay as they are.

    Args:
        cfg: the completed configuration.
        data: to train on.
        init: weights to begin with; None for random ones.
        verbose: whether to show a progress bar.

    Raises:
        ValueError: in one line: settings that do not fit the data, a loss that is not finite.
        KeyboardInterrupt: the training was interrupted; the estimator stays as it was.
    """
    console = plain_console(quiet=not verbose)
    if not verbose:
        cfg.trainer.enable_progress_bar = False
    known = one_line_exceptions(lambda: PredictiveConfig)
    with (
        ONE_AT_A_TIME,
        TemporaryDirectory(prefix="solo-ldm-") as place,
        handlers_kept(),
        isolate_rng(),
        known,
    ):
        cfg.checkpoint.dir = place
        hardware = resolve_hardware(cfg, launched=False)
        for line in hardware.notices:
            warnings.warn(line.replace("accelerator=", "device="), UserWarning, stacklevel=4)
        folder = RunFolder(Path(place) / "run")
        run = train(cfg, data, hardware, folder, console, init, says_where=False)
    if run is None:
        raise KeyboardInterrupt("stopped; the estimator is as it was before")
    return run


def check_enough(cfg: DictConfig, data: Sequences) -> None:
    """Raise a one-line ValueError where no batch of the data holds enough for the entropy."""
    objective = PredictiveObjective(**plain(cfg)["objective"])
    total = int(data.lengths.sum())
    bins = int((data.lengths - objective.first_step).clamp_min(0).sum())
    if 0 < bins < objective.fewest_samples:
        raise ValueError(
            f"X: expected at least {objective.fewest_samples} bins to predict for "
            f"entropy={objective.entropy}, got {bins} of {total}; give more"
        )


def check_sizes(keys: Mapping[str, str], cfg: DictConfig, init: Mapping[str, Any]) -> None:
    """Raise a one-line ValueError where the parts of two configurations are of other sizes.

    Args:
        keys: of the parameters of an estimator.
        cfg: to train with.
        init: of the weights to begin with.
    """

    def size(name: str, of: Any) -> Any:
        return OmegaConf.select(of, keys[name])

    theirs = OmegaConf.create({**init})
    for name in ("latent_dim", "state_dim", "hidden_dim"):
        expected, got = (size(name, one) or size("latent_dim", one) for one in (theirs, cfg))
        if expected != got:
            raise ValueError(f"{name}: expected {expected}, as init has, got {got}; give the same")


def weights_to_begin_with(method: PredictiveMethod, num_features: int) -> dict[str, Tensor]:
    """Return the weights of a method for another training.

    For other features the first layer of the encoder and its scale begin anew; the model of the
    latents, and all that comes after that layer, is kept.

    Raises:
        ValueError: in one line: other features, and noise that depends on the inputs.
    """
    own = method.encoder.input_dim
    left_out = ("decoders.",) if own == num_features else ("decoders.", *_OF_INPUTS)
    if own != num_features and method.cfg.predictor.get("observation_noise", "").startswith("in"):
        raise ValueError(
            f"init: expected a model of {num_features} features, whose observation noise depends "
            f"on them, got {own}"
        )
    weights = method.state_dict()
    return {key: value for key, value in weights.items() if not key.startswith(left_out)}
