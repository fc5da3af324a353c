"""What a command says before it imports what is slow."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Runs a command and then says on the last line which slow packages it has imported.
COMMAND = """
import sys
from solo_ldm.cli import main
slow = ("torch", "lightning", "torchvision", "matplotlib", "sklearn", "pandas", "sympy", "timm")
code = 0
try:
    main(sys.argv[1:])
except SystemExit as exit:
    code = exit.code or 0
print("code", code, "imported", [name for name in slow if name in sys.modules])
"""


def answer(*arguments: str) -> tuple[str, str]:
    """Return what a command prints and its closing line."""
    run = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True, check=True
    )
    *lines, last = run.stdout.splitlines()
    return "\n".join([*lines, run.stderr]), last


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--help"], 0, "solo-ldm pretrain --config-name NAME"),
        (["zoo", "list"], 0, "gaussprob-digits"),
        (["pretrain", "--config-name", "gaussprob", "--cfg", "job"], 0, "method: gaussprob"),
        (["pretrian"], 2, "did you mean pretrain?"),
        (["pretrain", "--config-name", "gaussprob", "optimizer.lrr=1"], 2, "optimizer.lr?"),
        (["pretrain", "--config-name", "gaussprob", "max_epochs=0"], 2, "a number from 1"),
        (["pretrain", "--config-name", "simclr", "data=custom", "data.train_path=no"], 2, "got no"),
        (["pretrain", "--config-name", "simclr", "resume_from_checkpoint=no"], 2, "got no"),
        (["knn", "nowhere.ckpt"], 2, "nowhere.ckpt"),
        (["linear", "nowhere.ckpt"], 2, "nowhere.ckpt"),
        (["uncertainty", "nowhere"], 2, "nowhere"),
        (["clusters", "nowhere"], 2, "nowhere"),
        (["knn", "zoo:gaussprob-digits", "kk=3"], 2, "did you mean k?"),
        (["ica", "tsk=images"], 2, "did you mean task?"),
        (["ica", "mixtures=nowhere.npy"], 2, "nowhere.npy"),
        (["theorem", "seed=1"], 2, "did you mean seeds?"),
        (["compare", "job=2"], 2, "did you mean jobs?"),
        (["predictive", "--config-name", "figure8", "optimizer.lrr=1"], 2, "optimizer.lr?"),
        (["decode", "--config-name", "recording", "data.path=no.npz"], 2, "no.npz"),
        (["export", "nowhere.ckpt", "b.safetensors"], 2, "nowhere.ckpt"),
        (["export", "zoo:figure8", "b.txt"], 2, "ends in .safetensors"),
        (["zoo", "show", "figur8"], 2, "did you mean figure8?"),
        (["zoo", "verify", "--data", "x"], 2, "KEY=VALUE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help_and_what_is_misspelt_or_missing_are_told_before_the_slow_imports(
    arguments, code, words
):
    said, last = answer(*arguments)
    assert words in said
    assert last == f"code {code} imported []"
