# %% [markdown]
# # Latents of a recording
#
# From spike counts to latents, intervals, forecasts and a closed loop, in a minute on a laptop.
# The position is never seen in training: it is decoded from the latent state afterwards.
#
#     python examples/recording.py [FILE]
#
# FILE is an npz, MAT or NWB file of spikes and positions, as `solo-ldm predictive` reads it;
# without one, place cells of an animal on a linear track are simulated.

# %% Settings
import sys
from pathlib import Path

import numpy as np

from predictive import KalmanSSL
from predictive.data.recordings.recording import recording
from predictive.data.simulated.place_cells import place_cells

IN_NOTEBOOK = "ipykernel" in sys.modules
FILE = None if IN_NOTEBOOK else next(iter(sys.argv[1:]), None)
BIN_SECONDS = 0.25
MINUTES = 4.0  # of the simulation
EPOCHS = None  # None is chosen from the data
FOLDER = Path("recording_example")  # for what is written

# %% [markdown]
# ## Data
#
# Blocks of 20 s, each (bins, cells), with the position in each bin, NaN while the animal pauses.
# One block in five is held out. A bin should hold some spikes of all cells together.

# %%
if FILE:
    data = recording(FILE, bin_seconds=BIN_SECONDS, pauses="keep")
else:
    data = place_cells(duration_seconds=60 * MINUTES, bin_seconds=BIN_SECONDS, pauses="keep")
print(data.description)


def as_lists(part):
    """Return counts and positions of blocks as lists of arrays."""
    sizes = part.lengths.tolist()
    counts = [one[:n].numpy() for one, n in zip(part.inputs, sizes, strict=True)]
    places = part.targets["position"]
    return counts, [one[:n].numpy() for one, n in zip(places, sizes, strict=True)]


spikes, position = as_lists(data.train)
new_spikes, new_position = as_lists(data.held_out)

# %% [markdown]
# ## Training
#
# An encoder, and a Kalman filter that predicts its latents. Settings that are left out are chosen
# from the data.

# %%
model = KalmanSSL(bin_seconds=data.train.step_seconds, max_epochs=EPOCHS)
model.fit(spikes, position)
print("chosen:", model.chosen_)

# %% [markdown]
# ## Latents
#
# `transform` gives the states, `filter` their covariances as well; `smooth` uses all bins of a
# block, the later ones too.

# %%
states = model.filter(new_spikes)
smoothed = model.smooth(new_spikes)
print("first block:", states.mean[0].shape, "bins, states")
before, after = (np.concatenate(one.std) for one in (states, smoothed))
print(f"standard deviation left by smoothing: {np.mean(after) / np.mean(before):.0%}")

# %% [markdown]
# ## Intervals
#
# The interval is calibrated on training bins, so count how often the held-out position is inside.

# %%
decoded, low, high = model.predict(new_spikes, return_interval=True)
print(f"R² of position on held-out time: {model.score(new_spikes, new_position):.3f}")
truth, below, above = (np.concatenate(one) for one in (new_position, low, high))
known = np.isfinite(truth)
inside = ((below <= truth) & (truth <= above))[known]
print(f"in the 95 % interval: {inside.mean():.1%} of {known.sum()} bins")

# %% [markdown]
# ## Forecasts
#
# One second ahead from the middle of a block, with the interval of each bin.

# %%
longest = int(np.argmax([len(one) for one in new_spikes]))
half = len(new_spikes[longest]) // 2
steps = min(round(1.0 / data.train.step_seconds), len(new_spikes[longest]) - half)
ahead = model.forecast(new_spikes[longest][:half], steps)
for bins in (1, steps):
    reach = np.mean(ahead.y_high[bins - 1] - ahead.y_low[bins - 1])
    print(f"{bins} bins ahead the interval is {reach:.2f} {data.units['position']} wide")

# %% [markdown]
# ## Closed loop
#
# One bin in, the state and its interval out. The states are those of `filter`.

# %%
model.reset()
for counts in new_spikes[longest][:half]:
    model.step(counts)
saved = model.online_state  # arrays; `reset` goes on from them
online = [model.step(counts) for counts in new_spikes[longest][half:]]
error = np.abs(online[-1].mean - states.mean[longest][-1]).max()
print(f"`step` and `filter` differ by {error:.1e}")
again = model.reset(saved).step(new_spikes[longest][half])
print("the same state from where it was saved:", np.array_equal(again.mean, online[0].mean))

# %% [markdown]
# ## Saving
#
# One safetensors file of tensors and JSON; nothing is unpickled.

# %%
FOLDER.mkdir(parents=True, exist_ok=True)
path = model.save(FOLDER / "model.safetensors")
loaded = KalmanSSL.load(path)
same = all(map(np.array_equal, loaded.transform(new_spikes), model.transform(new_spikes)))
print(f"{path}: the same states after loading: {same}")

# %% [markdown]
# ## Picture
#
# Latents with their predictions, states coloured by position, position with its interval, training.

# %%
# Picture: Latents, states coloured by position, decoded position with its interval, training
picture = model.plot(new_spikes, new_position, FOLDER / "recording.png")
print(picture)
