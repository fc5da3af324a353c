"""Training of an estimator: parameters and data to a trained method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from omegaconf import OmegaConf
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from predictive.data.sequences import Sequences, TimeSeriesData
from predictive.decoding.bins import FEWEST_BINS
from predictive.estimator.decoding import TargetDecoder
from predictive.estimator.fitting import (
    check_enough,
    check_sizes,
    train_in_memory,
    weights_to_begin_with,
)
from predictive.estimator.reading.checks import check_meant, check_missing, for_training
from predictive.estimator.reading.inputs import Given, read_inputs, warn
from predictive.estimator.settings import (
    as_parameters,
    check_parameters,
    check_settings,
    choose,
    configuration,
    keys_of,
    seed_of,
    spikes_a_bin,
    used,
)
from predictive.estimator.targets import Targets, read_targets, target_kind
from predictive.evaluation import for_decoders
from predictive.filtered import Filtered, filter_sequences, with_lost_features
from predictive.online import OnlineFilter
from solo_ldm.config.arguments import check_value

# Fewer spikes in a bin than this are warned of.
_FEW_SPIKES = 1.0

_CPU = torch.device("cpu")


class TrainedSSL(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """An encoder and a predictor of its latents, trained without labels; see `KalmanSSL`."""

    _method: ClassVar[str]
    n_features_in_: int  # set by scikit-learn
    _online: OnlineFilter | None = None
    _undecoded: str | None = None  # what was given in place of a y that can be decoded

    @abstractmethod
    def _predictor(self, chosen: Mapping[str, Any], step_seconds: float | None) -> dict[str, Any]:
        """Return arguments of the predictor that are not parameters of the estimator."""

    def fit(self, X: Any, y: Any = None, init: TrainedSSL | None = None) -> Any:
        """Train on sequences of bins, and fit a decoder of y where it is given.

        Args:
            X: an array (T, F), NaN or masked where missing; a list of them, of any lengths, or
                (N, T, F): no window spans two. Also a tensor, pandas, xarray, a TsdFrame or a
                TsGroup of pynapple. Gaps between their times begin a new sequence.
            y: (T,) or (T, k) numbers, NaN where unknown, or a list of them; angles or labels (T,)
                where `target` says so. Never seen in training.
            init: a fitted estimator whose weights training begins with. Of other features (cells)
                its model of the latents is kept, and the first layer of the encoder learned anew.

        Returns:
            The estimator.

        Raises:
            ValueError: in one line: parameters or data that cannot be used.
        """
        check_parameters(self.get_params(deep=False))
        if init is not None and type(init) is not type(self):
            name = type(self).__name__
            got = repr(init) if isinstance(init, str | Path) else f"a {type(init).__name__}"
            raise ValueError(
                f"init: expected a {name}, got {got}; {name}.load(path) is one of a file"
            )
        if init is not None:
            check_is_fitted(init)
        inputs = read_inputs(self, X, self._param("bin_seconds"), reset=True, fewest=2)
        self._train(inputs, y, init)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Any:
        """Go on training on other bins of the same features, for as many epochs as `fit`.

        Args:
            X: as in `fit`.
            y: as in `fit`; its decoder is fitted to these bins. None keeps none.
        """
        begun = hasattr(self, "method_")
        check_parameters(self.get_params(deep=False))
        seconds = self.bin_seconds_ if begun else self._param("bin_seconds")
        try:
            inputs = read_inputs(self, X, seconds, reset=not begun, fewest=2)
        except ValueError as error:
            if not begun or "feature" not in str(error):
                raise
            line = " ".join(str(error).split()).rstrip(".")
            raise ValueError(f"{line}; of other features, fit(X, init=model) goes on") from None
        self._train(inputs, y, self if begun else None)
        return self

    def _train(self, inputs: Given, y: Any, init: TrainedSSL | None) -> None:
        given = self.get_params(deep=False)
        check_value("decoder", given["decoder"], Literal["linear", "mlp"])
        check_value("output", given["output"], Literal["states", "smoothed", "latents"])
        further = check_settings(self._method, given, _defaults(type(self)))
        kind, told = target_kind(given["target"]), given["target"] is not None
        targets = None if y is None else read_targets(y, inputs, kind, told=told)
        sequences = inputs.sequences(None if targets is None else targets.columns)
        check_missing(sequences)
        in_a_bin = spikes_a_bin(sequences)
        if in_a_bin is not None and in_a_bin < _FEW_SPIKES:
            warn(
                f"X: bins hold {in_a_bin:.2g} spikes of all features in the mean, of which states "
                "learn little; join bins until they hold four or more"
            )
        if init is not None:  # the parts keep their sizes
            sizes = {key: init.chosen_[key] for key in ("latent_dim", "input_transform", "history")}
            given |= {key: value for key, value in sizes.items() if given[key] is None}
        chosen = choose({"time_constant": None, **given}, sequences, inputs.step_seconds)
        seed = seed_of(given["random_state"])
        values = {**given, **chosen, "random_state": seed}
        keys = {key: values[name] for name, key in keys_of(self._method).items() if name in values}
        predictor = self._predictor(chosen, inputs.step_seconds)
        with as_parameters(self._method, further):
            cfg = configuration(self._method, keys, predictor, further)
            chosen = used(cfg, chosen, inputs.step_seconds)
            train = for_training(sequences, chosen["window"] or 0)
            check_enough(cfg, train)
            if init is None:
                check_meant(inputs, train, given["bin_seconds"])
            weights = None
            if init is not None:
                check_sizes(keys_of(self._method), cfg, init.config_)
                weights = weights_to_begin_with(init.method_, train.inputs.shape[2])
            data = TimeSeriesData(train, train.select(slice(0, 0)), "signals", description="arrays")
            run = train_in_memory(cfg, data, weights, bool(given["verbose"]))
        self.method_ = run.method.cpu().eval()
        self.config_: dict[str, Any] = OmegaConf.to_container(run.cfg)  # pyright: ignore
        self.config_["checkpoint"]["dir"] = "trained_models"
        self.chosen_, self.bin_seconds_ = chosen, inputs.step_seconds
        self.history_ = {
            name: run.metrics.column(f"train_{key}")
            for name, key in (
                ("loss", "ldm_loss"),
                ("log_prob", "log_prob"),
                ("entropy", "entropy"),
            )
        }
        dropped = targets is None and init is self and self.decoder_ is not None
        self._undecoded = "a partial_fit(X) without" if dropped else None
        if dropped:
            warn(
                "y: not given, so that the decoder of the fit before is dropped; give y to keep one"
            )
        self.decoder_ = None if targets is None else self._decoder(sequences, seed, targets)
        self._online = None

    def _decoder(self, sequences: Sequences, seed: int, y: Targets) -> TargetDecoder | None:
        part = self._filtered(for_decoders(sequences))
        values = torch.isfinite(part.rows(part.sequences.targets["y"]))
        known = int(values.all(dim=1).sum())
        if known >= FEWEST_BINS:
            return TargetDecoder.fit(self._param("decoder"), part, seed, y)
        never = (~values.any(dim=0)).nonzero().flatten().tolist()
        count = f"{known} of {len(values)} bins"
        if 0 < len(never) < values.shape[1]:
            count += f", as the columns {never} have no value"
        warn(
            f"y: expected at least {FEWEST_BINS} bins with a known y to fit a decoder, got "
            f"{count}; there is none, so that y cannot be predicted or scored"
        )
        self._undecoded = f"a y known in {count}; {FEWEST_BINS} are needed"
        return None

    def _read(self, X: Any) -> Given:
        check_is_fitted(self)
        return read_inputs(self, X, self.bin_seconds_, every=False)

    def _filtered(self, sequences: Sequences) -> Filtered:
        sequences, lost = with_lost_features(self.method_, sequences)
        if bool(lost.any()):
            warn(
                f"X: {int(lost.any(dim=0).sum())} of {lost.shape[1]} features are missing in "
                f"{int(lost.any(dim=1).sum())} of {len(lost)} sequences: their means stand for them"
            )
        return filter_sequences(self.method_, sequences, _CPU)

    def _param(self, name: str) -> Any:
        return getattr(self, name)

    @property
    def _n_features_out(self) -> int:
        if self._param("output") == "latents":
            return int(self.chosen_["latent_dim"])
        return self.method_.predictor.state_dim

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there is a trained method."""
        return hasattr(self, "method_")

    def __sklearn_tags__(self) -> Any:
        """Say that NaN is taken for missing, and that states are float32."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = []
        return tags


@cache
def _defaults(kind: type) -> dict[str, Any]:
    return {name: one.default for name, one in signature(kind).parameters.items()}
