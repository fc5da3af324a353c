"""An estimator as a file: tensors and JSON in one safetensors file, nothing pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from predictive.configuration import complete_predictive, plain
from predictive.estimator.decoding import TargetDecoder
from predictive.estimator.reading.names import keep_names, kept_names, numbers_of
from predictive.method import PredictiveMethod
from predictive.runs import for_weights, read_run, read_trained
from predictive.training import for_method
from solo_ldm.backbones.stored import check_values, read_safetensors
from solo_ldm.files import as_written
from solo_ldm.run.hardware import single_device
from solo_ldm.weights.export import write_safetensors

_SUFFIX = ".safetensors"
# What a fitted estimator knows besides its weights and its decoder.
_FITTED = ("chosen_", "config_", "history_", "bin_seconds_", "n_features_in_")


def write_estimator(estimator: Any, path: Path) -> Path:
    """Write a fitted estimator; see `LatentSSL.save`."""
    if path.suffix != _SUFFIX:
        raise ValueError(f"path: expected a name that ends in {_SUFFIX}, got {path.name!r}")
    params = estimator.get_params(deep=False)
    if not isinstance(params["random_state"], int):
        params["random_state"] = estimator.config_["seed"]
    about: dict[str, Any] = {"estimator": type(estimator).__name__, "params": _plain(params)}
    about |= {name: _plain(getattr(estimator, name)) for name in _FITTED}
    about["features"] = kept_names(estimator)
    weights = estimator.method_.state_dict()
    tensors = {f"method.{key}": value.detach().contiguous() for key, value in weights.items()}
    about["decoder"] = None
    if estimator.decoder_ is not None:
        more, about["decoder"] = estimator.decoder_.written()
        tensors |= more
    about["undecoded"] = estimator._undecoded
    try:
        write_safetensors(path.expanduser(), tensors, {"predictive": json.dumps(about)})
    except OSError as error:
        raise OSError(
            f"path: expected a place that can be written, got {path} ({error.strerror or error}); "
            "choose another"
        ) from None
    return path


def read_estimator(kind: type, path: Path) -> Any:
    """Return an estimator of a class from its file, or from a run's folder."""
    if path.is_dir():
        return _of_run(kind, path)
    if not path.is_file():
        raise FileNotFoundError(f"path: expected a file that save wrote, got {path}; check it")
    metadata, tensors = read_safetensors(path)
    about = metadata.get("predictive") or {}
    if about.get("estimator") != kind.__name__:
        raise ValueError(
            f"path: expected a file that {kind.__name__}.save wrote, got {path} of "
            f"{about.get('estimator', 'something else')}"
        )
    weights = {
        key.removeprefix("method."): value
        for key, value in tensors.items()
        if key.startswith("method.")
    }
    check_values(weights, path)
    with as_written(path):
        estimator = kind(**about["params"])
        for name in _FITTED:
            setattr(estimator, name, about[name])
        keep_names(estimator, about["features"])
        cfg = complete_predictive(_config(about["config_"]))
        cfg.encoder = for_weights(plain(cfg.encoder), weights)
        method = PredictiveMethod(
            for_method(cfg, single_device("cpu")), about["n_features_in_"], {}
        )
        method.load_state_dict(weights)
        estimator.method_ = method.eval()
        decoder = about["decoder"]
        estimator.decoder_ = None if decoder is None else TargetDecoder.read(tensors, decoder)
        estimator._online, estimator._undecoded = None, about.get("undecoded")
    return estimator


def _of_run(kind: Any, folder: Path) -> Any:
    """Return an estimator of the method of a run, without a decoder."""
    cfg, method = read_run(folder)
    if cfg.method != kind._method:
        raise ValueError(f"path: expected a run of method={kind._method}, got {cfg.method}")
    predictor, data = cfg.predictor, cfg.data
    same = ("cell", "observation_noise", "process_noise", "state_dim")
    given = {key: predictor[key] for key in same if key in predictor}
    if "hidden_dim" in predictor:
        given["state_dim"] = predictor["hidden_dim"]
    chosen: dict[str, Any] = {
        "input_transform": cfg.encoder.transform,
        "feature_dropout": cfg.encoder.feature_dropout,
        "history": cfg.encoder.history,
        "latent_dim": predictor.latent_dim,
        "window": data.get("window"),
        "stride": data.get("stride"),
        "batch_size": cfg.optimizer.batch_size,
        "max_epochs": cfg.max_epochs,
    }
    besides = {
        "hidden_dim": cfg.encoder.hidden_dim,
        "entropy": cfg.objective.entropy,
        "learning_rate": cfg.optimizer.lr,
        "random_state": cfg.seed,
    }
    estimator = kind(**given, **chosen, **besides)
    estimator.method_, estimator.chosen_ = method, chosen
    content: Any = OmegaConf.to_container(cfg)
    estimator.config_ = {**content, "decoders": {}}
    estimator.history_ = {}
    known = read_trained(folder)
    estimator.bin_seconds_ = data.get("bin_seconds") if known is None else known.step_seconds
    estimator.n_features_in_ = method.encoder.input_dim
    keep_names(estimator, None if known is None else numbers_of(known.features))
    estimator.decoder_ = estimator._online = estimator._undecoded = None
    return estimator


def _config(content: Any) -> Any:
    return OmegaConf.create(content)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    return json.loads(json.dumps(value, default=lambda one: one.tolist()))
