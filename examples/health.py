# %% [markdown]
# # Reading health and collapse
#
# Two runs that differ in one key: one of them collapses. What that looks like, how early it shows,
# and why a score can hide it.
#
#     python examples/health.py

# %% Settings
import csv
import math
import warnings
from pathlib import Path

import numpy as np

import solo_ldm
from solo_ldm.evaluation.spectrum import Health, diagnose
from solo_ldm.plotting.page import Panel, write_page
from solo_ldm.plotting.style import BLUE, RED, heading

EPOCHS = 20
FOLDER = Path("health_example")  # for what is written

# %% [markdown]
# ## Two runs
#
# The entropy keeps latents apart. Weighed by a thousandth, it cannot.

# %%
runs, warned = {}, {}
for label, weight in (("healthy", 1.0), ("collapsed", 0.001)):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        runs[label] = solo_ldm.pretrain(
            "gaussprob",
            data="digits",
            epochs=EPOCHS,
            method_kwargs={"entropy_weight": weight},
            evaluation={"protocols": ["knn-20", "linear-features"], "report": False},
            output=FOLDER,
            quiet=True,
        )
    warned[label] = [str(one.message) for one in found if "ollapse" in str(one.message)]
for label, messages in warned.items():
    print(f"{label}: {messages[0] if messages else 'no warning'}")

# %% [markdown]
# The warning names the likely cause and the keys to change. It needs no labels, and is also given
# by a command that trains.
#
# ## The curves
#
# `metrics.csv` of a run has a row an epoch; `report.png` draws the same.


# %%
def curve(run, name):
    """Return a metric of each epoch."""
    with (run.folder / "metrics.csv").open(newline="") as file:
        return np.array([float(row[name] or math.nan) for row in csv.DictReader(file)])


def draw(name, title, note, log=False):
    """Return a panel with the metric of both runs."""

    def on(axes):
        for (label, run), colour in zip(runs.items(), (BLUE, RED), strict=True):
            values = curve(run, name)
            axes[0].plot(np.arange(1, len(values) + 1), values, color=colour, label=label)
        if log:
            axes[0].set_yscale("log")
        axes[0].set_xlabel("epoch")
        heading(axes[0], title, note)
        if name == "z_std":
            axes[0].legend(frameon=False)

    return Panel(name, on, height=2.8)


# %%
# Picture: Standard deviation, effective rank, mean cosine and alignment by epoch, of both runs
panels = [
    draw("z_std", "Standard deviation", "of a dimension; collapsed below 0.05", log=True),
    draw("z_effective_rank", "Effective rank", "directions that latents vary in"),
    draw("z_mean_cosine", "Mean cosine", "of two different images"),
    draw("z_alignment", "Alignment", "cosine of two views of an image"),
]
print(write_page(FOLDER / "health.png", [panels[:2], panels[2:]], "health of two runs"))

# %% [markdown]
# How to read it: the standard deviation of the second run falls, since nothing pays for spread,
# and the latents of all images become one point. No other curve says it alone. Alignment looks
# fine: views of an image agree, as everything agrees, which the mean cosine of *different* images
# tells. The effective rank of the second run is even the higher one: what is left around the point
# is noise, and noise has every direction.
#
# ## What the scores say

# %%
print("| run | standard deviation | effective rank | knn-20 | linear-features | untrained |")
print("| --- | --- | --- | --- | --- | --- |")
for label, run in runs.items():
    health = run.results["health"]
    knn, linear = run.scores["knn-20"], run.scores["linear-features"]
    print(
        f"| {label} | {health['z_std']:.2g} | {health['z_effective_rank']:.1f} | {knn['top1']:.1%} "
        f"| {linear['top1']:.1%} | {linear['untrained_top1']:.1%} |"
    )

# %% [markdown]
# A linear classifier rescales what is left of the features, and digits are easy: its score of the
# collapsed run would pass for a result, were there not the untrained network beside it, which is
# better. Hence the untrained baseline beside every score, and the health beside both.
#
# ## In your own loop
#
# The same judgement is a function of measures, without a run:

# %%
flat = Health(
    std_mean=0.001, std_min=0.0, effective_rank=40.0, mean_cosine=0.2, num_samples=512, num_dims=128
)
print(diagnose(flat, sphere=False))
line = Health(
    std_mean=1.0, std_min=0.5, effective_rank=1.3, mean_cosine=0.1, num_samples=512, num_dims=128
)
print(diagnose(line, sphere=False))

# %% [markdown]
# [What each curve means, and what to change](../concepts/health.md). Measures of features for any
# weights, RankMe and LiDAR among them: [`solo-ldm diagnostics`](../how-to/evaluate.md).
