"""docs/paper.md: a row for every claim, and what stands behind it; from records alone."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from solo_ldm.commands.paper.entries import Claim, Registry
from solo_ldm.commands.paper.picture import write_figure
from solo_ldm.commands.paper.records import Records
from solo_ldm.commands.paper.verdicts import CONFIDENCE, Decision, Estimate, Judgement
from solo_ldm.commands.paper.work import Worker
from solo_ldm.files import write_atomically, write_text

_TITLE = "# The paper, claim by claim"
GALLERY, _GALLERY_TITLE = "gallery.md", "# The paper in pictures"
_RULES = {
    "above": "above {1:g}",
    "below": "below {2:g}",
    "between": "between {1:g} and {2:g}",
    "within": "within ±{2:g}",
    "beyond": "beyond ±{2:g}",
}
_ENDINGS = (".png", ".pdf", ".txt")


def page_of(folder: Path) -> Path:
    """Return the page of a folder of figures: beside it, with its name."""
    return folder.parent / f"{folder.name}.md"


def check_folder(folder: Path) -> None:
    """Raise a one-line ValueError where page, figures or gallery could replace other files."""
    page, gallery = page_of(folder), folder / GALLERY
    if page.name in (".md", "...md"):
        raise ValueError("--folder: expected a folder with a name, as docs/paper")
    for path, title in ((page, _TITLE), (gallery, _GALLERY_TITLE)):
        if path.exists() and not path.read_bytes().startswith(title.encode()):
            raise ValueError(f"--folder: it would have {path}, which is another file; rename one")
    ours = gallery.exists() or (folder / "records").is_dir()
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise ValueError(
            f"--folder: expected a new folder, or one that solo-ldm paper has written, got "
            f"{folder} with other files"
        )


def write_report(
    folder: Path,
    registry: Registry,
    records: Records,
    judgements: Sequence[Judgement],
    worker: Worker,
) -> Path:
    """Write the page, a figure for every claim and a gallery of the figures.

    Args:
        folder: of the figures; the page is beside it, with its name.
        registry: of the runs.
        records: of what was measured.
        judgements: of all claims.
        worker: which knows where runs lie on this machine, to copy pictures of theirs.

    Returns:
        The page.
    """
    for one in judgements:
        if any(one.measures.values()):
            write_figure(folder / one.claim.name, one)
        else:
            for ending in _ENDINGS:
                (folder / f"{one.claim.name}{ending}").unlink(missing_ok=True)
        if one.claim.picture:
            _copy_picture(folder, one.claim, registry, worker)
    page = page_of(folder)
    write_text(page, render(folder, registry, records, judgements))
    write_text(folder / GALLERY, gallery(folder, judgements))
    return page


def render(
    folder: Path, registry: Registry, records: Records, judgements: Sequence[Judgement]
) -> str:
    """Return the text of the page."""
    return (
        "\n".join([*_head(folder, records, judgements), *_sections(folder, registry, judgements)])
        + "\n"
    )


def gallery(folder: Path, judgements: Sequence[Judgement]) -> str:
    """Return the text of a page with the figure of every claim and, beside it, that of a run."""
    lines = [
        _GALLERY_TITLE,
        "",
        f"Each also as PDF, with its caption as text. Numbers and rules: [{page_of(folder).name}]"
        f"(../{quote(page_of(folder).name)}).",
        "",
        "| claim | seeds and verdict | a run |",
        "| --- | --- | --- |",
    ]
    for one in judgements:
        name, claim = one.claim.name, one.claim.claim
        link = f"[{claim}](../{quote(page_of(folder).name)}#{name})"
        pictures = [
            f"![{alt}]({file}.png)" if (folder / f"{file}.png").is_file() else "–"
            for file, alt in ((name, claim), (f"{name}-run", "A run of it"))
        ]
        lines.append(f"| {link} **{one.verdict}** | {' | '.join(pictures)} |")
    return "\n".join(lines) + "\n"


def _head(folder: Path, records: Records, judgements: Sequence[Judgement]) -> Iterator[str]:
    yield _TITLE
    yield ""
    yield (
        "Claims of Mikulasch & Zenke, [arXiv 2605.03517](https://arxiv.org/abs/2605.03517), "
        "measured by `solo-ldm paper run` and judged by the rules of "
        "`solo_ldm/commands/paper/registry/claims.yaml`. This page is "
        "written from the records beside it; nothing in it is written by hand."
    )
    yield ""
    yield f"All pictures on one page: [gallery]({quote(folder.name)}/{GALLERY})."
    yield ""
    yield "| figure | claim | the paper | here | verdict |"
    yield "| --- | --- | --- | --- | --- |"
    for one in judgements:
        claim = one.claim
        here = "; ".join(_found(claim, decision) for decision in one.decisions)
        cells = [claim.figure, f"[{claim.claim}](#{claim.name})", claim.paper or "–", here]
        yield f"| {' | '.join([*cells, f'**{one.verdict}**'])} |"
    yield ""
    yield (
        f"A value is a mean, ± half its {CONFIDENCE:.0%} t-interval: over seeds, of a difference "
        "over its values at the same seed. Where pairs are counted, each pair of cells is averaged "
        "over the seeds and the interval is over the pairs, as if they were independent. A "
        "correlation, over cells, is Spearman's, with Fieller's interval. A test is held where the "
        "whole interval lies where its rule asks, refuted where all of it lies on the other side, "
        "else open, as with a single value. The first test is the claim itself. A claim holds "
        "where all tests are held, does not hold where the first is refuted, or some are and none "
        "is held; it holds in part where some are held, else it is open."
    )
    yield ""
    yield from _provenance(records)


def _provenance(records: Records) -> Iterator[str]:
    found = records.provenance()
    if not found:
        return
    hardware = sorted({str(one["hardware"]) for one in found})
    torch = sorted({str((one["versions"] or {}).get("torch")) for one in found})
    # "+changes" stays: the tree of such a record was not the commit's.
    commits = sorted({re.sub(r"^(\w{7})\w*", r"\1", str(one["commit"])) for one in found})
    days = sorted(str(one["finished"])[:10] for one in found)
    minutes = sum(one["minutes"] for one in found)
    first, last = days[0], days[-1]
    yield (
        f"{len(found)} runs, {minutes:.0f} minutes of processes together; {', '.join(hardware)}, "
        f"torch {', '.join(torch)}, commits {', '.join(commits)}, "
        f"{first if first == last else f'{first} to {last}'}."
    )
    yield ""


def _sections(folder: Path, registry: Registry, judgements: Sequence[Judgement]) -> Iterator[str]:
    for one in judgements:
        claim = one.claim
        yield f'## <a id="{claim.name}"></a>{claim.claim}'
        yield ""
        paper = f" In the paper: {claim.paper}." if claim.paper else ""
        yield f"Figure or table: {claim.figure}.{paper} Verdict: **{one.verdict}**."
        yield ""
        if claim.note:
            yield claim.note
            yield ""
        if any(one.measures.values()):
            yield f"| measure | mean{f', {claim.unit}' if claim.unit else ''} | runs' sd | seeds |"
            yield "| --- | --- | --- | --- |"
            for name, found in one.measures.items():
                yield f"| {name} | {' | '.join(_measured(found))} |"
            yield ""
        yield from (f"- {_sentence(claim, decision)}" for decision in one.decisions)
        yield ""
        for run in registry.runs_of(claim):
            if run.records:
                yield f"Records of `solo-ldm compare`: `{run.records}`."
            else:
                yield f"`solo-ldm {run.command}`"
            yield ""
        for name, alt in ((claim.name, claim.claim), (f"{claim.name}-run", "A run of it")):
            if any(one.measures.values()) and (folder / f"{name}.png").is_file():
                yield f"![{alt}]({quote(folder.name)}/{name}.png)"
                yield ""


def _measured(found: Estimate | None) -> list[str]:
    if found is None:
        return ["not measured", "–", "0"]
    spread = "–" if found.deviation is None else number(found.deviation, found.deviation)
    return [with_interval(found), spread, str(found.seeds)]


def _found(claim: Claim, decision: Decision) -> str:
    """Return what a test found, for the table."""
    if decision.estimate is None:
        return f"{decision.test.name} not measured"
    unit = f" {claim.unit}" if claim.unit and not decision.test.correlates else ""
    return f"{decision.test.name} {with_interval(decision.estimate)}{unit} ({_count(decision)})"


def _count(decision: Decision) -> str:
    assert decision.estimate is not None
    seeds, values = decision.estimate.seeds, len(decision.estimate.values)
    counted = f"{seeds} seed{'s' * (seeds > 1)}"
    kind = "cells" if decision.test.correlates or decision.test.alone else "pairs"
    return f"{values} {kind}, {counted}" if decision.test.across else counted


def _sentence(claim: Claim, decision: Decision) -> str:
    test = decision.test
    asked = _RULES[test.rule].format(None, *test.ends)
    besides = f", pairs by {' and '.join(test.across)}" if test.across else ""
    return f"{_found(claim, decision)}{besides}; asked: {asked}. {decision.outcome.capitalize()}."


def with_interval(estimate: Estimate) -> str:
    """Return a number with its interval: "0.991 ± 0.002", or with the ends of one that is skew."""
    if estimate.interval is None:
        return number(estimate.mean, abs(estimate.mean) / 10)
    low, high = estimate.interval
    half = (high - low) / 2
    if abs(low + high - 2 * estimate.mean) < 0.1 * half or not half:
        return f"{number(estimate.mean, half)} ± {number(half, half)}"
    return f"{number(estimate.mean, half)} ({number(low, half)} to {number(high, half)})"


def number(value: float, error: float) -> str:
    """Return a number to two digits of its error, at most four places behind the point."""
    places = 3 if not error else min(4, max(0, 1 - math.floor(math.log10(error))))
    text = f"{value:.{places}f}"
    return (text if float(text) else text.removeprefix("-")).replace("-", "−")


def _copy_picture(folder: Path, claim: Claim, registry: Registry, worker: Worker) -> None:
    """Copy a picture of the first run that is on this machine."""
    name, _, file = claim.picture.partition(":")
    run = registry.runs[name]
    for point in run.points():
        results = worker.results(run, point, 0)
        if results is not None and (results / file).is_file():
            target = folder / f"{claim.name}-run.png"
            write_atomically(target, lambda to, at=results / file: shutil.copyfile(at, to))
            os.utime(target)
            return
