"""Every console command of every page exists and is understood; tests/test_docs.py runs many."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from solo_ldm.cli import COMMANDS, main
from solo_ldm.config import command as hydra
from tests.support import ROOT
from tests.support.docs import shown
from tests.test_docs import COMMANDS as COMMANDS_RUN
from tests.test_docs import COMPOSED

# Not these: templates of the registry (tests/solo_ldm/commands/paper composes them), the help.
NOT = [ROOT / "docs/paper.md", ROOT / "docs/reference/commands.md"]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "zoo/README.md")),
    *sorted({*(ROOT / "docs").rglob("*.md")} - {*NOT}),
]
# With what a reader has added by then.
OF_READERS = "solo-ldm predictive objective.entropy=spacing"
TOOLS = ("sync", "build", "lint-imports", "pre-commit", "mkdocs", "git")
# How commands end whose data, weights or programs are not here.
ABSENT = re.compile(
    "a path that exists|nothing there|does not exist|CIFAR10 is not under|"
    "solo-learn is not importable"
)
# How those end that name a command and leave its arguments open.
OPEN = re.compile("give --config-name|arguments are required")
PROJECT = (ROOT / "pyproject.toml").read_text()


def words_of(command: str) -> tuple[str, ...]:
    """Return what is typed after `uv run`, also what may be left out, without an ellipsis."""
    words = shlex.split(re.sub(r"(?<= )\[([^\]]*)\]", r"\1", command), comments=True)
    while "=" in words[0]:  # the environment
        del words[0]
    words = [one for one in words if one not in ("…", "...") and not one.endswith("=NAME")]
    if words[0] == "uv":
        words = words[2:] if words[1] == "run" else words[1:]
    return tuple(words[2:] if words[0] == "--group" else words)


# What tests/test_docs.py runs or composes.
TESTED = {words_of(one) for one in COMMANDS_RUN} | {
    words_of(one)
    for name in COMPOSED
    for one in shown.commands(ROOT / "docs" / name)
    if re.search(r"(?:solo-ldm|solo_ldm\.cli) (?:pretrain|compare) ", one)
}
SHOWN = {
    words: command
    for page in PAGES
    for command in shown.commands(page)
    for words in [words_of(command)]
    if words not in TESTED
}


class Understood(BaseException):
    """A command would begin its work."""


def complete(command: hydra.HydraCommand, cfg: Any, *_: Any, **__: Any) -> None:
    """Check a configuration as the command does, and end there."""
    named = hydra._named
    if command.complete is None:
        cfg = hydra.complete(cfg, named(command.schema), f"{command.default}.yaml", command.package)
    else:
        cfg = named(command.complete)(cfg)
    hydra.check_places(cfg)
    raise Understood


def parse(parser: argparse.ArgumentParser, *given: Any) -> None:
    """Parse arguments, all of them, and end there."""
    _, unknown = parser.parse_known_args(*given)
    assert not unknown, unknown
    raise Understood


# Where work begins: behind Hydra, and behind argparse, which Hydra has as well.
OF_HYDRA = (hydra.HydraCommand, {"__call__": complete})
OF_ARGPARSE = (argparse.ArgumentParser, {"parse_args": parse, "parse_intermixed_args": parse})


def understood(run: Any, words: Sequence[str], begins: Any, capsys: Any) -> str:
    """Let a command begin, and return why it does not, in its one line."""
    with (
        mock.patch.multiple(begins[0], **begins[1]),
        pytest.raises((Understood, SystemExit)) as ended,
    ):
        run(words)
    said = capsys.readouterr().err
    assert ended.type is Understood or said
    return "" if ended.type is Understood else said


@pytest.mark.parametrize("words", SHOWN, ids=" ".join)
def test_every_command_of_every_page_is_understood(
    words, benchmarks, tmp_path, monkeypatch, capsys
):
    command = SHOWN[words]
    monkeypatch.chdir(tmp_path)
    for folder in ("scripts", "zoo"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    name, *rest = words
    if words[:2] == ("python", "-m"):
        assert find_spec(words[2])
    elif name == "python":
        place = Path(words[1])
        assert (ROOT / place).is_file()
        if place.parent.name == "benchmarks":
            assert not understood(benchmarks(place.stem).main, words[2:], OF_ARGPARSE, capsys)
    elif name == "pip":
        for extra in re.findall(r"solo[-_]ldm\[(\S+)\]", command):
            assert extra == "NAME" or re.search(rf"^{extra} = \[", PROJECT, re.M)
    elif name == "pytest":
        for option, value in pairwise(words):
            assert option != "-m" or f'"{value}: ' in PROJECT
            assert not value.startswith("tests/") or (ROOT / value).exists()
    elif name not in TOOLS and command != OF_READERS:
        assert name in ("solo-ldm", "srun", "torchrun")
        rest = words[words.index("solo-ldm") + 1 :]
        named = not rest or rest[0] in ("NAME", "COMMAND", "--help", "--version")
        assert named or rest[0] in COMMANDS
        if "--cfg" in rest and not named:
            main(rest)
        elif len(rest) > 1 and not named:
            of_hydra = isinstance(
                getattr(import_module(COMMANDS[rest[0]]), rest[0], None), hydra.HydraCommand
            )
            why = understood(main, rest, OF_HYDRA if of_hydra else OF_ARGPARSE, capsys)
            is_open = "…" in command or "=" not in command
            assert not why or ABSENT.search(why) or (is_open and OPEN.search(why)), why
