# %% [markdown]
# # Nearest neighbours of photographs by a published model
#
#     python examples/neighbours.py FOLDER PICTURE.png
#
# FOLDER holds class folders of images, such as `test/` of CIFAR-10 as JPEG files. Of each class
# one image and, below it, those among all others whose features have the largest cosine.

# %%
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from torch.nn.functional import normalize

from solo_ldm import zoo
from solo_ldm.plotting.images import draw_image_rows
from solo_ldm.plotting.page import Panel, write_page

FOLDER, PICTURE = Path(sys.argv[1]), Path(sys.argv[2])
MODEL = "sphere-logdet-marginal-cifar10-jpeg-64-epochs"
NEAREST = 4

# %%
classes = sorted(one for one in FOLDER.iterdir() if one.is_dir())
paths = [path for one in classes for path in sorted(one.iterdir())]
model: Any = zoo.load(MODEL)
features = normalize(model.features(paths))
first = [next(i for i, path in enumerate(paths) if path.parent == one) for one in classes]
nearest = (features[first] @ features.T).topk(NEAREST + 1).indices  # the first is the image itself
pixels = [[np.asarray(Image.open(paths[i]).convert("RGB")) / 255 for i in row] for row in nearest]
names = [one.name for one in classes]
rows = [
    [
        (column[place], name if place == 0 else "")
        for column, name in zip(pixels, names, strict=True)
    ]
    for place in range(NEAREST + 1)
]
share = np.mean([paths[i].parent == paths[row[0]].parent for row in nearest for i in row[1:]])
print(f"{share:.0%} of the neighbours shown are of the class of the image")

# %%
count = len(classes)
panel = Panel(
    "neighbours",
    lambda axes: draw_image_rows(
        axes[0], rows, count, ["image", *[f"nearest {n + 1}" for n in range(NEAREST)]]
    ),
    height=6.8,
    left=0.4,
)
write_page(PICTURE, [[panel]], "nearest neighbours by features")
with Image.open(PICTURE) as whole:  # without its margins, in 256 colours: small enough for a page
    drawn = whole.convert("RGB").crop(ImageOps.invert(whole.convert("L")).getbbox())
drawn.resize((1200, round(1200 * drawn.height / drawn.width))).quantize(200).save(
    PICTURE, optimize=True
)
print(PICTURE)
