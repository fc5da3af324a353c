"""A run with a damaged file is neither published nor evaluated, and says so in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from solo_ldm.files import sha256_of
from solo_ldm.weights.published.manifest import read_manifest
from solo_ldm.weights.trained_method import load_method
from solo_ldm.zoo import backbones
from solo_ldm.zoo.kinds import Score
from solo_ldm.zoo.publishing import publish
from tests.support.damage import faults

FIELDS = ("top1", "num_test", "untrained_top1")


@pytest.fixture
def run(runs, tmp_path) -> Path:
    return Path(shutil.copytree(runs[0], tmp_path / "run"))


@pytest.fixture
def into_zoo(published, monkeypatch):
    """Publish a run without measuring."""
    entry = read_manifest(published)["toy"]
    scores = {one.protocol: Score(one.metric, one.value, one.num_samples, one.tolerance)
              for one in entry.results}  # fmt: skip
    monkeypatch.setattr(
        backbones.BackboneKind, "measure", lambda *_: (scores, entry.dataset_sha256)
    )

    def into_zoo(run: Path):
        return publish([run], "toy", run.parent / "zoo", licence="x")

    return into_zoo


def test_a_run_keeps_the_digest_of_each_file_of_weights(run):
    kept = json.loads((run / "results.json").read_text())["weights_sha256"]
    files = [*run.glob("*.safetensors"), *run.glob("checkpoints/*")]
    assert len(files) == 3
    assert kept == {str(file.relative_to(run)): sha256_of(file) for file in files}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda results: [results], "results.json: expected keys and values, got a list"),
        (lambda results: {**results, "results": [1]}, "results.json is not as solo-ldm writes it"),
        (lambda results: {**results, "finished": 7}, "results.json is not as solo-ldm writes it"),
        (lambda results: {**results, "epochs": "many"}, "epochs"),
        (
            lambda results: {**results, "results": {"knn-20": dict.fromkeys(FIELDS, "good")}},
            "results.json is not as solo-ldm writes it .TypeError: expected numbers in a score",
        ),
        (lambda results: {"weights_sha256": 3}, "results.json is not as .*KeyError: '"),
    ],
)
def test_results_of_another_shape_are_not_published(run, into_zoo, change, said):
    path = run / "results.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(ValueError, match=said) as error:
        into_zoo(run)
    assert "\n" not in str(error.value)
    assert not (run.parent / "zoo" / "manifest.yaml").exists()


@pytest.mark.parametrize("count", [1, pytest.param(None, marks=pytest.mark.slow)])
def test_a_damaged_file_of_a_run_is_one_line_wherever_it_is_read(run, into_zoo, count):
    wrong = []
    for number, (name, read) in enumerate(
        (
            ("results.json", lambda path: into_zoo(run)),
            ("args.json", lambda path: into_zoo(run)),
            ("args.json", lambda path: load_method(run, "cpu")),
            ("checkpoints/last.ckpt", lambda path: load_method(run, "cpu")),
        )
    ):
        wrong += [f"{name}, {one}" for one in faults(run / name, read, number, count, 12)]
    assert not wrong, "\n".join(wrong)
