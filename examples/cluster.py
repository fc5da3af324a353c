# %% [markdown]
# # From laptop to cluster
#
# A run is one configuration and one folder. Where it is computed changes neither the command nor
# the result: here a run is killed and continued, and one batch is shared by two processes.
#
#     python examples/cluster.py

# %% Settings
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

EPOCHS = 4
FOLDER = Path("cluster_example").absolute()  # for what is written
RUN = [sys.executable, "-m", "solo_ldm.cli", "pretrain", "--config-name", "gaussprob"]
SMALL = [f"max_epochs={EPOCHS}", "evaluation.protocols=[]", "evaluation.report=false"]

# %% [markdown]
# ## Killed, and continued
#
# One run goes through. The other is killed (SIGKILL, as when memory runs out) once it has saved an
# epoch, and the same command is given again.


# %%
def command(folder, *keys):
    """Return a command that trains into a folder."""
    return [*RUN, *SMALL, f"output={FOLDER / folder}", *keys]


def train(folder, *keys):
    """Train; return what was printed."""
    done = subprocess.run(command(folder, *keys), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


train("whole")
killed = subprocess.Popen(command("killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
while killed.poll() is None and not list(FOLDER.glob("killed/*/*/checkpoints/last.ckpt")):
    time.sleep(0.02)
os.kill(killed.pid, signal.SIGKILL)
killed.wait()
said = train("killed")
print("exit code of the first:", killed.returncode)
print(*(line for line in said.splitlines() if "ontinu" in line), sep="\n")

# %%
weights = [
    load_file(next(FOLDER.glob(f"{one}/*/*/backbone.safetensors"))) for one in ("whole", "killed")
]
same = all(torch.equal(value, weights[1][key]) for key, value in weights[0].items())
print("the same weights to the last bit:", same)

# %% [markdown]
# Views, their order and all random numbers are functions of the seed, the epoch and the image; the
# state of the optimiser and the methods is in the checkpoint. [Resume](../how-to/resume.md) has
# the keys.
#
# ## Two processes are one
#
# `optimizer.batch_size` is that of a process. Two of 64 samples take the entropy over all 128,
# with the gradients of one process of 128. `devices=2 strategy=ddp` starts them; on a machine with
# GPUs `accelerator=gpu` does the same with two of them. Batch normalisation would take the
# statistics of each process, so that the comparison leaves it out of the projector, and takes a
# transformer.

# %%
network = ["backbone.name=vit_tiny_patch16_224", "backbone.kwargs={patch_size:4}"]
shared = [*network, "method_kwargs.proj_batch_norm=false", "max_epochs=1", "accelerator=cpu"]
train("one", *shared, "optimizer.batch_size=128")
train("two", *shared, "optimizer.batch_size=64", "devices=2", "strategy=ddp")


def last_row(folder):
    """Return the last row of a run's metrics."""
    with next(FOLDER.glob(f"{folder}/*/*/metrics.csv")).open(newline="") as file:
        return list(csv.DictReader(file))[-1]


print("| metric of the epoch | one process | two processes |")
print("| --- | --- | --- |")
rows = last_row("one"), last_row("two")
for name in ("train_ldm_loss", "train_log_prob", "train_entropy"):
    print(f"| {name} | {float(rows[0][name]):.6f} | {float(rows[1][name]):.6f} |")

# %% [markdown]
# ## On a cluster
#
# The same command in a script for `sbatch`; a signal two minutes before the time limit requeues
# it, and it continues:
#
#     #SBATCH --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 --cpus-per-task=8
#     #SBATCH --time=12:00:00 --signal=USR1@120 --requeue --open-mode=append
#     srun solo-ldm pretrain --config-name gaussprob accelerator=gpu devices=4 num_nodes=2 \
#         strategy=ddp
#
# A comparison whose every run is a job, twenty at a time:
#
#     solo-ldm compare jobs=20 hydra/launcher=submitit_slurm hydra.launcher.partition=gpu
#
# torchrun, preemption, sweeps, other launchers: [from a laptop to several nodes](../clusters.md).
