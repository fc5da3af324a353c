# %% [markdown]
# # Inside solo-learn
#
# You have a checkout of [solo-learn](https://github.com/vturrisi/solo-learn) with scripts, YAMLs
# and checkpoints, and want these methods in it, without editing it; or its methods in this host.
#
#     SOLO_LEARN=~/solo-learn python examples/solo_learn.py
#
# Its scripts need what `pip install "solo_ldm[solo-learn]"` brings besides.

# %% Settings
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import solo_ldm

SOLO_LEARN = Path(os.environ["SOLO_LEARN"]).expanduser().resolve()
EPOCHS = 3
FOLDER = Path("solo_learn_example").absolute()  # for what is written
SCRIPTS = Path(solo_ldm.__file__).parents[1] / "scripts"

# %% [markdown]
# ## Images
#
# In the folders that solo-learn calls `custom`: a folder for each class, in `train` and `val`. A
# copy of the checkout is used, as its scripts write where they are called.

# %%
checkout = FOLDER / "solo-learn"
shutil.copytree(SOLO_LEARN, checkout, ignore=shutil.ignore_patterns(".git"), dirs_exist_ok=True)
digits: Any = load_digits()
for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
    place = FOLDER / "images" / ("train" if number < 1400 else "val") / str(label)
    place.mkdir(parents=True, exist_ok=True)
    pixels = Image.fromarray((image * 15).astype(np.uint8)).convert("RGB")
    pixels.resize((32, 32)).save(place / f"{number:04}.png")
print(
    {one.name: sum(1 for _ in one.rglob("*.png")) for one in sorted((FOLDER / "images").iterdir())}
)

# %% [markdown]
# ## Our method, solo-learn's script
#
# `python -m solo_ldm.integrations.solo_learn SCRIPT …` registers our methods and runs solo-learn's
# own script. The YAML is one of `scripts/pretrain/cifar`; what is overridden makes it a matter of
# a minute.


# %%
def run_there(script, *arguments):
    """Run a script of solo-learn's in its checkout."""
    command = [sys.executable, "-m", "solo_ldm.integrations.solo_learn", script, *arguments]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


small = [
    "accelerator=cpu",
    "backbone.name=convnet_small",
    f"max_epochs={EPOCHS}",
    "data.num_workers=0",
    f"data.train_path={FOLDER / 'images' / 'train'}",
    f"data.val_path={FOLDER / 'images' / 'val'}",
]
run_there(
    "main_pretrain.py",
    f"--config-path={SCRIPTS / 'pretrain' / 'cifar'}",
    "--config-name=gaussprob.yaml",
    *small,
    "data=custom",
    "augmentations=cifar",
    "optimizer.batch_size=64",
    f"checkpoint.dir={FOLDER / 'there'}",
)
(there,) = (FOLDER / "there" / "gaussprob").iterdir()
print(sorted(one.name.replace(there.name, "RUN") for one in there.iterdir()))

# %% [markdown]
# ## Its checkpoint, our evaluation
#
# `solo-ldm knn` and `linear` read it as they read a run of ours: network, method and preprocessing
# are in its args.json.


# %%
def ours(*arguments):
    """Run a command of ours; return what it printed."""
    command = [sys.executable, "-m", "solo_ldm.cli", *arguments]
    environment = {**os.environ, "SOLO_LEARN": str(SOLO_LEARN), "COLUMNS": "100"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=FOLDER)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


data = [
    f"data.train_path={FOLDER / 'images' / 'train'}",
    f"data.val_path={FOLDER / 'images' / 'val'}",
]
print(ours("knn", str(there), "data=custom", *data, "k=[20]", "distance=[cosine]").strip())

# %% [markdown]
# ## Its method, our host
#
# `method=solo/NAME` trains any of solo-learn's methods with our data path, resume, health and
# scores:

# %%
said = ours(
    *("pretrain", "--config-name", "solo", "method=solo/simclr", "data=digits"),
    *(f"max_epochs={EPOCHS}", f"output={FOLDER / 'here'}"),
)
(weights,) = (FOLDER / "here").rglob("backbone.safetensors")
scores = solo_ldm.load(weights.parent).scores
print("| protocol | trained | untrained |")
print("| --- | --- | --- |")
for protocol, score in scores.items():
    before = score["untrained_top1"]
    print(f"| {protocol} | {score['top1']:.1%} | {'–' if before is None else f'{before:.1%}'} |")

# %% [markdown]
# Versions, and which YAMLs train under both hosts: [the plug-in](../how-to/solo-learn.md).
