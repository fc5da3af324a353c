"""Training in memory: the run of `solo-ldm predictive`, in a folder that is removed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from lightning.pytorch.utilities.seed import isolate_rng
from omegaconf import DictConfig
from torch import Tensor

from predictive.configuration import PredictiveConfig
from predictive.data.sequences import TimeSeriesData
from predictive.method import PredictiveMethod
from predictive.training import PredictiveRun, train
from solo_ldm.config.errors import one_line_exceptions
from solo_ldm.config.interruption import handlers_kept
from solo_ldm.run.console import plain_console
from solo_ldm.run.folder import RunFolder
from solo_ldm.run.hardware import resolve_hardware

# What depends on the number of features of an observation.
_OF_INPUTS = ("encoder.mean", "encoder.scale", "encoder.network.0.weight")


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
    with TemporaryDirectory(prefix="solo-ldm-") as place, handlers_kept(), isolate_rng(), known:
        cfg.checkpoint.dir = place
        hardware = resolve_hardware(cfg, launched=False)
        folder = RunFolder(Path(place) / "run")
        run = train(cfg, data, hardware, folder, console, init, says_where=False)
    if run is None:
        raise KeyboardInterrupt("stopped; the estimator is as it was before")
    return run


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
