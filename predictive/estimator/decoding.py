"""What decodes y from states: a decoder, its interval, and their form in a file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from predictive.calibration import EVERY, LEVEL, NUMBERS, fit_interval
from predictive.data.targets import TargetKind
from predictive.decoding.bins import wide
from predictive.decoding.fit import Decoder, LinearDecoder, MLPDecoder, fit_linear, fit_mlp
from predictive.decoding.intervals import (
    DecodedInterval,
    ResidualModel,
    decode_with_interval,
    fewest_calibration_bins,
)
from predictive.decoding.score import probabilities
from predictive.estimator.targets import Targets
from predictive.filtered import Filtered
from solo_ldm.config.arguments import Bounds, check_value

KINDS: dict[str, type[LinearDecoder] | type[MLPDecoder]] = {
    "linear": LinearDecoder,
    "mlp": MLPDecoder,
}


@dataclass(frozen=True, eq=False)
class TargetDecoder:
    """Decodes y from states, as `solo-ldm predictive` does.

    Args:
        kind: linear or mlp.
        decoder: fitted to all training bins; its predictions are scored.
        interval: a decoder of three quarters of the training bins with its residuals on the others;
            None where they are too few, and for categories.
        flat: whether y had no columns.
        target: what y is.
        classes: of a categorical y, its labels in the order of the decoded columns.
    """

    kind: str
    decoder: Decoder
    interval: tuple[Decoder, ResidualModel] | None
    flat: bool
    target: TargetKind = NUMBERS
    classes: NDArray[Any] | None = None

    @classmethod
    def fit(cls, kind: str, train: Filtered, seed: int, y: Targets) -> TargetDecoder:
        """Fit to the target "y" of filtered training sequences."""
        linear = partial(fit_linear, together=y.kind.together)
        fit = linear if kind == "linear" else partial(fit_mlp, seed=seed)
        targets = train.rows(train.sequences.targets["y"])
        decoder = fit(train.rows(train.states), targets, groups=train.groups())
        interval = None
        if y.classes is None:
            interval = fit_interval(train, targets, kind, seed, y.kind)
        return cls(kind, decoder, interval, y.flat, y.kind, y.classes)

    def predict(self, mean: Tensor) -> Tensor:
        """Return y (M, k) of states (M, n), float64; of categories their numbers."""
        return self.target.value(self.decoder.predict(mean))

    def labelled(self, values: Tensor) -> NDArray[Any]:
        """Return values (M, k) as an array, with the labels of categories."""
        found = values.numpy()
        return found if self.classes is None else self.classes[found.astype(np.int64)]

    def as_given(self, values: Tensor) -> NDArray[Any]:
        """Return values (M, k) as the caller gave y, (M,) where it had no columns."""
        found = self.labelled(values)
        return found[:, 0] if self.flat else found

    def probabilities(self, mean: Tensor) -> NDArray[np.float64]:
        """Return the probability of each class, (M, c)."""
        return probabilities(self.decoder.predict(mean)).numpy()

    def score(self, truth: Tensor, mean: Tensor) -> float:
        """Return R² of y, see `r_squared`, or the share of categories that are right.

        Args:
            truth: columns (M, c) of y, NaN where unknown; zeros for a label not seen in training.
            mean: states (M, n).

        Raises:
            ValueError: in one line: no y is known.
        """
        decoded = self.decoder.predict(mean)
        if self.classes is None:
            return r_squared(self.target, truth, decoded)
        known = _known(truth)
        true = truth[known]
        right = (true.argmax(dim=1) == decoded[known].argmax(dim=1)) & (true.amax(dim=1) > 0.0)
        return float(right.double().mean())

    def bounds(self, mean: Tensor, factor: Tensor | None, level: float) -> DecodedInterval:
        """Return the interval of y for states with the factors of their covariances.

        That of an angle is an arc, whose ends lie beyond [0, P) where it crosses 0. The interval
        is widened to the decoded y where that lies outside: it is calibrated around the decoder of
        three quarters of the training bins, whose residuals may be biased.

        Raises:
            ValueError: in one line: categories, or the training bins were too few for a
                calibration set.
        """
        if self.classes is not None:
            raise ValueError(
                "return_interval: expected a y of numbers or an angle, got categories; "
                "predict_proba gives the probability of each"
            )
        check_value("level", level, Annotated[float, Bounds(above=0, below=1)])
        fewest = fewest_calibration_bins(LEVEL)
        if self.interval is None:
            raise ValueError(
                f"return_interval: expected about {EVERY * fewest} training bins with a known y, a "
                f"quarter of them a calibration set of {fewest}, got fewer; fit with more"
            )
        inner, residual = self.interval
        count = len(residual.standardised)
        if (fewest := fewest_calibration_bins(level)) > count:
            most = math.floor(1000.0 * (1.0 - 2.0 / (count + 1.0))) / 1000.0
            raise ValueError(
                f"level: expected at most {most} with {count} calibration bins, got {level}; lower "
                f"it, or fit with about {EVERY * fewest} bins with a known y"
            )
        found = decode_with_interval(inner, mean, factor, residual, level, target=self.target)
        y, centre, low, high = self.predict(mean), found.mean, found.low, found.high
        if self.target.name == "circular":
            # On the turn of the predicted angle, and at most the whole circle.
            half = self.target.period / 2.0
            centre = y + self.target.apart(found.mean, y)
            low = centre + (found.low - found.mean).clamp_min(-half)
            high = centre + (found.high - found.mean).clamp_max(half)
        return DecodedInterval(centre, low.minimum(y), high.maximum(y))

    def written(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and JSON from which `read` makes the same decoder."""
        tensors, about = _written("decoder", self.decoder)
        about |= {"kind": self.kind, "flat": self.flat, "target": asdict(self.target)}
        if self.classes is not None:
            about["classes"] = [self.classes.dtype.str, self.classes.tolist()]
        if self.interval is not None:
            inner, more = _written("interval", self.interval[0])
            residual = self.interval[1]
            tensors |= inner
            tensors |= {"variance": residual.variance, "standardised": residual.standardised}
            about |= more
        return {f"y.{key}": value.contiguous() for key, value in tensors.items()}, about

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> TargetDecoder:
        """Return a decoder from what `written` gave."""
        own = {
            key.removeprefix("y."): value for key, value in tensors.items() if key.startswith("y.")
        }
        kind, interval = about["kind"], None
        if "variance" in own:
            residual = ResidualModel(own["variance"], own["standardised"])
            interval = (_read("interval", kind, own, about), residual)
        target = about.get("target") or asdict(NUMBERS)  # of an older version
        target = TargetKind(**{**target, "categories": tuple(target["categories"])})
        classes = None
        if "classes" in about:
            classes = np.array(about["classes"][1], dtype=about["classes"][0])
        decoder = _read("decoder", kind, own, about)
        return cls(kind, decoder, interval, about["flat"], target, classes)


