"""Random forecasts, and the entropies of the predictive objective by kind."""

import torch

from predictive.filtering import Gaussian
from predictive.predictors import Forecast

STOP = "stop_gradient"
IN_NATS = ("neighbour", "kernel", "logdet", "logdet_expansion", "coding_rate")
AT_ITS_OWN_SCALE = ("sliced", "vicreg", "redundancy", "logistic")
CASES = [(STOP, "marginal"), ("contrastive", "marginal"), ("vicreg", "marginal")] + [
    (name, over) for name in IN_NATS for over in ("marginal", "joint")
]
NOT_SCALE_FREE = (STOP, "kernel", "coding_rate", "vicreg")
SCALE_FREE = [case for case in CASES if case[0] not in NOT_SCALE_FREE]
SAMPLES, STEPS, LATENTS = 4, 15, 2


def random_forecast(samples=SAMPLES, steps=STEPS, shared=False):
    """Latents, and predictions that have nothing to do with them."""
    z, mean = torch.randn(2, samples, steps, LATENTS, dtype=torch.float64)
    root = torch.randn(1 if shared else samples, steps, LATENTS, LATENTS, dtype=torch.float64)
    factor = torch.linalg.cholesky(root @ root.mT + torch.eye(LATENTS, dtype=torch.float64))
    return Forecast(z, Gaussian(mean, factor), mean)


def padded():
    known = torch.arange(STEPS) < torch.tensor([STEPS, 9, 12, 5])[:, None]
    known[0, 4] = False  # missing in the middle
    return known
