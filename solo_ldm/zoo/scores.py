"""An entry's results: measured on the published files, or recorded with the runs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from solo_ldm.zoo.kinds import Kind, Measured, Measurement, RunScore
from solo_ldm.zoo.manifest import Result


def collect(
    kind: Kind,
    runs: Sequence[Path],
    records: Sequence[Mapping[str, Any]],
    measurement: Measurement,
    evaluations: Sequence[str | Path],
) -> tuple[Result, ...]:
    """Return the results by protocol: those that can be verified first.

    Args:
        kind: of the entry.
        runs: their folders; the first one's weights are published.
        records: content of each run's results.json.
        measurement: of the published files.
        evaluations: results.json files of `solo-ldm linear` on the runs.

    Raises:
        ValueError: in one line: an evaluation of other weights, or runs of which not all have one.
        FileNotFoundError: in one line: an evaluation that is not there.
    """
    scores = [kind.run_scores(record) for record in records]
    for number, protocol, score in _evaluated(kind, runs, evaluations):
        scores[number][protocol] = score
    measured = {one.protocol: one for one in measurement.scores}
    recorded = [protocol for protocol in scores[0] if protocol not in measured]
    for protocol in [*measured, *recorded]:
        lacking = [str(run) for run, one in zip(runs, scores, strict=True) if protocol not in one]
        if lacking:
            raise ValueError(
                f"no score by {protocol}, which the entry would have: {', '.join(lacking)}"
            )
    return tuple(
        _result(protocol, measured.get(protocol), [one[protocol] for one in scores])
        for protocol in [*measured, *recorded]
    )


def _result(protocol: str, measured: Measured | None, runs: Sequence[RunScore]) -> Result:
    values = [one.value for one in runs]
    return Result(
        protocol=protocol,
        metric=runs[0].metric,
        value=runs[0].value if measured is None else measured.value,
        baseline=runs[0].baseline,
        mean=statistics.fmean(values),
        std=statistics.stdev(values) if len(values) > 1 else None,
        num_runs=len(values),
        num_samples=runs[0].num_samples if measured is None else measured.num_samples,
        tolerance=None if measured is None else measured.tolerance,
    )


def _evaluated(
    kind: Kind, runs: Sequence[Path], evaluations: Sequence[str | Path]
) -> list[tuple[int, str, RunScore]]:
    """Return number of the run, protocol and score of each evaluation."""
    digests = [kind.weights_digest(run) for run in runs] if evaluations else []
    found = []
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
        score = RunScore("top1", content["top1"], None, content["num_test"])
        found.append((digests.index(content["source_sha256"]), content["protocol"], score))
    return found
