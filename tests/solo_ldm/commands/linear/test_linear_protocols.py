"""The protocols of a linear evaluation: files, records and scores."""

from __future__ import annotations

import csv
import json
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from solo_ldm.backbones import load_backbone
from solo_ldm.commands.linear import linear
from solo_ldm.commands.linear.schema import protocols
from solo_ldm.evaluation.features import extract_features
from solo_ldm.evaluation.scores import evaluate
from solo_ldm.run.record import Outcome
from tests.support.linear_toy import images_of, linear_config, make_images, run_linear

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")


FILES = {
    "knn-20": {"args.json", "data.json", "results.json", "confusion.png"},
}
FILES["linear-features"] = FILES["knn-20"]
FILES["linear-online"] = FILES["knn-20"] | {"classifier.safetensors"}
TRAINED_FILES = FILES["linear-online"] | {"metrics.csv", "checkpoints"}
FILES |= {
    "linear-offline": TRAINED_FILES,
    "finetune": TRAINED_FILES | {"backbone.safetensors"},
}
PROMISED = (
    "protocol settings epoch feature_layer preprocessing top1 top5 ece interval per_class "
    "confusion num_train num_test seconds seed seeds source source_sha256 data_backend hardware "
    "versions commit finished dataset backbone pretrain_method"
)


@pytest.fixture(scope="module")
def evaluated(pretrained, tmp_path_factory) -> dict[str, tuple[Outcome, str]]:
    """What each protocol leaves behind and prints."""
    folder, made = tmp_path_factory.mktemp("evaluated"), {}
    for protocol in FILES:
        shown = StringIO()
        cfg = linear_config(folder, pretrained.path, f"protocol={protocol}")
        made[protocol] = linear(cfg, Console(file=shown, width=120)), shown.getvalue()
    return made


@pytest.mark.parametrize("protocol", FILES)
def test_a_protocol_leaves_everything_it_promises(evaluated, protocol):
    outcome, shown = evaluated[protocol]
    assert outcome.folder.path.parent.name == "linear"
    assert {path.name for path in outcome.folder.path.iterdir()} == FILES[protocol]
    results = json.loads(outcome.folder.results.read_text())
    assert set(PROMISED.split()) <= set(results)
    assert (results["protocol"], results["epoch"]) == (protocol, 4)
    assert results["num_test"] == np.sum(results["confusion"]) == 359
    hits, low_high = results["top1"] * 359, results["interval"]
    assert hits == pytest.approx(np.trace(results["confusion"]))
    assert low_high[0] < results["top1"] < low_high[1]
    assert list(results["per_class"]) == [str(digit) for digit in range(10)]
    assert results["preprocessing"]["mean"] == pytest.approx([0.3053] * 3)
    assert f"{results['top1']:.4f}" in shown
    assert "next: solo-ldm" in shown


def test_every_protocol_has_its_files_tested():
    assert set(FILES) == set(protocols())


def test_linear_features_is_the_named_protocol_on_the_same_images(evaluated, pretrained):
    results = evaluated["linear-features"][0].results
    backbone, data = load_backbone(pretrained.backbone), images_of(pretrained)
    train, test = (
        extract_features(backbone, data.evaluation_dataloader(s)) for s in ("train", "val")
    )
    assert results["top1"] == evaluate("linear-features", train, test).top1


def test_the_online_classifier_scores_what_it_scored_at_the_end_of_pretraining(
    evaluated, pretrained
):
    results = evaluated["linear-online"][0].results
    with pretrained.metrics.open(newline="") as stream:
        last = list(csv.DictReader(stream))[-1]
    assert results["top1"] == pytest.approx(float(last["val_acc1"]), abs=1e-6)


def test_a_checkpoint_of_a_frozen_backbone_holds_the_classifier_alone(evaluated):
    last = evaluated["linear-offline"][0].folder.last
    state = torch.load(last, weights_only=True)["state_dict"]
    assert state
    assert all(key.startswith("classifiers.0.") for key in state)


def test_a_linear_classifier_learns_on_frozen_features(tmp_path, pretrained):
    outcome = run_linear(tmp_path, pretrained, "max_epochs=15")
    assert outcome.results["top1"] > 0.6
    # It can be used without us: the stored weights give the stored score.
    weights = load_file(outcome.folder.classifier)
    features, labels = extract_features(
        load_backbone(pretrained.backbone), images_of(pretrained).evaluation_dataloader("val")
    )
    centred = (features - weights["norm.running_mean"]) / (
        weights["norm.running_var"] + 1e-5
    ).sqrt()
    logits = centred @ weights["linear.weight"].T + weights["linear.bias"]
    top1 = (logits.argmax(dim=1) == labels).double().mean().item()
    assert top1 == pytest.approx(outcome.results["top1"], abs=1.5 / 359)


def test_other_weights_are_another_run_and_the_same_weights_elsewhere_are_not(
    tmp_path, evaluated, pretrained
):
    first = evaluated["linear-features"][0]
    copy = tmp_path / "copy.safetensors"
    copy.write_bytes(pretrained.backbone.read_bytes())
    same = ["protocol=linear-features", "data=digits", "data.fraction=0.2", "data.num_workers=0"]
    second = run_linear(tmp_path / "b", str(copy), *same)
    assert first.results["source_sha256"] == second.results["source_sha256"]
    assert first.folder.path.name == second.folder.path.name
    third = run_linear(tmp_path / "c", "untrained:convnet_small", *same)
    assert third.results["source_sha256"] != first.results["source_sha256"]


def test_an_online_classifier_is_asked_for_only_where_there_is_one_that_fits(tmp_path, pretrained):
    online = ["protocol=linear-online", "data.num_workers=0"]
    with pytest.raises(ValueError, match="holds no classifier"):
        run_linear(tmp_path, str(pretrained.backbone), *online)
    images = make_images(tmp_path / "images", 3, 8)
    with pytest.raises(ValueError, match="knows 10 classes, custom has 3"):
        run_linear(tmp_path, pretrained, *online, "data=custom", f"data.train_path={images}")


def test_images_of_one_class_or_without_labels_are_refused(tmp_path, pretrained):
    for classes in (1, 2):
        images = make_images(tmp_path / str(classes), classes, 30)
        given = ["data=custom", f"data.train_path={images}", "data.num_workers=0"]
        if classes == 1:
            with pytest.raises(ValueError, match="class"):
                run_linear(tmp_path / "runs", pretrained, *given)
        else:
            results = run_linear(tmp_path / "runs", pretrained, *given).results
            assert results["top5"] is None
    flat = images / "class0"
    with pytest.raises(ValueError, match="class"):
        run_linear(tmp_path / "runs", pretrained, "data=custom", f"data.train_path={flat}")
