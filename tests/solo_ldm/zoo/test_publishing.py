"""Publishing: an entry holds what its runs hold."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose
from rich.console import Console
from safetensors.torch import load_file

from solo_ldm import zoo
from solo_ldm.commands.zoo.run import run as zoo_command
from solo_ldm.files import sha256_of
from solo_ldm.weights.published.entry import WEIGHTS
from solo_ldm.weights.published.manifest import read_manifest
from solo_ldm.zoo.publishing import publish
from tests.support.toy import toy_config


def test_an_entry_says_what_the_runs_say(published, runs):
    entry = read_manifest(published)["toy"]
    assert (entry.method, entry.dataset, entry.backbone) == ("gaussprob", "digits", "convnet_small")
    assert entry.cell["latent"] == "plane"
    assert entry.seed == 1
    for one in entry.results:
        scores = [zoo_score(run, one.protocol) for run in runs]
        assert one.num_runs == 2
        assert one.mean == pytest.approx(np.mean(scores))
        assert one.std == pytest.approx(np.std(scores, ddof=1))
        assert one.value == pytest.approx(scores[0], abs=one.tolerance)


def zoo_score(run: Path, protocol: str) -> float:
    return json.loads((run / "results.json").read_text())["results"][protocol]["top1"]


def test_the_files_are_those_of_the_manifest_and_the_weights_those_of_the_run(published, runs):
    entry = read_manifest(published)["toy"]
    folder = published / "weights" / "toy"
    for file in entry.files:
        assert sha256_of(folder / file.name) == file.sha256
        assert (folder / file.name).stat().st_size == file.size
    kept = load_file(folder / WEIGHTS)
    whole = load_file(runs[0] / "backbone.safetensors")
    assert kept.keys() == whole.keys()
    floats = {key for key in whole if whole[key].is_floating_point()}
    assert floats
    assert {kept[key].dtype for key in floats} in ({torch.float16}, {torch.float32})
    for key in kept.keys() - floats:
        assert torch.equal(kept[key], whole[key])
    for key in floats:
        torch.testing.assert_close(kept[key].float(), whole[key], rtol=1e-3, atol=1e-6)


def test_the_published_configuration_is_that_of_the_run(own_zoo, runs):
    from hydra import initialize_config_dir

    from solo_ldm.run.configuration import complete
    from solo_ldm.run.folder import identity

    with initialize_config_dir(str(own_zoo / "weights" / "toy"), version_base="1.3"):
        cfg = compose("config", overrides=["hydra.searchpath=[pkg://solo_ldm.configs]"])
    assert identity(complete(cfg)) == identity(complete(toy_config(runs[0], "seed=1")))


def test_timm_builds_the_published_network_from_its_folder(own_zoo):
    import timm

    folder = own_zoo / "weights" / "toy"
    model = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0)
    ours: Any = zoo.load("toy")
    images = torch.randn(3, 3, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(model.eval()(images), ours(images))


def test_publishing_says_how_to_verify_and_what_it_replaces(runs, tmp_path, capsys):
    for number, replaced in ((0, False), (0, False), (1, True)):
        given = ["--name", "one", "--licence", "x", "--zoo", str(tmp_path)]
        assert zoo_command(["publish", str(runs[number]), *given], Console(width=200)) == 0
        shown = capsys.readouterr().out
        assert f"next: SOLO_LDM_ZOO={tmp_path} solo-ldm zoo verify one" in shown
        assert ("is replaced" in shown) == replaced


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (dict(name="No Name"), "name: expected small letters"),
        (dict(runs=[]), "expected at least one run"),
        (dict(runs=["nowhere"]), "no run at nowhere"),
    ],
)
def test_what_cannot_be_published_is_told_in_one_line(tmp_path, runs, arguments, said):
    given = {"runs": runs, "name": "toy", **arguments}
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        publish(given["runs"], given["name"], tmp_path / "zoo", licence="x")
    assert not list(tmp_path.rglob("manifest.yaml"))


def test_runs_published_together_differ_in_the_seed_alone(tmp_path, runs):
    other = shutil.copytree(runs[1], tmp_path / "other")
    args = json.loads((other / "args.json").read_text())
    args["optimizer"]["lr"] = 0.001
    (other / "args.json").write_text(json.dumps(args))
    with pytest.raises(ValueError, match=r"differs from .* in optimizer"):
        publish([runs[0], other], "toy", tmp_path / "zoo", licence="x")
    with pytest.raises(ValueError, match="expected different seeds, got 1, 1"):
        publish([runs[0], runs[0]], "toy", tmp_path / "zoo", licence="x")
    assert not (tmp_path / "zoo").exists() or not list((tmp_path / "zoo").iterdir())
