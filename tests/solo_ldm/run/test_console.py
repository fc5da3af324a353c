"""Text of users is shown as it is, and a notice never ends a run."""

from __future__ import annotations

import ast
import io
import os
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

import predictive
import solo_ldm
from solo_ldm.cli import run_command
from solo_ldm.files import write_csv, write_json, write_text
from solo_ldm.run.callbacks.unreadable import describe_unreadable
from solo_ldm.run.console import PlainConsole, plain_console, redraws
from solo_ldm.run.record import print_summary
from tests.support.linear_toy import make_images
from tests.support.processes import run_child

# Markup, a closing tag without its beginning, an emoji's code.
NAMES = ("copy [red].png", "a[/b].png", "out [v2]", "x:bomb:y", "[bold]c[/]", "end\\")
SURROGATE = os.fsdecode(b"caf\xe9.png")


@pytest.mark.parametrize("given", [False, True])
def test_names_are_printed_as_they_are_in_lines_tables_and_summaries(given):
    stream = io.StringIO()
    own = Console(file=stream, width=200) if given else PlainConsole(file=stream, width=200)
    console = plain_console(own)
    assert console is own
    for name in NAMES:
        console.print(name)
        table = Table(title=name)
        table.add_column(name)
        table.add_row(name)
        console.print(table)
        print_summary(console, name, [(name, name)], Path(name), [name])
        assert stream.getvalue().count(name) == 9, name
        stream.truncate(0)
        stream.seek(0)


@pytest.mark.parametrize("length", [74, 75, 200])
def test_a_title_is_never_cut(length):
    stream = io.StringIO()
    title = "T" * length
    print_summary(PlainConsole(file=stream, width=80), title, [("a", "b")], Path("p"))
    assert title in stream.getvalue()
    assert ("╭─ T" in stream.getvalue()) == (length == 74)


def test_no_command_makes_a_console_of_its_own():
    """So that all of them print text as it is; `Console(quiet=True)` prints nothing."""
    made = []
    for package in (solo_ldm, predictive):
        for path in Path(package.__file__ or "").parent.rglob("*.py"):
            text = path.read_text()
            for node in ast.walk(ast.parse(text)) if "Console(" in text else ():
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Console"):
                    made.append((path.name, ast.unparse(node)))
    assert sorted(made) == [
        ("console.py", "Console(quiet=True, force_jupyter=False)"),
        ("console.py", "PlainConsole(quiet=quiet)"),
        ("runs.py", "Console(quiet=True)"),
    ]


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_output_that_fails_ends_nothing(monkeypatch):
    PlainConsole(file=Full()).print("a notice")
    closed = io.StringIO()
    closed.close()
    PlainConsole(file=closed).print("a notice")
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", ascii_only)
    plain_console().print(describe_unreadable(["é.png", SURROGATE, "a[/b].png"]), style="yellow")
    ascii_only.flush()
    shown = ascii_only.buffer.getvalue().decode()  # pyright: ignore[reportAttributeAccessIssue]
    assert "\\xe9.png, caf\\udce9.png, a[/b].png" in shown.replace("\n", " ")


def read_from_pipe(writer: int) -> None:
    os.dup2(writer, 1)
    console = plain_console()
    for _ in range(1000):
        console.print("a notice " * 100)
    print("after all", file=sys.stderr)


def closed_pipe() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    read_from_pipe(writer)


def test_a_closed_pipe_ends_the_output_alone():
    ended = run_child(closed_pipe)
    assert ended.code == 0, ended.printed
    assert ended.printed == "after all\n"


def test_files_hold_names_that_are_not_utf_8(tmp_path):
    write_json(tmp_path / "a.json", {"files": [SURROGATE]})
    write_text(tmp_path / "a.txt", SURROGATE)
    write_csv(tmp_path / "a.csv", ["name é"], [[SURROGATE]])
    assert "caf\\udce9.png" in (tmp_path / "a.json").read_text()
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "caf\\udce9.png"
    assert "name é\ncaf\\udce9.png" in (tmp_path / "a.csv").read_text(encoding="utf-8")


def train_with_ascii(arguments: list[str]) -> None:
    sys.stdout.reconfigure(encoding="ascii")  # pyright: ignore[reportAttributeAccessIssue]
    run_command("pretrain", arguments)


def test_a_run_of_strange_names_trains_and_is_reported(tmp_path):
    images = make_images(tmp_path / "im[ages]é" / "data", classes=2, each=40)
    (images / "class0" / "a[").mkdir()
    (images / "class0" / "a[" / "b].png").write_bytes(b"broken")
    (images / "class0" / SURROGATE).write_bytes(b"broken")
    (images / "class1").rename(images / "clas$s_{[i]é$^$")
    arguments = [
        *("--config-name", "gaussprob", "data=custom", f"data.train_path='{images}'"),
        *(f"checkpoint.dir='{tmp_path / 'out [v2] é'}'", "name='a[/b] $^$ :bomb:'"),
        *("backbone.name=convnet_small", "augmentations=cifar", "max_epochs=1"),
        *("scheduler.warmup_epochs=0", "optimizer.batch_size=32", "data.num_workers=0"),
        *("method_kwargs.proj_hidden_dim=16", "method_kwargs.proj_output_dim=8"),
        *("backbone.kwargs.width=4", "evaluation.protocols=[knn-20]", "accelerator=cpu"),
    ]
    ended = run_child(train_with_ascii, arguments)
    assert ended.code == 0, ended.printed
    shown = ended.printed.replace("\n", "")
    assert "a[/b].png" in shown
    assert "caf\\udce9.png" in shown
    assert "out [v2] \\xe9" in shown
    (results,) = (tmp_path / "out [v2] é").glob("*/*/results.json")
    assert "caf\\udce9.png" in results.read_text()
    assert (results.parent / "report.png").stat().st_size > 5_000


def test_bars_move_on_terminals_and_in_notebooks_that_have_widgets(monkeypatch):
    def console(**kind: bool) -> PlainConsole:
        return PlainConsole(file=io.StringIO(), **kind)

    assert redraws(console(force_terminal=True))
    assert not redraws(console())
    for found in (None, object()):
        monkeypatch.setattr("solo_ldm.run.console.find_spec", lambda name, found=found: found)
        notebook = console(force_jupyter=True)
        assert redraws(notebook) is (found is not None)
        # A bar that cannot move would be a warning of rich's.
        assert (notebook.status("evaluating")._live.console is notebook) is (found is not None)
