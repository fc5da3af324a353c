"""An entry's results: measured on the published files, or recorded with the runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from solo_ldm.weights.published.entry import Result
from solo_ldm.zoo.kinds import Kind, Score


def collect(
    kind: Kind,
    runs: Sequence[Path],
    records: Sequence[Mapping[str, Any]],
    measured: Mapping[str, Score],
    evaluations: Sequence[str | Path],
) -> list[Result]:
    """Return the results, one per protocol: those that can be verified first.

    Args:
        kind: of the entry.
        runs: their folders; the first one's weights are published.
        records: content of each run's results.json.
        measured: scores of the published files by protocol.
        evaluations: results.json files of `solo-ldm linear` on the runs, or their folders.

    Raises:
        ValueError: in one line: an evaluation of other weights, or not of every run.
        FileNotFoundError: in one line: an evaluation that is not there.
    """
    scores = [kind.run_scores(record) for record in records]
    digests = [kind.weights_digest(run) for run in runs] if evaluations else []
    for evaluation in evaluations:
        path = Path(evaluation).expanduser()
        path = path / "results.json" if path.is_dir() else path
        if not path.is_file():
            raise FileNotFoundError(f"no evaluation at {path}: give what solo-ldm linear wrote")
        content = json.loads(path.read_text())
        if content.get("source_sha256") not in digests:
            raise ValueError(
                f"{path} is of other weights than those of {', '.join(map(str, runs))}"
            )
        number = digests.index(content["source_sha256"])
        scores[number][content["protocol"]] = Score("top1", content["top1"], content["num_test"])
    results = []
    for protocol in dict.fromkeys([*measured, *scores[0]]):
        lacking = [str(run) for run, one in zip(runs, scores, strict=True) if protocol not in one]
        if lacking:
            raise ValueError(f"no score by {protocol}, which others have: {', '.join(lacking)}")
        results.append(_result(protocol, measured.get(protocol), [one[protocol] for one in scores]))
    return results


def _result(protocol: str, measured: Score | None, runs: Sequence[Score]) -> Result:
    values = [one.value for one in runs]
    published = measured or runs[0]
    return Result(
        protocol=protocol,
        metric=published.metric,
        value=published.value,
        baseline=runs[0].baseline,
        mean=statistics.fmean(values),
        std=statistics.stdev(values) if len(values) > 1 else None,
        num_runs=len(values),
        num_samples=published.num_samples,
        tolerance=published.tolerance,
    )
