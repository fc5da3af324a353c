"""What a command says before it imports what is slow."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Imports what every command needs at once, runs each command in a child, and lets it say on the
# last line which slow packages it has imported.
COMMANDS = """
import json, os, sys
import hydra, numpy, omegaconf
from solo_ldm.cli import main
slow = ("torch", "lightning", "torchvision", "matplotlib", "sklearn", "pandas", "sympy", "timm")
for number, arguments in enumerate(json.loads(sys.argv[1])):
    if os.fork():
        os.wait()
        continue
    for stream in (1, 2):
        os.dup2(os.open(f"{number}", os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    code = 0
    try:
        main(arguments)
    except SystemExit as exit:
        code = exit.code or 0
    sys.stdout.flush()
    print("code", code, "imported", [name for name in slow if name in sys.modules], flush=True)
    os._exit(0)
"""


CASES = [
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
    (["zeroshot", "nowhere"], 2, "nowhere"),
    (["diagnostics", "nowhere"], 2, "nowhere"),
    (["knn", "zoo:gaussprob-digits", "kk=3"], 2, "did you mean k?"),
    (["ica", "tsk=images"], 2, "did you mean task?"),
    (["ica", "mixtures=nowhere.npy"], 2, "nowhere.npy"),
    (["theorem", "seed=1"], 2, "did you mean seeds?"),
    (["compare", "job=2"], 2, "did you mean jobs?"),
    (["predictive", "--config-name", "figure8", "optimizer.lrr=1"], 2, "optimizer.lr?"),
    (["decode", "--config-name", "recording", "data.path=no.npz"], 2, "no.npz"),
    (["latents", "nowhere"], 2, "nowhere"),
    (["export", "nowhere.ckpt", "b.safetensors"], 2, "nowhere.ckpt"),
    (["export", "zoo:figure8", "b.txt"], 2, "ends in .safetensors"),
    (["zoo", "show", "figur8"], 2, "did you mean figure8?"),
    (["zoo", "verify", "--data", "x"], 2, "KEY=VALUE"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory) -> list[str]:
    """What each command prints, in the order of the cases."""
    folder = tmp_path_factory.mktemp("answers")
    arguments = json.dumps([case[0] for case in CASES])
    subprocess.run([sys.executable, "-c", COMMANDS, arguments], cwd=folder, check=True)
    return [(folder / str(number)).read_text() for number in range(len(CASES))]


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: " ".join(CASES[number][0]))
def test_help_and_what_is_misspelt_or_missing_are_told_before_the_slow_imports(answers, number):
    _, code, words = CASES[number]
    said, _, last = answers[number].rstrip().rpartition("\n")
    assert words in said
    assert last == f"code {code} imported []"


IMPORTED = """
import sys
before = {*sys.modules}
import solo_ldm
assert {"pretrain", "load"} <= {*dir(solo_ldm)} and not hasattr(solo_ldm, "train")
print(*sorted({*sys.modules} - before))
"""


def test_the_package_imports_nothing_before_a_function_is_asked_for():
    ended = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True)
    assert ended.stdout.split() == ["solo_ldm"], ended.stderr
