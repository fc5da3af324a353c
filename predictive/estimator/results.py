"""What estimators return beside arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


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