def _written(name: str, decoder: Decoder) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for one in fields(decoder):
        value = getattr(decoder, one.name)
        if one.name == "layers":
            for i, (weight, bias) in enumerate(value):
                tensors |= {f"{name}.weight{i}": weight, f"{name}.bias{i}": bias}
        elif isinstance(value, Tensor):
            tensors[f"{name}.{one.name}"] = value
        else:
            numbers[f"{name}.{one.name}"] = value
    return {key: value.detach() for key, value in tensors.items()}, numbers


def _read(name: str, kind: str, own: Mapping[str, Tensor], about: Mapping[str, Any]) -> Decoder:
    arguments: dict[str, Any] = {}
    for one in fields(KINDS[kind]):
        key = f"{name}.{one.name}"
        if one.name == "layers":
            count = sum(found.startswith(f"{name}.weight") for found in own if found[-1].isdigit())
            arguments["layers"] = tuple(
                (own[f"{name}.weight{i}"], own[f"{name}.bias{i}"]) for i in range(count)
            )
        elif one.name == "penalty" and key not in own:  # of an older version: one for all columns
            arguments["penalty"] = torch.full_like(arguments["offset"], about[key])
        else:
            arguments[one.name] = own[key] if key in own else about[key]
    return KINDS[kind](**arguments)


def r_squared(target: TargetKind, truth: Tensor, decoded: Tensor) -> float:
    """Return scikit-learn's R² of columns (M, c), over bins whose target is known.

    Of numbers, the mean over columns, which their units do not change; of the columns of an angle
    or of categories the pooled one, as the command has it.

    Raises:
        ValueError: in one line: no target is known.
    """
    from sklearn.metrics import r2_score

    known = _known(truth)
    how = "uniform_average" if target.name == "continuous" else "variance_weighted"
    return float(r2_score(wide(truth[known]).numpy(), decoded[known].numpy(), multioutput=how))


def _known(truth: Tensor) -> Tensor:
    known = torch.isfinite(truth).all(dim=1)
    if not bool(known.any()):
        raise ValueError(f"y: expected a known one in some bin, got none in {len(truth)}")
    return known
