"""The console commands that a page shows: in blocks, indented, and within sentences."""

from __future__ import annotations

import re
from pathlib import Path

# What a line or a piece of code begins with that is meant for a console.
_HEAD = re.compile(
    r"(?:[A-Z_]+=\S+ )*(?:uv|python|pip|solo-ldm|srun|torchrun|git|pytest|mkdocs|lint-imports) "
)
_FENCE = re.compile(r"^ *```(\w*)$")
_OTHER = ("python", "bibtex", "yaml")  # what blocks of these kinds hold is for no console


def commands(page: Path) -> dict[str, None]:
    """Return the commands of a page once each, without what follows them on their line."""
    lines, sentences, kind = [], [], None
    for line in page.read_text().replace("\\\n", " ").splitlines():
        fence = _FENCE.match(line)
        if fence:
            kind = fence[1] if kind is None else None
        elif kind is None and not line.startswith("    "):
            sentences.append(line)
        elif kind not in _OTHER:
            lines.append(line)
    lines += re.findall(r"(?<!`)`([^`]+)`(?!`)", "\n".join(sentences).replace("\n", " "))
    given = [" ".join(one.split()) for line in lines for one in line.split(" && ")]
    return dict.fromkeys(one for one in given if _HEAD.match(one))
