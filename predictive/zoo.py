"""Predictive models in the zoo: loading, scoring, publishing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from predictive.configuration import complete_predictive, plain
from predictive.data.sequences import Sequences
from predictive.evaluation import assess
from predictive.features import LATENT_STATE
from predictive.method import PredictiveMethod
from predictive.predictors import Forecast
from predictive.runs import for_weights, read_run
from predictive.training import build_data, build_method, data_files, for_method
from solo_ldm.backbones.stored import check_values, read_safetensors
from solo_ldm.files import as_written, read_json
from solo_ldm.run.folder import identity
from solo_ldm.run.hardware import Hardware, single_device
from solo_ldm.weights.checkpoint import read_checkpoint, whole_state
from solo_ldm.weights.export import write_safetensors
from solo_ldm.weights.published.entry import CONFIG, NOT_PUBLISHED, WEIGHTS
from solo_ldm.weights.published.manifest import read_yaml
from solo_ldm.zoo.kinds import Kind, Progress, Score, no_progress, with_data

# Another machine may sum in another order; decoders are fitted to convergence.
_TOLERANCE = 0.005
_IDENTIFIED, _DECODED = "affine R² of the latents", "linear decoding of"


class ZooPredictor(nn.Module):
    """A published predictor of time series: observations in, latents, states and forecasts out.

    Args:
        name: of the entry, or the folder of a run.
        config: of the entry.
        method: its encoder and predictor.

    Attributes:
        input_dim: features of an observation, F.
        num_features: of a state, n.
    """

    def __init__(self, name: str, config: Mapping[str, Any], method: PredictiveMethod) -> None:
        super().__init__()
        self.name = name
        self.method = method
        self.input_dim = method.encoder.input_dim
        self.num_features = method.predictor.state_dim
        self._config = config
        self._called = name if Path(name).is_dir() else f"zoo:{name}"

    def forward(self, inputs: Tensor, observed: Tensor | None = None) -> Forecast:
        """Return latents z_t, their predictions given z_<t, and the states behind them.

        Args:
            inputs: (B, T, F), as the data set of the entry makes them, see `held_out`.
            observed: true where an input was observed, (B, T); None for all.
        """
        if inputs.ndim != 3 or inputs.shape[2] != self.input_dim:
            raise ValueError(
                f"inputs of {self._called}: expected (B, T, {self.input_dim}), got "
                f"{tuple(inputs.shape)}"
            )
        return self.method(inputs, observed)

    @torch.no_grad()
    def features(self, inputs: Tensor) -> Tensor:
        """Return the state after each observation, (B, T, num_features); see `forward`."""
        return self(inputs).states

    def held_out(self, **places: str) -> Sequences:
        """Return the sequences that the entry was scored on, simulated or read again.

        Args:
            **places: path=FILE of a recording, which does not come with the entry.

        Raises:
            FileNotFoundError: in one line: a recording that is not there.
        """
        return build_data(_completed(with_data(self._config, places))).held_out


class PredictiveKind(Kind):
    """Encoders and predictors of time series, as `solo-ldm predictive` leaves them."""

    command = "predictive"
    library = "solo_ldm"
    data_paths = ("path",)

    def identity(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Return the part of a run's configuration that decides what it computes."""
        cfg = _completed(args)
        # The evaluation decides what `measure` measures.
        return {**identity(cfg), "evaluation": OmegaConf.to_container(cfg.evaluation)}

    def facts(self, args: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of an entry that a run records."""
        predictor, entropy = results["method"], results["entropy"]
        stopped = entropy == "stop_gradient"
        size = results["settings"]["encoder"]
        return {
            "cell": {
                "latent": "conditional",
                "entropy": "none" if stopped else entropy,
                "over": results["over"],
                "predictor": predictor,
                "target": "detached" if stopped else "same",
            },
            "headline": f"{predictor} predictor, {entropy.replace('_', ' ')} entropy",
            "dataset": results["dataset"],
            "backbone": size.get("backbone")
            or f"MLP of {size.get('num_hidden_layers', 1)} × {size.get('hidden_dim', 100)} units",
            "image_size": None,
            "batch_size": results["settings"]["optimizer"]["batch_size"],
        }

    def run_scores(self, results: Mapping[str, Any]) -> dict[str, Score]:
        """Return the values of R², trained and untrained."""
        found, scores = results["results"], {}
        if found["identifiability"] is not None:
            before, after = (found["identifiability"][name] for name in ("before", "after"))
            scores[_IDENTIFIED] = Score("r2", after["affine_r2"], 0, before["affine_r2"])
        for target, decoded in found["decoding"].items():
            linear = {one["features"]: one for one in decoded if one["decoder"] == "linear"}
            if LATENT_STATE in linear:
                trained, untrained = linear[LATENT_STATE], linear.get("untrained state")
                scores[f"{_DECODED} {target}"] = Score(
                    "r2",
                    trained["r2"],
                    trained["num_test_bins"],
                    None if untrained is None else untrained["r2"],
                )
        return scores

    def write_weights(self, run: Path, path: Path, half: bool) -> None:
        """Write the whole method: encoder, predictor and online probes."""
        last = run / "checkpoints" / "last.ckpt"
        checkpoint = read_checkpoint(last)
        data = build_data(_completed(read_json(run / "args.json")))
        targets = {name: values.shape[2] for name, values in data.train.targets.items()}
        about = {"input_dim": data.train.inputs.shape[2], "target_dims": targets}
        weights = {
            key: (value.half() if half and value.dtype == torch.float32 else value).contiguous()
            for key, value in whole_state(checkpoint, last).items()
        }
        write_safetensors(path, weights, {"predictive": json.dumps(about)})

    def measure(
        self, folder: Path, data: Mapping[str, Any], progress: Progress = no_progress
    ) -> tuple[dict[str, Score], str]:
        """Return R² of linear decoding from held-out latent states, and the SHA-256 of the data."""
        progress("decoding from latent states", 0, None)
        cfg = _completed(with_data(read_yaml(folder / CONFIG), data))
        cfg.evaluation.kinds = ["linear"]
        sequences = build_data(cfg)
        hardware = single_device("cpu")
        pl.seed_everything(cfg.seed, verbose=False)
        untrained = build_method(cfg, sequences, hardware).state_dict()
        method = _method(folder, cfg, hardware)
        found = assess(cfg, method, untrained, sequences, torch.device("cpu"))
        scores = {}
        if found.after is not None:
            value, lengths = float(found.after.to_true.r2), sequences.held_out.lengths
            count = int(lengths[len(lengths) // 2 :].sum())  # the map is fitted on the first half
            scores[_IDENTIFIED] = Score("r2", value, count, tolerance=_TOLERANCE)
        for target, decoded in found.scores.items():
            for one in decoded:
                if one.features == LATENT_STATE and one.kind == "linear":
                    score = Score("r2", float(one.r2), one.num_test, tolerance=_TOLERANCE)
                    scores[f"{_DECODED} {target}"] = score
        return scores, _hash_of(cfg)

    def load(self, name: str, folder: Path) -> ZooPredictor:
        """Return the encoder and the predictor."""
        config = read_yaml(folder / CONFIG)
        # The network is built without its data, wherever they are.
        places = {key: "elsewhere" for key, value in config["data"].items()
                  if value == NOT_PUBLISHED}  # fmt: skip
        cfg = _completed(with_data(config, places))
        return ZooPredictor(name, config, _method(folder, cfg, single_device("cpu"))).eval()

    def load_run(self, folder: Path) -> ZooPredictor:
        """Return the encoder and the predictor of a run, published or not."""
        _, method = read_run(folder)
        return ZooPredictor(str(folder), read_json(folder / "args.json"), method).eval()


def _completed(content: Mapping[str, Any]) -> DictConfig:
    """Complete the configuration of a run, or of an entry, which has Hydra's defaults as well."""
    keys = {key: value for key, value in content.items() if key != "defaults"}
    return complete_predictive(OmegaConf.create(keys))


def _method(folder: Path, cfg: DictConfig, hardware: Hardware) -> PredictiveMethod:
    path = folder / WEIGHTS
    metadata, weights = read_safetensors(path)
    if not (about := metadata.get("predictive")):
        raise ValueError(f"{path} does not say what it was trained on: no run of ours wrote it")
    check_values(weights, path)
    with as_written(path):
        cfg.encoder = for_weights(plain(cfg.encoder), weights)
        method = PredictiveMethod(for_method(cfg, hardware), **about)
        method.load_state_dict(weights)
    return method.eval()


def _hash_of(cfg: DictConfig) -> str:
    """Hash what makes the data: a simulation's settings and seed, a recording's file.

    The numbers of a simulation may differ in their last bits from machine to machine.
    """
    settings = plain(cfg.data)
    path = settings.pop("path", None)
    digest = hashlib.sha256(json.dumps({"seed": cfg.seed, **settings}, sort_keys=True).encode())
    for file in [] if path is None else data_files(cfg):
        digest.update(file.expanduser().read_bytes())
    return digest.hexdigest()
