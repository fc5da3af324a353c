# %% [markdown]
# # A new estimator in 15 lines
#
# An entropy of your own, checked against closed forms, then trained with: for images, time series,
# ICA and the theorem at once.
#
#     python examples/estimator.py

# %% Settings
import math
from pathlib import Path

import torch
from torch import Tensor

import solo_ldm
from solo_ldm.entropy import ENTROPIES, EntropyEstimator

EPOCHS = 10
SAMPLES = 1024
FOLDER = Path("estimator_example")  # for what is written

# %% [markdown]
# ## The idea
#
# The log-determinant knows the variance along each principal axis of the latents, and takes the
# rest for Gaussian. One could also look at the *shape* along each axis: sort the samples, and
# where neighbours in rank are far apart the density is low (m-spacings; Vasicek, *Journal of the
# Royal Statistical Society B* 38, 1976). The sum over axes is an upper bound of the entropy, as
# the log-determinant is, since entropies of parts add up to no less than that of the whole.
#
#     H ≈ (1 / BD) Σ_d Σ_i log( (B + 1) / m · (z_(i+m),d − z_(i),d) )


# %%
class SpacingEntropy(EntropyEstimator):
    """Entropy along the principal axes, a dimension, by m-spacings."""

    supports = ("plane",)

    def __init__(self, support: str = "plane", spacing: int = 32) -> None:
        super().__init__(support)  # pyright: ignore[reportArgumentType]
        self.spacing = spacing

    def estimate(self, z: Tensor, num_views: int = 1) -> Tensor:
        centred = z - z.mean(dim=0)
        axes = torch.linalg.eigh((centred.T @ centred).detach()).eigenvectors
        ordered = (centred @ axes).sort(dim=0).values
        gaps = ordered[self.spacing :] - ordered[: -self.spacing]
        return (gaps * (len(z) + 1) / self.spacing + 1e-8).log().mean()

    def to_nats(self, value: Tensor, num_samples: int, dim: int, num_views: int = 1) -> Tensor:
        return num_views * dim * value


ENTROPIES["spacing"] = SpacingEntropy

# %% [markdown]
# `estimate` takes samples (B, D) and returns a scalar, larger where samples are more spread;
# `to_nats` says how to make an entropy of it, if it is one. The last line gives it a name. In a
# fork of the package, the class is a module in `solo_ldm/entropy/` and the line is in its
# `__init__`: [places](../how-to/add.md).
#
# ## Is it an entropy?
#
# Of a Gaussian and of a uniform distribution the entropy is known. The table is the error in nats
# a dimension, of every estimator that has a value in nats: its bias, since so many samples leave
# little noise.


# %%
def known(dim: int) -> dict[str, tuple[Tensor, float]]:
    """Return samples of distributions with their entropy in nats."""
    torch.manual_seed(0)
    scale = torch.linspace(0.5, 2.0, dim)
    gaussian = torch.randn(SAMPLES, dim) * scale
    nats = 0.5 * dim * math.log(2 * math.pi * math.e) + scale.log().sum().item()
    return {"Gaussian": (gaussian, nats), "uniform": (torch.rand(SAMPLES, dim), 0.0)}


names = ("kernel", "neighbour", "logdet", "spacing")
print(f"| samples | dimensions | {' | '.join(names)} |")
print("| --- " * (2 + len(names)) + "|")
for dim in (1, 2, 8, 32):
    for label, (z, true) in known(dim).items():
        errors = []
        for name in names:
            estimator = ENTROPIES[name]("plane")
            nats = estimator.to_nats(estimator.marginal(z), SAMPLES, dim)
            errors.append(f"{(nats.item() - true) / dim:+.3f}")
        print(f"| {label} | {dim} | {' | '.join(errors)} |")

# %% [markdown]
# At the precision of training the kernel is about as wide as the unit cube, whose entropy it
# overestimates most. Nearest neighbours come near in few dimensions, less in many; the largest
# distances are clipped, as in training, which takes a little off. The log-determinant is right
# for Gaussians, and as much too large in every dimension for what is none; spacings see the shape
# along each axis, and lose a little in the tails.
#
# ## Train with it
#
# Its name is a value of `method_kwargs.entropy`, an argument of its constructor is a key, and a
# misspelt key is refused.

# %%
print("| entropy | knn-20 | untrained | effective rank of the latents |")
print("| --- | --- | --- | --- |")
for entropy in ("spacing", "logdet", "kernel"):
    run = solo_ldm.pretrain(
        "gaussprob",
        data="digits",
        epochs=EPOCHS,
        method_kwargs={"entropy": entropy, **({"spacing": 16} if entropy == "spacing" else {})},
        evaluation={"protocols": ["knn-20"], "report": False},
        output=FOLDER,
        quiet=True,
    )
    score, health = run.scores["knn-20"], run.results["health"]
    rank = health["z_effective_rank"]
    print(f"| {entropy} | {score['top1']:.1%} | {score['untrained_top1']:.1%} | {rank:.1f} |")

# %% [markdown]
# One seed of digits ranks nothing ([comparing](comparing.md)); it shows that the estimator trains,
# and by its rank what it makes of the latents. The same name serves time series (`solo-ldm
# predictive objective.entropy=spacing`), `solo-ldm ica` and `solo-ldm theorem` from a program that
# has it in `ENTROPIES`.
#
# ## Before you send it
#
# A test of its value in nats against a closed form, as above, in `tests/solo_ldm/entropy/`, and a
# row in `tests/support/methods/cells.py`, by which gradients, precision and distributed training
# of every cell are checked: [contributing](../../CONTRIBUTING.md).
