"""The site is whole: links lead somewhere, nothing generated is stale, pictures are described."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from pathlib import Path

import pytest

from solo_ldm.entropy import ENTROPIES
from solo_ldm.evaluation import spectrum
from tests.support import ROOT
from tests.support.docs import reference, tutorials

DOCS = ROOT / "docs"
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "zoo/README.md")),
    *sorted(DOCS.rglob("*.md")),
]
# What a reader looks for, and where it is.
SOUGHT = (
    "tutorials/images.md",
    "how-to/images.md",
    "tutorials/recording.md",
    "how-to/recording.md",
    "how-to/add.md",
    "concepts/health.md",
    "how-to/resume.md",
    "how-to/devices.md",
    "how-to/cite.md",
)


def prose(page: Path) -> str:
    """Return a page without its code."""
    return re.sub(r"^```.*?^```|^    .*?$", "", page.read_text(), flags=re.M | re.S)


@cache
def links(page: Path) -> list[tuple[str, str, str]]:
    """Return the links within the repository: the text, the file and the anchor."""
    found = re.findall(r"(!?\[[^\]]*)\]\((?!https?:|mailto:)([^)\s#]*)#?([^)\s]*)\)", prose(page))
    return [(text, target, anchor) for text, target, anchor in found]


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, as the site makes them."""
    names = set(re.findall(r'<a id="([^"]+)"', page.read_text()))
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.M):
        words = re.sub(r"<[^>]+>|[`*]|\]\([^)]*\)|\[", "", heading)
        plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode()
        names.add(re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower()))
    return names


def within_two_clicks(page: Path) -> set[Path]:
    """Return the pages that a page links, and those that these link."""
    reached = {page}
    for _ in range(2):
        reached |= {
            (one.parent / target).resolve()
            for one in reached
            for _, target, _ in links(one)
            if target.endswith(".md")
        }
    return reached


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading_and_every_picture_says_what_it_shows(page):
    for text, target, anchor in links(page):
        to = page.parent / target if target else page
        assert to.is_file(), target
        assert not anchor or anchor in anchors(to), f"{target}#{anchor}"
        assert not text.startswith("![") or len(text) > 10, target


@pytest.mark.parametrize("sought", SOUGHT)
@pytest.mark.parametrize("front", [DOCS / "index.md", ROOT / "README.md"], ids=["site", "README"])
def test_what_readers_look_for_is_within_two_clicks_of_the_front_page(front, sought):
    assert DOCS / sought in within_two_clicks(front)


def test_every_page_of_the_navigation_is_within_two_clicks_of_the_front_page_without_it():
    """A phone hides the navigation behind a menu."""
    named = re.findall(r"^ +- (?:.+: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    outside = {"CHANGELOG.md", "CONTRIBUTING.md", "zoo/README.md"}
    reached = within_two_clicks(DOCS / "index.md")
    assert len(named) > 50
    for name in named:
        assert (ROOT if name in outside else DOCS) / name in reached, name


@pytest.mark.parametrize("path", reference.pages(), ids=lambda path: path.stem)
def test_the_references_are_those_of_the_commands_and_the_configurations(path):
    made = reference.pages()[path]
    same = path.read_text().split() == made.split()  # argparse breaks lines as its version likes
    assert same, "stale: run python -m tests.support.docs"


def test_the_reference_has_every_key_of_every_schema():
    page = (DOCS / "reference" / "configuration.md").read_text()
    for name in reference.sections():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for key, _, hint, _ in reference.declared(None, reference._schema(name), ""):
            if not reference.is_dataclass(hint):
                assert f"`{key}`" in section or f"`{key}." in section, (name, key)


@pytest.mark.parametrize("name", tutorials.NAMES)
def test_tutorials_are_their_examples_with_small_pictures(name):
    page = tutorials.page_of(name)
    text = page.read_text()
    for is_code, cell in tutorials.cells(name):
        shown = tutorials.code(cell) if is_code else cell
        assert shown in text, f"stale: run python -m tests.support.docs {name}"
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert all((page.parent / one).stat().st_size < 200_000 for one in pictures)
    unused = {one.name for one in page.parent.glob(f"{page.stem}-*.png")} - {*pictures}
    assert not unused


def test_the_readme_is_one_screen():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_the_page_on_health_has_the_limits_of_the_warning():
    page = (DOCS / "concepts" / "health.md").read_text()
    for limit in (
        f"{spectrum.COLLAPSED_STD_PLANE} on the plane",
        f"{spectrum.COLLAPSED_STD_SPHERE} on the sphere",
        f"above {spectrum.COLLAPSED_COSINE} on the sphere",
        f"below {spectrum.COLLAPSED_RANK:g}, or {spectrum.COLLAPSED_RANK_SHARE:.0%}".replace(
            "%", " %"
        ),
        f"deviation of {spectrum.EXPLODED_STD:,.0f}",
    ):
        assert limit in page, limit


def test_every_estimator_and_every_extra_has_its_row():
    estimators = (DOCS / "concepts" / "entropies.md").read_text()
    extras = (DOCS / "install.md").read_text()
    _, _, declared = (ROOT / "pyproject.toml").read_text().partition("optional-dependencies]")
    for name in {*ENTROPIES} - {"none"}:
        assert f"| `{name}` |" in estimators, name
    for name in re.findall(r"^([\w-]+) = \[", declared.partition("\n[")[0], re.M):
        assert f"`{name}`" in extras, name


def test_every_version_that_is_cited_is_that_of_the_package():
    from solo_ldm import __version__

    assert f"version = {{{__version__}}}" in (DOCS / "how-to" / "cite.md").read_text()
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
