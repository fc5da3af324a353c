# %% [markdown]
# # Comparing methods honestly
#
# "Method A has 98.7 %, method B 98.4 %" says little: of how many seeds, on how many test images,
# at whose settings, and what did the network have before training? `solo-ldm compare` answers
# these in its table.
#
#     python examples/comparing.py

# %% Settings
import contextlib
import io
from pathlib import Path

from solo_ldm.cli import main

METHODS = "gaussprob,simclr"
SEEDS = "0,1,2"
EPOCHS = 5
FOLDER = Path("comparing_example")  # for what is written

# %% [markdown]
# ## One budget
#
# Methods × seeds with the same data, network, optimiser, epochs and protocols. It is the command
#
#     solo-ldm compare methods=[gaussprob,simclr] seeds=[0,1,2] "overrides=['max_epochs=5']"
#
# in Python; killed, it continues where it was.

# %%
arguments = [
    f"methods=[{METHODS}]",
    f"seeds=[{SEEDS}]",
    f"overrides=['max_epochs={EPOCHS}']",
    f"output={FOLDER}",
]

# %%
with contextlib.redirect_stdout(io.StringIO()) as said:
    main(["compare", *arguments])
(table,) = FOLDER.rglob("table.md")
text = table.read_text()
print("\n".join(line for line in text.splitlines() if line.startswith("| ")))

# %% [markdown]
# ## How to read the table
#
# - **untrained** is the last row: the same network before training. On digits it is so good that a
#   method can only add a point or two. Measure on data where there is room
#   ([photographs](../cells.md)).
# - **mean ± standard deviation** over seeds, of training and of the network's first weights.
# - **to the best** is the mean difference to the first row, paired over seeds, with its 95 %
#   interval. **=** behind a rank says that the interval holds zero: the seeds do not tell the two
#   apart, and the order is a draw. With two or three seeds Student's t makes such intervals wide,
#   rightly.
# - Every seed is scored on the same **test images**; another draw of them would move all scores.
#   The footnote gives that error.
# - **effective rank** is that of the latents: a run that collapsed is marked, whatever its score.

# %%
(note,) = (line for line in text.splitlines() if line.startswith("Top-1 in percent"))
print(*note.split(". "), sep=".\n")

# %%
# Picture: Top-1 of every run of each method, in rank order, beside the untrained network
print(table.with_name("comparison.png"))

# %% [markdown]
# ## What it does not say
#
# One budget is not each method's best budget: rates and augmentations suit some better than
# others. The table lists how each differs from its published recipe:

# %%
differences = [line for line in text.splitlines() if line.startswith("- **")]
print(*(line[:300] + (" …" if len(line) > 300 else "") for line in differences), sep="\n")

# %% [markdown]
# Choose settings on `data.held_out=0.1` of the training images, never on the test images, and give
# every method the same trials. There is no correction for comparing many methods: of twenty, one
# is "significantly" better by chance.
#
# Differences between cells that differ in one axis are paired and averaged over the other axes,
# with intervals, and verdicts by a rule that is written below them: [the twelve
# cells](../cells.md), and the paper's claims as [verdicts](../paper.md). More: [compare
# methods](../how-to/compare.md).
