# %% [markdown]
# # Your images
#
# From a folder of images to features, a score and nearest neighbours, without labels in training.
#
#     python examples/images.py [FOLDER]
#
# FOLDER holds images, in a folder for each class if they have classes. Without one, the two
# photographs that come with scikit-learn are cut into patches.

# %% Settings
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.nn.functional import normalize

import solo_ldm
from solo_ldm.plotting.images import draw_image_rows
from solo_ldm.plotting.page import Panel, write_page

IN_NOTEBOOK = "ipykernel" in sys.modules
FOLDER = None if IN_NOTEBOOK else next(iter(sys.argv[1:]), None)
SIDE = 48  # of a patch
EPOCHS = 25
OUTPUT = Path("images_example")  # for what is written

# %% [markdown]
# ## The folder
#
# The name of a class folder is the label of its images. Labels are not used in training; with
# them, features are scored on a fifth of the images that is held out.

# %%
images = Path(FOLDER or OUTPUT / "photographs")
if FOLDER is None:
    for name, photograph in zip(("temple", "flower"), load_sample_images().images, strict=True):
        (images / name).mkdir(parents=True, exist_ok=True)
        for y in range(0, photograph.shape[0] - SIDE + 1, SIDE):
            for x in range(0, photograph.shape[1] - SIDE + 1, SIDE):
                patch = photograph[y : y + SIDE, x : x + SIDE]
                Image.fromarray(patch).save(images / name / f"{y:03}-{x:03}.png")
paths = sorted(images.rglob("*.png"))
classes = sorted(one.name for one in images.iterdir())
print(f"{len(paths)} images in {images}, classes {', '.join(classes)}")

# %% [markdown]
# ## Training
#
# Any key of the [configuration](../reference/configuration.md) is an argument.
# `augmentations="cifar"` draws views of 32 pixels; without it, views are those of ImageNet, of
# 224. A batch of 32 makes some steps an epoch of so few images. The same call continues if it is
# interrupted.

# %%
run = solo_ldm.pretrain(
    "gaussprob",
    data=images,
    epochs=EPOCHS,
    backbone={"name": "convnet_small"},
    augmentations="cifar",
    optimizer={"batch_size": 32},
    method_kwargs={"entropy": "logdet"},
    output=OUTPUT / "runs",
    quiet=True,
)
print(run.results["dataset"], run.results["backbone"], run.results["epochs"], "epochs")

# %% [markdown]
# ## How good are the features?
#
# Each score stands beside that of the same network before training: what the training added is the
# difference. Two photographs are an easy task, and the interval of so few images is wide.

# %%
print("| protocol | trained | untrained | 95 % interval |")
print("| --- | --- | --- | --- |")
for protocol, score in run.scores.items():
    low, high = score["interval"]
    before = score["untrained_top1"]
    shown = "–" if before is None else f"{before:.1%}"
    print(f"| {protocol} | {score['top1']:.1%} | {shown} | {low:.1%} to {high:.1%} |")

# %% [markdown]
# ## The report
#
# Loss terms, health of the latents, spectrum, a map of the held-out images, scores: [how to read
# it](../first-run.md#how-to-read-it).

# %%
# Picture: The report of the run: loss terms, health, spectrum, map, scores
print(run.folder / "report.png")

# %% [markdown]
# ## Features, and what they are good for
#
# `run.features` takes paths, arrays or tensors. The nearest neighbours of an image, by the cosine
# of their features:

# %%
features = normalize(run.features(paths))
print("features:", tuple(features.shape))
chosen = np.linspace(0, len(paths) - 1, 8).round().astype(int)
nearest = (features[chosen] @ features.T).topk(7).indices  # the first is the image itself
columns = [[np.asarray(Image.open(paths[i]).convert("RGB")) / 255 for i in row] for row in nearest]
rows = [[(column[place], "") for column in columns] for place in range(7)]
names = ["image", *[f"nearest {place}" for place in range(1, 7)]]

# %%
# Picture: Eight patches in the first row, and below each the six that its features are nearest to
panel = Panel(
    "neighbours", lambda axes: draw_image_rows(axes[0], rows, 8, names), height=9, left=0.6
)
print(write_page(OUTPUT / "neighbours.png", [[panel]], "nearest neighbours by features"))

# %% [markdown]
# ## Later, elsewhere
#
# A run is a folder. `solo_ldm.load` gives it back with the same features to the last bit;
# `backbone.safetensors` has timm's keys, and is what you would ship.

# %%
again = solo_ldm.load(run.folder)
print("the same features:", bool((normalize(again.features(paths)) == features).all()))
print(sorted(one.name for one in run.folder.iterdir()))

# %% [markdown]
# Next: [folders, lists, many channels, shards](../how-to/images.md), a [backbone of
# timm's](../backbones.md), [what a health curve means](../concepts/health.md).
