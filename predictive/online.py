"""A method that takes in one bin after another, as a closed loop does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from predictive.filtering import Gaussian
from predictive.filtering.single import SingleFilter
from predictive.method import PredictiveMethod
from predictive.predictors import KalmanPredictor, RecurrentPredictor
from predictive.predictors.kalman import Carry
from predictive.predictors.recurrent import RecurrentCarry


class OnlineState(NamedTuple):
    """One bin filtered.

    Args:
        mean: of the state after the bin, (n,).
        factor: Cholesky factor of its covariance, (n, n); None where the predictor has none.
        prediction: of the bin's latent given the bins before, mean (m,) and factor (m, m).
    """

    mean: Tensor
    factor: Tensor | None
    prediction: Gaussian


class OnlineFilter:
    """Filters bins as they come; the same states as `filter_sequences` gives for all of them.

    The belief is held in float64 between bins, as a filter of a whole sequence holds it, unless the
    noise depends on it, where that filter rounds it to float32 as well.

    Args:
        method: trained, in evaluation mode, on the CPU.

    Raises:
        ValueError: in one line: a predictor that has no form of single bins.
    """

    def __init__(self, method: PredictiveMethod) -> None:
        if not isinstance(method.predictor, KalmanPredictor | RecurrentPredictor):
            kind = type(method.predictor).__name__
            raise ValueError(f"method: expected kalman or recurrent to filter online, got {kind}")
        self.method = method
        self.reset()

    @torch.inference_mode()
    def reset(self) -> None:
        """Begin a new sequence."""
        predictor = self.method.predictor
        # Weighted sums of the inputs and of ones, whose ratio is the mean over the past.
        self._sums = torch.zeros(self.method.encoder.input_dim + 1, dtype=torch.float64)
        self._carry: Carry | RecurrentCarry
        if isinstance(predictor, RecurrentPredictor):
            self._carry = predictor.start(1)
            return
        assert isinstance(predictor, KalmanPredictor)
        carry, self._single = predictor.start(1), None
        if predictor.observation_noise != "state" and predictor.process_noise == "constant":
            belief = Gaussian(carry.belief.mean.double(), carry.belief.factor.double())
            carry = carry._replace(belief=belief)
            noise = carry.scale * predictor.log_process_noise.exp()
            self._single = SingleFilter(
                carry.transition, carry.offset, predictor.observation_matrix, noise
            )
        self._carry = carry

    @torch.inference_mode()
    def step(self, inputs: Tensor) -> OnlineState:
        """Take in a bin (F,), float32; one with a value that is not finite is a missing one."""
        predictor = self.method.predictor
        seen = None
        if not bool(torch.isfinite(inputs).all()):
            inputs, seen = torch.zeros_like(inputs), _UNSEEN
        x = inputs[None]
        latents = self.method.encoder.encode(x, self._past(x, seen is None))
        if isinstance(predictor, RecurrentPredictor):
            assert isinstance(self._carry, RecurrentCarry)
            self._carry, prediction = predictor.advance(self._carry, latents, x, seen)
            return OnlineState(self._carry.state[0], None, _first(prediction))
        assert isinstance(predictor, KalmanPredictor)
        assert isinstance(self._carry, Carry)
        noise = predictor.input_noise(x)
        if self._single is not None:
            carry = self._carry
            belief, prediction = self._single.step(
                _first(carry.belief), latents[0], (carry.scale * noise)[0], seen is None
            )
            self._carry = carry._replace(belief=Gaussian(belief.mean[None], belief.factor[None]))
            return OnlineState(belief.mean, belief.factor, prediction)
        if seen is not None:
            seen = seen.expand_as(latents)
        self._carry, found = predictor.advance(self._carry, latents, noise, seen)
        return OnlineState(found.belief.mean[0], found.belief.factor[0], _first(found.prediction))

    def _past(self, x: Tensor, seen: bool) -> Tensor | None:
        """Return the mean of the inputs up to a bin (1, F), None where none is encoded."""
        decay = self.method.encoder.decay
        if decay == 0.0:
            return None
        self._sums = decay * self._sums
        if seen:
            self._sums = self._sums + torch.cat([x[0], x.new_ones(1)])
        mean = self._sums[:-1] / self._sums[-1] if bool(self._sums[-1] > 0.0) else x[0]
        return mean.to(x.dtype)[None]

    @property
    def state(self) -> dict[str, Tensor]:
        """What the next bin is filtered from; set it to go on from there."""
        carry = self._carry
        if isinstance(carry, RecurrentCarry):
            named = {"state": carry.state}
            named |= {f"hidden{i}": one for i, one in enumerate(carry.hidden)}
        else:
            named = {"mean": carry.belief.mean, "factor": carry.belief.factor}
            if carry.records is not None:
                named["records"] = carry.records
        if self.method.encoder.decay > 0.0:
            named["sums"] = self._sums
        return {name: value.clone() for name, value in named.items()}

    @state.setter
    def state(self, given: Mapping[str, Tensor]) -> None:
        own = self.state
        wanted = {name: tuple(value.shape) for name, value in own.items()}
        got = {name: tuple(value.shape) for name, value in given.items()}
        if wanted != got:
            raise ValueError(f"state: expected that of this model, {wanted}, got {got}")
        new = {name: given[name].to(value.dtype).clone() for name, value in own.items()}
        self._sums = new.get("sums", self._sums)
        if isinstance(self._carry, RecurrentCarry):
            hidden = tuple(new[f"hidden{i}"] for i in range(len(self._carry.hidden)))
            self._carry = RecurrentCarry(new["state"], hidden)
        else:
            belief = Gaussian(new["mean"], new["factor"])
            self._carry = self._carry._replace(belief=belief, records=new.get("records"))


_UNSEEN = torch.zeros(1, dtype=torch.bool)


def _first(gaussian: Gaussian) -> Gaussian:
    return Gaussian(gaussian.mean[0], gaussian.factor[0])
