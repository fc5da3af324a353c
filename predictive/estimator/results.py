"""What estimators return beside arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._set_output import (
    _get_output_config,  # pyright: ignore[reportPrivateUsage]
)


@dataclass(frozen=True, eq=False)
class States:
    """States of bins, of the kind of X: one array, or a list of them for a list of sessions.

    Args:
        mean: (T, n).
        covariance: (T, n, n); None where the model has none.
        latents: z_t = f(x_t), (T, m); of a forecast the predicted ones.
        y: of a forecast, decoded from the states, (T,) or (T, k); None without a decoder.
        y_low: lower end of its interval; None where it has none.
        y_high: upper end.
    """

    mean: Any
    covariance: Any
    latents: Any
    y: Any = None
    y_low: Any = None
    y_high: Any = None

    @property
    def std(self) -> Any:
        """Standard deviations of the states, (T, n)."""
        if self.covariance is None:
            return None
        if isinstance(self.covariance, list):
            return [_deviation(one) for one in self.covariance]
        return _deviation(self.covariance)


class OnlineStep(NamedTuple):
    """The state after one bin.

    Args:
        mean: (n,).
        low: lower end of the interval of each state, (n,); None where the model has none.
        high: upper end.
        covariance: (n, n).
        y: decoded from the state, (k,); None without a decoder.
        y_low: lower end of its interval; None where it has none.
        y_high: upper end.
    """

    mean: NDArray
    low: NDArray | None
    high: NDArray | None
    covariance: NDArray | None
    y: NDArray | None
    y_low: NDArray | None
    y_high: NDArray | None


def _deviation(covariance: NDArray) -> NDArray:
    return np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))


def for_container(estimator: Any, found: Any) -> Any:
    """Refuse states of which scikit-learn cannot make the table that `set_output` asks for."""
    asked = _get_output_config("transform", estimator)["dense"]
    kind = type(found).__module__.partition(".")[0]
    if asked != "default" and kind not in ("numpy", "pandas", "torch"):
        raise ValueError(
            f"X: expected one array or table, of which transform_output={asked!r} makes a table, "
            f"got a {type(found).__name__}; set_output(transform='default') returns X's own kind"
        )
    return found
