"""What trained estimators give: states of any data, decoded targets, one bin at a time."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from predictive.data.module import as_batch
from predictive.data.sequences import Sequences
from predictive.estimator.base import TrainedSSL
from predictive.estimator.decoding import TargetDecoder
from predictive.estimator.fitting import ONE_AT_A_TIME
from predictive.estimator.plotting import plot
from predictive.estimator.reading.inputs import Given
from predictive.estimator.results import OnlineStep, States, for_container
from predictive.estimator.stepping import reset, step
from predictive.estimator.storage import read_estimator, write_estimator
from predictive.estimator.targets import read_targets
from predictive.filtered import Filtered, with_lost_features
from predictive.online import OnlineFilter
from solo_ldm.config.arguments import Bounds, check_value
from solo_ldm.config.memory import check_memory


class LatentSSL(TrainedSSL):
    """A trained encoder and predictor, applied to data; see `KalmanSSL`."""

    @abstractmethod
    def _ahead(self, values: NDArray[np.float32], steps: int) -> tuple[Tensor, Tensor | None]:
        """Return states (steps, n) after the bins (T, F), and their factors."""

    @abstractmethod
    def _smoothed(self, X: Any) -> Any:
        """Return smoothed states, of the kind of X, or say that there are none."""

    def transform(self, X: Any) -> Any:
        """Return the states of bins, (T, n), of the kind of X.

        output="states" gives those of `filter`, "smoothed" those of `smooth`, "latents" the
        encoder's output.
        """
        check_is_fitted(self)
        if self._param("output") == "smoothed":
            return for_container(self, self._smoothed(X))
        inputs = self._read(X)
        found = self._filtered(inputs.sequences())
        values = found.latents if self._param("output") == "latents" else found.states
        rows = [one.numpy() for one in _of_sequences(found, values)]
        return for_container(self, inputs.back(inputs.joined(rows), self._names(values.shape[2])))

    def filter(self, X: Any) -> States:
        """Return the states of bins given the bins up to each, with covariances.

        Args:
            X: as in `fit`.
        """
        inputs = self._read(X)
        found = self._filtered(inputs.sequences())
        root = found.state_factor
        factors = None if root is None else _of_sequences(found, root)
        return self._states(inputs, found, _of_sequences(found, found.states), factors)

    def forecast(self, X: Any, steps: int) -> States:
        """Return the states of the bins after the last one of X, with covariances and decoded y.

        Args:
            X: as in `fit`; of each session the bins since its last gap are used.
            steps: bins to forecast, fewer than a million.
        """
        check_value("steps", steps, Annotated[int, Bounds(1, limit=1_000_000)])
        inputs = self._read(X)
        last = dict(inputs.stretches)  # of each session
        numbers = 2 * self.n_features_in_ + 8 * self.method_.predictor.state_dim**2 + 100
        check_memory("steps", steps, len(last), numbers, remedy="lower it", bytes_each=8)
        parts = [self._ahead(inputs.arrays[number][bins], steps) for number, bins in last.items()]
        starts = [len(one) for one in inputs.arrays]

        def back(values: list[NDArray], names: list[str]) -> Any:
            return inputs.back(values, names, starts)

        means = [mean.numpy() for mean, _ in parts]
        roots = [factor for _, factor in parts if factor is not None]
        covariance = [(root @ root.mT).numpy() for root in roots]
        # The latents are the first states of a Kalman filter; a recurrent network has others.
        dims = min(self.method_.predictor.state_dim, int(self.chosen_["latent_dim"]))
        latents = back([mean[:, :dims] for mean in means], self._names(dims)) if roots else None
        decoder, decoded = self.decoder_, []
        if decoder is not None:
            decoded.append([decoder.as_given(decoder.predict(mean)) for mean, _ in parts])
            if decoder.interval is not None:
                ends = [decoder.bounds(*part, 0.95) for part in parts]
                for side in ("low", "high"):
                    decoded.append([decoder.as_given(getattr(one, side)) for one in ends])
        return States(
            back(means, self._names()),
            inputs.plain(covariance) if roots else None,
            latents,
            *(back(one, _target_names(one)) for one in decoded),
        )

    def predict(self, X: Any, return_interval: bool = False, level: float = 0.95) -> Any:
        """Decode y from the states of bins.

        Args:
            X: as in `fit`.
            return_interval: whether to return the ends of an interval as well.
            level: share of bins whose y lies in the interval, measured on a calibration set. The
                interval reaches at least to the decoded y.

        Returns:
            y of the kind of X, or (y, low, high). Angles are in [0, P); the ends of their arcs lie
                beyond where they cross 0.

        Raises:
            ValueError: in one line: the estimator was fitted without y, or with too little.
        """
        inputs = self._read(X)
        decoder = self._fitted_decoder()
        found = self._filtered(inputs.sequences())
        states = found.rows(found.states)
        values = [decoder.predict(states)]
        if return_interval:
            factor = None if found.state_factor is None else found.rows(found.state_factor)
            ends = decoder.bounds(states, factor, level)
            values += [ends.low, ends.high]
        sizes = found.sequences.lengths.tolist()
        back = []
        for one in values:
            rows = [decoder.as_given(part) for part in one.split(sizes)]
            joined = inputs.joined(rows)
            back.append(inputs.back(joined, _target_names(joined)))
        return tuple(back) if return_interval else back[0]

    @available_if(lambda estimator: estimator._param("target") == "categorical")
    def predict_proba(self, X: Any) -> Any:
        """Return the probability of each of `classes_` in bins, (T, c), of the kind of X."""
        inputs, decoder = self._read(X), self._fitted_decoder()
        found = self._filtered(inputs.sequences())
        rows = [decoder.probabilities(one) for one in _of_sequences(found, found.states)]
        return inputs.back(inputs.joined(rows), list(decoder.target.categories))

    @property
    def classes_(self) -> NDArray:
        """Labels of a categorical y, in the order of the columns of `predict_proba`."""
        if (decoder := getattr(self, "decoder_", None)) is None or decoder.classes is None:
            raise AttributeError("classes_: there are none without a fit to a categorical y")
        return decoder.classes

    def score(self, X: Any, y: Any = None) -> float:
        """Return R² of the decoded y, or what is maximised in training where y is not given.

        R² is scikit-learn's `r2_score`: of several columns the mean of their R², whatever their
        units; a column that is constant gives 0, or 1 if decoded without an error, and a single
        bin NaN with a warning. R² of an angle is that of its cosine and sine, pooled (the mean
        weighted by their variances); of categories it is the share that is right. What is
        maximised is E log p(z_t | z_<t) + H in nats a bin: for the default entropy it is unchanged
        by the scale of the latents and is a measure of what the past says about them.
        """
        inputs = self._read(X)
        if y is None:
            return self._objective(inputs.sequences())
        decoder = self._fitted_decoder()
        targets = read_targets(y, inputs, decoder.target, decoder.classes)
        found = self._filtered(inputs.sequences(targets.columns))
        truth = found.rows(found.sequences.targets["y"])
        return decoder.score(truth, found.rows(found.states))

    @torch.no_grad()
    def _objective(self, sequences: Sequences) -> float:
        batch = as_batch(with_lost_features(self.method_, sequences)[0])
        objective = self.method_.objective
        with ONE_AT_A_TIME, torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            objective.at_step(0)
            terms = objective(self.method_.forecast(batch), batch.known)
        weight = 0.0 if objective.entropy == "stop_gradient" else objective.weight
        return float(terms.log_prob + weight * terms.entropy)

    def step(self, x: Any) -> OnlineStep:
        """Take in one bin (F,) of a sequence and return the state after it, with its interval.

        The states are those of `filter`; `reset` begins a new sequence. NaN is a missing bin.

        Raises:
            ValueError: in one line: another shape, infinity.
        """
        check_is_fitted(self)
        return step(self, x)

    def reset(self, state: Mapping[str, NDArray] | None = None) -> Any:
        """Begin a new sequence for `step`, or go on from a saved `online_state`."""
        check_is_fitted(self)
        reset(self, state)
        return self

    @property
    def online_state(self) -> dict[str, NDArray]:
        """What `step` goes on from: arrays by name, to be saved and given to `reset`."""
        check_is_fitted(self)
        online = OnlineFilter(self.method_) if self._online is None else self._online
        return {name: value.numpy() for name, value in online.state.items()}

    def save(self, path: str | Path) -> Path:
        """Write the estimator as one safetensors file, of tensors and JSON.

        Args:
            path: ends in .safetensors.
        """
        check_is_fitted(self)
        return write_estimator(self, Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Any:
        """Return an estimator from the file that `save` wrote, or from a run's folder.

        Nothing of the file is unpickled. A run of `solo-ldm predictive` has no decoder of y.

        Raises:
            ValueError: in one line: a file of another kind or estimator, or a damaged one.
            FileNotFoundError: in one line: no such file.
        """
        return read_estimator(cls, Path(path).expanduser())

    def plot(self, X: Any, y: Any = None, path: str | Path | None = None) -> Any:
        """Draw what the report of `solo-ldm predictive` shows, for these bins.

        Latents with their predictions and states, states coloured by y, y decoded with its
        interval, and the training; the title says what was chosen.

        Args:
            X: as in `fit`; bins that were not trained on show what was learned.
            y: as in `fit`.
            path: of a PNG to write; None returns matplotlib's figure.
        """
        return plot(self, self._read(X), y, path)

    def _fitted_decoder(self) -> TargetDecoder:
        if self.decoder_ is None:
            got = self._undecoded or "a fit without"
            raise ValueError(f"y: expected fit(X, y) with a y to decode, got {got}")
        return self.decoder_

    def _states(self, inputs: Given, found: Filtered, states: Any, factors: Any) -> States:
        """Return states (T, n) of each sequence, and factors of covariances, as the caller has X.

        Args:
            inputs: X.
            found: its sequences, filtered.
            states: of each sequence.
            factors: of each sequence, or None.
        """
        covariance = None
        if factors is not None:
            products = [(one @ one.mT).numpy() for one in factors]
            covariance = inputs.plain(inputs.joined(products))
        latents = _of_sequences(found, found.latents)
        return States(
            inputs.back(inputs.joined([one.numpy() for one in states]), self._names()),
            covariance,
            inputs.back(
                inputs.joined([one.numpy() for one in latents]), self._names(found.latents.shape[2])
            ),
        )

    def _names(self, count: int | None = None) -> list[str]:
        """Return names of states, or of so many latents."""
        prefix = type(self).__name__.lower()
        number = self.method_.predictor.state_dim if count is None else count
        return [f"{prefix}{i}" for i in range(number)]


def _of_sequences(found: Filtered, values: Tensor) -> list[Tensor]:
    """Return values (N or 1, T, ...) of each sequence, without padding."""
    lengths = found.sequences.lengths.tolist()
    every = values.expand(len(lengths), *values.shape[1:])
    return [one[:length] for one, length in zip(every, lengths, strict=True)]


def _target_names(values: list[NDArray]) -> list[str]:
    columns = 1 if values[0].ndim == 1 else values[0].shape[1]
    return ["y"] if columns == 1 else [f"y{i}" for i in range(columns)]
