"""One bin at a time: what an estimator does in a closed loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from predictive.estimator.reading.inputs import read_bin
from predictive.estimator.results import OnlineStep
from predictive.online import OnlineFilter

if TYPE_CHECKING:
    from predictive.estimator.base import TrainedSSL

# Half of the standard normal's 95 % interval.
_REACH = 1.959964


def step(estimator: TrainedSSL, x: Any) -> OnlineStep:
    """Take in one bin; see `LatentSSL.step`."""
    with np.errstate(over="ignore"):  # infinite then
        values = read_bin(estimator, x)
    if values.shape != (estimator.n_features_in_,):
        raise ValueError(f"x: expected ({estimator.n_features_in_},), got {values.shape}")
    if (infinite := np.isinf(values)).any():
        raise ValueError(
            "x: expected finite numbers, or NaN for a missing bin, got infinity in the features "
            f"{np.flatnonzero(infinite)[:10].tolist()}"
        )
    if estimator._online is None:
        estimator._online = OnlineFilter(estimator.method_)
    mean, factor, _ = estimator._online.step(torch.from_numpy(values))
    low = high = covariance = y = y_low = y_high = None
    centre = mean.float().numpy()
    if factor is not None:
        covariance = (factor @ factor.mT).float().numpy()
        reach = _REACH * np.sqrt(np.diagonal(covariance))
        low, high = centre - reach, centre + reach
    if (decoder := estimator.decoder_) is not None:
        y = decoder.labelled(decoder.predict(mean[None])[0])
        if decoder.interval is not None:
            ends = decoder.bounds(mean[None], None if factor is None else factor[None], 0.95)
            y_low, y_high = ends.low[0].numpy(), ends.high[0].numpy()
    return OnlineStep(centre, low, high, covariance, y, y_low, y_high)


def reset(estimator: TrainedSSL, state: Mapping[str, NDArray] | None) -> None:
    """Begin a new sequence, or go on from a state; see `LatentSSL.reset`."""
    online = OnlineFilter(estimator.method_)
    if state is not None:
        if not isinstance(state, Mapping):
            raise ValueError(
                f"state: expected arrays by name, as online_state gives, got {state!r:.80}"
            )
        arrays = {str(name): np.asarray(one) for name, one in state.items()}
        for name, one in arrays.items():
            if one.dtype.kind not in "biuf":
                raise ValueError(f"state: expected numbers, got {name} of {one.dtype}")
        online.state = {name: torch.from_numpy(one) for name, one in arrays.items()}
    estimator._online = online
