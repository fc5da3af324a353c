"""Tutorials: the scripts of examples/ as pages, with what they print and draw."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from PIL import Image

from solo_ldm import __version__
from solo_ldm.run.record import cpu_name
from tests.support import ROOT

EXAMPLES, FOLDER = ROOT / "examples", ROOT / "docs" / "tutorials"
NAMES = ("images", "recording", "estimator", "solo_learn", "comparing", "cluster", "health")
_WIDTH, _COLOURS = 1100, 128


def page_of(name: str) -> Path:
    """Return the place of a tutorial's page."""
    return FOLDER / f"{name.replace('_', '-')}.md"


def cells(name: str) -> Iterator[tuple[bool, str]]:
    """Yield the cells of an example: whether it is code, and its text."""
    for part in re.split(r"^# %%", (EXAMPLES / f"{name}.py").read_text(), flags=re.M)[1:]:
        head, _, body = part.partition("\n")
        if "[markdown]" in head:
            yield False, re.sub(r"^# ?", "", body, flags=re.M).strip()
        else:
            yield True, body.strip()


def code(text: str) -> str:
    """Return a cell of code as the page has it."""
    return f"```python\n{text}\n```"


def render(name: str) -> Path:
    """Run an example and write its page and pictures."""
    page, names = page_of(name), {"__name__": "__main__"}
    for old in FOLDER.glob(f"{page.stem}-*.png"):
        old.unlink()
    parts = [f"<!-- made of examples/{name}.py by python -m tests.support.docs {name} -->"]
    here = Path.cwd()
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(sys, "argv", [f"{name}.py"]),
        mock.patch.dict(os.environ, COLUMNS="100"),
    ):
        os.chdir(folder)
        try:
            for is_code, text in cells(name):
                parts.append(code(text) if is_code else text)
                if is_code:
                    parts += _shown(_run(text, names), text, page)
        finally:
            os.chdir(here)
    threads = torch.get_num_threads()
    parts.append(
        f"`examples/{name}.py` on {cpu_name()}, {threads} thread{'s' if threads > 1 else ''}, "
        f"solo_ldm {__version__}, torch {torch.__version__}, {date.today()}."
    )
    page.write_text("\n\n".join(parts) + "\n")
    return page


def _run(text: str, names: dict[str, Any]) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(text, "example", "exec"), names)
    # The place is this process's own; a reader's run has another.
    return printed.getvalue().strip("\n").replace(f"{os.path.realpath('.')}/", "")


def _shown(printed: str, text: str, page: Path) -> Iterator[str]:
    """Yield what a cell printed: text, tables of Markdown as tables, names of pictures as these."""
    said: list[str] = []
    kind = ""
    for line in [*printed.splitlines(), None]:
        picture = line is not None and line.endswith(".png") and Path(line).is_file()
        now = "" if line is None or picture else "table" if line.startswith("| ") else "text"
        if said and now != kind:
            block = "\n".join(said).strip("\n")
            yield f"```text\n{block}\n```" if kind == "text" else block
            said = []
        if picture:
            yield _picture(Path(str(line)), text, page)
        elif line is not None:
            said.append(line)
        kind = now


def _picture(path: Path, text: str, page: Path) -> str:
    """Keep a picture beside the page, small; its description is the cell's comment `# Picture:`."""
    (alt,) = re.findall(r"^# Picture: (.+)$", text, re.M)
    with Image.open(path) as whole:
        image = whole.convert("RGB")
    if image.width > _WIDTH:
        image = image.resize((_WIDTH, round(image.height * _WIDTH / image.width)))
    name = f"{page.stem}-{path.stem}.png"
    image.quantize(_COLOURS).save(page.parent / name, optimize=True)
    return f"![{alt}]({name})"
