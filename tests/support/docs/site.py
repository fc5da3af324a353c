"""The site's pages that lie outside docs/, the links between all pages, pictures: a hook of mkdocs.

Links are written as files of the repository, as GitHub shows them; here they become the site's.
Pictures become links to themselves, so that a phone shows them whole, and names of tests may be
broken where their words end.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[3]
OUTSIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "zoo/README.md", "zoo/*.png", "zoo/manifest.yaml",
           "zoo/weights/*/README.md", "zoo/weights/*/*.png")  # fmt: skip
LINK = re.compile(r"(\]\()([^()\s#]+)((?:#[^()\s]*)?\))")

PICTURE = re.compile(r'(?<!">)(<img [^>]*src="([^"]+)"[^>]*>)')
TEST = re.compile(r"(?<=<code>)test_\w+(?=</code>)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside docs/ and their pictures."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            uri = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Make links to files of the repository those of the site."""
    places = {os.path.realpath(one.abs_src_path): one.src_uri for one in files if one.abs_src_path}
    assert page.file.abs_src_path
    folder, own = Path(page.file.abs_src_path).parent, Path(page.file.src_uri).parent

    def moved(found: re.Match[str]) -> str:
        uri = places.get(os.path.realpath(folder / found[2]))
        return found[0] if uri is None else f"{found[1]}{os.path.relpath(uri, own)}{found[3]}"

    return LINK.sub(moved, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link pictures to themselves, and let names of tests be broken after their words."""
    linked = PICTURE.sub(r'<a href="\2">\1</a>', html)
    return TEST.sub(lambda found: found[0].replace("_", "_<wbr>"), linked)
