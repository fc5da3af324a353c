"""What decodes y from states: a decoder, its interval, and their form in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from torch import Tensor

from predictive.calibration import fit_interval
from predictive.decoding.bins import sums_of_squares
from predictive.decoding.fit import Decoder, LinearDecoder, MLPDecoder, fit_linear, fit_mlp
from predictive.decoding.intervals import (
    DecodedInterval,
    ResidualModel,
    decode_with_interval,
)
from predictive.filtered import Filtered

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
            None where they are too few.
        flat: whether y had no columns.
    """

    kind: str
    decoder: Decoder
    interval: tuple[Decoder, ResidualModel] | None
    flat: bool

    @classmethod
    def fit(cls, kind: str, train: Filtered, seed: int, flat: bool) -> TargetDecoder:
        """Fit to the target "y" of filtered training sequences."""
        fit = fit_linear if kind == "linear" else partial(fit_mlp, seed=seed)
        targets = train.rows(train.sequences.targets["y"])
        decoder = fit(train.rows(train.states), targets, groups=train.groups())
        return cls(kind, decoder, fit_interval(train, targets, kind, seed), flat)

    def predict(self, mean: Tensor) -> Tensor:
        """Return y (M, k) of states (M, n), float64."""
        return self.decoder.predict(mean)

    def bounds(self, mean: Tensor, factor: Tensor | None, level: float) -> DecodedInterval:
        """Return the interval of y for states with the factors of their covariances.

        Raises:
            ValueError: in one line: the training bins were too few for a calibration set.
        """
        if self.interval is None:
            raise ValueError(
                "return_interval: expected enough training bins with a known y for a calibration "
                "set, got too few; fit with more"
            )
        return decode_with_interval(self.interval[0], mean, factor, self.interval[1], level)

    def written(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return tensors and JSON from which `read` makes the same decoder."""
        tensors, about = _written("decoder", self.decoder)
        about |= {"kind": self.kind, "flat": self.flat}
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
        return cls(kind, _read("decoder", kind, own, about), interval, about["flat"])


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
        else:
            arguments[one.name] = own[key] if key in own else about[key]
    return KINDS[kind](**arguments)


def target_like(values: Tensor, flat: bool) -> Any:
    """Return decoded values (M, k) as an array, (M,) where y had no columns."""
    found = values.numpy()
    return found[:, 0] if flat else found


def pooled_r2(targets: Tensor, predictions: Tensor) -> float:
    """Return R² pooled over columns, over bins whose target is known."""
    residual, spread = sums_of_squares(targets, predictions)
    if not bool(spread.sum() > 0.0):
        return float("nan")
    return float(1.0 - residual.sum() / spread.sum())
