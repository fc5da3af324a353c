"""Runs of image and text: trained, resumed, scored, refused."""

from __future__ import annotations

import pytest
import torch
from hydra import compose, initialize_config_dir, initialize_config_module
from torch.nn.functional import normalize

import solo_ldm
from solo_ldm.cli import main
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.commands.zeroshot.run import images_of
from solo_ldm.data.config import DataConfig
from solo_ldm.data.datasets.registry import Splits
from solo_ldm.files import read_json
from solo_ldm.methods.cross.method import Cross
from solo_ldm.run.callbacks.finite import StopAtNonFinite
from solo_ldm.run.configuration import complete
from solo_ldm.weights.trained_method import load_method
from tests.support import ROOT
from tests.support.methods.cross import TINY, build, pairs, run, state_of
from tests.support.refusals import assert_refused
from tests.support.toy import toy_config

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

PROTOCOLS = "evaluation.protocols=[zero-shot,retrieval,knn-20]"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short run of CLIP on digits with captions."""
    return run(tmp_path_factory.mktemp("clip"), PROTOCOLS, "max_epochs=1")


def test_a_run_says_what_its_texts_are_worth_beside_chance_and_the_untrained(trained):
    results = read_json(trained.folder.results)
    score = results["results"]["zero-shot"]
    assert score["chance"] == 0.1
    assert score["num_test"] == results["num_val_images"]
    assert score["settings"]["class_names"][5] == "five"
    assert 0.0 <= score["untrained_top1"] <= 1.0
    found = results["retrieval"]["text_to_image"]["recall@10"]
    assert {"value", "chance", "untrained", "interval", "num_queries"} == found.keys()
    assert results["retrieval"]["num_images"] == results["num_val_images"]
    assert (results["latent"], results["entropy"], results["over"]) == ("sphere", "kernel", "cross")
    assert "train_precision" in trained.folder.metrics.read_text().splitlines()[0]


def test_the_command_gives_the_scores_of_the_run_and_those_of_other_prompts(trained, capsys):
    folder = trained.folder.path
    main(["zeroshot", str(folder)])
    found = read_json(folder / "evaluation" / "zeroshot" / "results.json")
    results = read_json(trained.folder.results)
    for protocol, known in (
        ("zero-shot", results["results"]["zero-shot"]),
        ("retrieval", results["retrieval"]),
    ):
        for key in ("top1", "untrained_top1", "image_to_text", "text_to_image"):
            assert found[protocol].get(key) == known.get(key), key
    names = ",".join(str(number) for number in range(10))
    arguments = ["protocols=[zero-shot]", "prompts=['die {}']", f"class_names=[{names}]"]
    main(["zeroshot", str(folder), *arguments, f"output={folder}/other"])
    other = read_json(folder / "other" / "results.json")
    assert other["zero-shot"]["settings"] == {
        "prompts": ["die {}"],
        "class_names": list("0123456789"),
    }
    assert "retrieval" not in other
    said = capsys.readouterr().out
    assert all(row in said for row in ("zero-shot", "scored on"))


def test_other_data_and_other_prompts_are_scored_in_folders_of_their_own(trained, capsys):
    """Digits without captions are the same images, so that the score is that of the run."""
    folder = trained.folder.path
    before = {*(folder / "evaluation").glob("*")}
    names = "zero,one,two,three,four,five,six,seven,eight,nine"
    main(["zeroshot", str(folder), "data=digits", f"class_names=[{names}]"])
    main(["zeroshot", str(folder), "prompts=['die {}']", "protocols=[zero-shot]"])
    told = capsys.readouterr().out
    assert told.count("retrieval: not scored, as there are no held-out images with captions") == 1
    made = {*(folder / "evaluation").glob("*")} - before
    found = {(one := read_json(path / "results.json"))["dataset"]: one for path in made}
    assert found.keys() == {"digits", "digits_captions"}
    expected = read_json(trained.folder.results)["results"]["zero-shot"]
    for key in ("top1", "untrained_top1", "num_test"):
        assert found["digits"]["zero-shot"][key] == expected[key]
    assert found["digits_captions"]["zero-shot"]["settings"]["prompts"] == ["die {}"]


def test_images_without_labels_stay_so_and_test_images_are_scored_where_they_are_asked_for():
    trained_on = {"dataset": "digits_captions", "held_out": 0.1, "no_labels": True}
    assert images_of({"train_path": None}, trained_on).scores_held_out
    assert images_of({"train_path": None}, trained_on).no_labels
    asked = images_of({"held_out": None}, trained_on)
    assert (asked.held_out, asked.score_test) == (0.1, True)
    assert not images_of({"dataset": "digits"}, trained_on).no_labels


def test_images_and_texts_are_encoded_in_one_space_in_python(trained):
    made = solo_ldm.load(trained.folder.path)
    held_out = Splits(DataConfig("digits_captions")).val
    assert held_out is not None
    images = made.encode_images(held_out.images)
    score = read_json(trained.folder.results)["results"]["zero-shot"]
    prompts = score["settings"]["prompts"]
    texts = [one.replace("{}", name) for name in held_out.classes for one in prompts]
    of_classes = made.encode_texts(texts).reshape(10, len(prompts), -1).mean(dim=1)
    nearest = (images @ normalize(of_classes, dim=1).T).argmax(dim=1).numpy()
    assert (nearest == held_out.labels).mean() == pytest.approx(score["top1"])


def test_the_command_refuses_in_one_line(trained, capsys):
    folder = str(trained.folder.path)
    cases = [
        ([folder, "prompts=['no class']"], "in place of the name"),
        ([folder, "prompts='[a {}, b {}]'"], "in place of the name"),
        ([folder, "prompts=[]"], "got none; such as 'prompts=["),
        ([folder, "prompts=[{}]"], "expected templates with {}"),
        ([folder, "class_names=[a,b]"], "class_names: expected 10, one a class"),
        ([folder, "protocols=[knn-20]"], "expected zero-shot or retrieval"),
    ]
    assert_refused("zeroshot", cases, capsys)


def test_a_checkpoint_encodes_new_texts(trained):
    method = load_method(trained.folder.path, "cpu").method
    assert "fünf" in method.text.tokens.words
    for wrong in ("five", [], [5], ["five", None]):
        with pytest.raises(ValueError, match="texts: expected a list of one text or more, got"):
            method.encode_texts(wrong)
    z = method.encode_texts(["a drawing of a five", "die Ziffer fünf"])
    torch.testing.assert_close(z.norm(dim=1), torch.ones(2))


@pytest.mark.parametrize(
    ("preset", "overrides"),
    [
        ("siglip", ()),
        ("clip", ("method_kwargs.target=moving_average", "method_kwargs.predictor=mlp")),
    ],
)
def test_an_interrupted_run_continues_bit_for_bit(tmp_path, monkeypatch, preset, overrides):
    whole = run(tmp_path / "whole", *overrides, preset=preset)
    look = StopAtNonFinite.on_train_batch_end

    def interrupted(self, trainer, *rest):
        look(self, trainer, *rest)
        if trainer.fit_loop.total_batch_idx == 5:  # in the second epoch of four batches
            raise RuntimeError("power cut")

    with monkeypatch.context() as cut:
        cut.setattr(StopAtNonFinite, "on_train_batch_end", interrupted)
        with pytest.raises(RuntimeError, match="power cut"):
            run(tmp_path / "cut", *overrides, preset=preset)
    expected, actual = state_of(whole), state_of(run(tmp_path / "cut", *overrides, preset=preset))
    assert expected.keys() == actual.keys()
    learned = {"text._extra_state", "text.network.words.weight", "objective.latent.log_precision"}
    assert learned <= expected.keys()
    assert all(torch.equal(expected[key], actual[key]) for key in expected)


@pytest.mark.parametrize(
    "overrides",
    [
        ("method_kwargs.entropy=neighbour", "method_kwargs.over=marginal"),
        ("method_kwargs.entropy=sliced", "method_kwargs.over=joint"),
        ("method_kwargs.entropy=none", "method_kwargs.target=detached"),
    ],
    ids=lambda one: one[0],
)
def test_any_cell_matches_image_and_text(overrides):
    fixed = "method_kwargs.learn_precision=false"
    predictor = "method_kwargs.predictor=mlp"
    method = build(fixed, predictor, *overrides).double()
    images, indexes = pairs()
    tokens = method.draw_captions(indexes)
    z = [method(one)["z"] for one in (images, images.flip(3))]
    text = method.encode(tokens)
    terms = method.match(z, text, method._targets([images], tokens, [*z, text]))
    terms.loss.backward()
    for part in (method.backbone, method.text, method.projector, method.predictors):
        grads = [one.grad for one in part.parameters() if one.grad is not None]
        assert grads
        assert all(one.isfinite().all() for one in grads)


@pytest.mark.parametrize("name", ["clip", "siglip"])
def test_the_scripts_are_the_presets_for_larger_data(name):
    folder = str(ROOT / "scripts" / "pretrain" / "captions")
    with initialize_config_dir(folder, version_base="1.3"):
        cfg = complete(compose(name, overrides=["hydra.searchpath=[pkg://solo_ldm.configs]"]))
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        packaged = complete(compose(name))
    assert (cfg.data.dataset, cfg.augmentations[0].crop_size) == ("captions", 224)
    found, expected = (Cross.read_settings(one).cell for one in (cfg, packaged))
    assert str(found.build_objective()) == str(expected.build_objective())


# What does not fit is one line.


def test_images_without_captions_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"expected images with captions .* data=digits;"
    ) as caught:
        pretrain(toy_config(tmp_path, *TINY, "data=digits", name="clip"))
    assert "\n" not in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_texts_are_scored_of_methods_that_encode_them(tmp_path):
    with pytest.raises(ValueError, match="expected no zero-shot for method=gaussprob"):
        pretrain(toy_config(tmp_path, "evaluation.protocols=[zero-shot]"))


def test_pairs_of_images_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"an image is paired with its caption, got 0\.5"):
        build("data.pair_match=0.5")
