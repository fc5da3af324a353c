"""Gradients of all cells beside each other during a run: what they are, and that none is moved."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module

from solo_ldm.commands.pretrain import pretrain
from solo_ldm.evaluation.gradients import Row, gradients_of
from solo_ldm.methods import find_method
from solo_ldm.run.callbacks.gradients import (
    CompareGradients,
    cells_beside,
    first_crops,
    gradients_of_cells,
    resting_on_ridge,
)
from solo_ldm.run.configuration import complete, complete_with_images, for_method, read_data
from solo_ldm.run.folder import RunFolder, identity
from solo_ldm.run.gradient_rows import GradientRows, read_gradients
from solo_ldm.run.hardware import resolve_hardware
from tests.support.predictive.runs import assert_same, die_at, trained
from tests.support.toy import toy_config

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

SIX = [f"{e} {over}" for e in ("kernel", "neighbour", "logdet") for over in ("joint", "marginal")]
EVERY = "evaluation.compare_gradients_every"
# Running statistics move and drop-path draws with each forward pass; 4 steps an epoch.
NETWORK = (
    "backbone.name=test_resnet",
    "~backbone.kwargs.width",
    "+backbone.kwargs.drop_path_rate=0.3",
    "method_kwargs.proj_output_batch_norm=true",
    "max_epochs=3",
    "evaluation.protocols=[]",
)


def run(folder: Path, *overrides: str) -> RunFolder:
    outcome = pretrain(toy_config(folder, *NETWORK, *overrides))
    assert outcome is not None
    return outcome.folder


def built(folder: Path, *overrides: str, name: str = "gaussprob") -> tuple[Any, Any, Any]:
    """Return a configuration, its data and its method, untrained."""
    cfg = complete(toy_config(folder, *overrides, name=name))
    kind, hardware = find_method(cfg.method), resolve_hardware(cfg)
    data = read_data(cfg, hardware)
    return cfg, data, kind(for_method(cfg, data, hardware), **kind.describe(cfg).built_with)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of three epochs that was compared before each and after the last."""
    folder = tmp_path_factory.mktemp("compared")
    return run(folder, f"{EVERY}=1", "evaluation.report=true")


def test_a_run_is_the_same_to_the_last_bit_with_and_without_comparisons(compared, tmp_path):
    assert_same(trained(compared), trained(run(tmp_path)))


def test_a_run_leaves_the_numbers_of_each_comparison_and_their_picture(compared):
    rows = read_gradients(compared.gradients)
    assert [*rows[0]] == ["epoch", "with_respect_to", *Row._fields]
    assert sorted({row["epoch"] for row in rows}) == [0, 1, 2, 3]
    for epoch in range(4):
        for respect in ("latents", "encoder"):
            here = [
                (row["quantity"], row["first"], row["second"])
                for row in rows
                if (row["epoch"], row["with_respect_to"]) == (epoch, respect)
            ]
            pairs = [(a, b) for i, a in enumerate(SIX) for b in SIX[i + 1 :]]
            cosines = [(f"{of} cosine", *pair) for of in ("entropy", "loss") for pair in pairs]
            assert here == [*cosines, *(("entropy share", name, "") for name in SIX)]
    assert all(abs(row["value"]) <= 1.0 for row in rows if "cosine" in row["quantity"])
    assert compared.gradients_picture.stat().st_size > 20_000
    recorded = json.loads(compared.results.read_text())["gradient_cosine"]
    assert [one["epoch"] for one in recorded] == [0, 1, 2, 3]
    wanted = {"with_respect_to": "encoder", "quantity": "loss cosine", "first": SIX[1]}
    for one in recorded:
        pairs = {
            row["second"]: row["value"]
            for row in rows
            if (wanted | {"epoch": one["epoch"]}).items() <= row.items()
        }
        assert one["loss"][SIX[1]] == pairs
        assert [*pairs] == SIX[2:]


def test_the_last_numbers_are_those_of_the_trained_weights(compared, tmp_path):
    cfg, data, method = built(tmp_path, *NETWORK)
    method.load_state_dict(torch.load(compared.last, weights_only=True)["state_dict"])
    torch.manual_seed(0)
    found = gradients_of_cells(method, first_crops(data), cells_beside(cfg))
    for respect, one in found.items():
        last = [
            row
            for row in read_gradients(compared.gradients)
            if row["epoch"] == 3 and row["with_respect_to"] == respect
        ]
        assert [row["value"] for row in last] == pytest.approx(
            [row.value for row in one.rows()], abs=1e-4
        )


def test_a_run_that_was_interrupted_ends_with_the_same_table(compared, tmp_path):
    given = (f"{EVERY}=1", "evaluation.report=false")
    with pytest.MonkeyPatch.context() as patch:
        die_at(patch, 6)  # in the second epoch, which was compared already
        with pytest.raises(InterruptedError):
            run(tmp_path, *given)
    (left,) = (RunFolder(path) for path in tmp_path.glob("*/*"))
    assert [row["epoch"] for row in read_gradients(left.gradients)][-1] == 1
    again = run(tmp_path, *given)
    assert again.path == left.path
    assert again.gradients.read_bytes() == compared.gradients.read_bytes()
    assert not again.gradients_picture.exists()
    assert json.loads(again.results.read_text())["gradient_cosine"]


@pytest.mark.parametrize(
    ("every", "expected"), [(1, [0, 1, 2, 3, 4, 5]), (2, [0, 2, 4, 5]), (9, [0, 5])]
)
def test_epochs_are_compared_at_their_turn_and_after_the_last(tmp_path, every, expected):
    callback, seen = CompareGradients({}, [], every, tmp_path / "gradients.csv"), []
    callback._compare = lambda trainer, module, epoch: seen.append(epoch)  # type: ignore
    trainer: Any = SimpleNamespace(max_epochs=5, is_global_zero=True)
    module: Any = None
    for epoch in range(5):
        trainer.current_epoch = epoch
        callback.on_train_epoch_start(trainer, module)
        callback.on_train_epoch_end(trainer, module)
    assert seen == expected


def test_weights_that_are_not_finite_are_left_to_the_guard_of_the_run(tmp_path):
    cfg, data, method = built(tmp_path)
    torch.nn.init.constant_(method.projector[0].weight, float("nan"))
    table = tmp_path / "gradients.csv"
    callback = CompareGradients(cells_beside(cfg), first_crops(data), 1, table)
    trainer: Any = SimpleNamespace(current_epoch=0, is_global_zero=True)
    callback.on_train_epoch_start(trainer, method)
    assert not table.exists()


def test_views_are_those_of_the_first_step(tmp_path):
    _, data, _ = built(tmp_path, "data.format=torchvision")
    _, crops, _ = next(iter(data.train_dataloader()))
    data.first_epoch = 7  # as in a run that is continued
    assert_same(dict(enumerate(crops)), dict(enumerate(first_crops(data))))


@pytest.mark.parametrize(
    ("own", "overrides"),
    [
        ("kernel marginal", ()),
        ("logdet joint", ("predictor=mlp", "target=detached", "entropy=logdet", "over=joint")),
        ("neighbour joint", ("latent=sphere", "entropy=neighbour", "over=joint")),
    ],
)
def test_the_cell_of_a_run_has_the_gradient_that_its_step_takes(tmp_path, own, overrides):
    given = (f"method_kwargs.{one}" for one in (*overrides, "prediction_precision=3"))
    cfg, data, method = built(tmp_path, *given, name="ldm")
    crops = first_crops(data)
    found = gradients_of_cells(method, crops, cells_beside(cfg))["encoder"]
    views = method.latents(crops)
    terms = method.match(views, method.targets(crops, views))
    encoder = [*method.backbone.parameters(), *method.projector.parameters()]
    loss, entropy = gradients_of([terms.loss, -terms.entropy], encoder).double()
    share = found.entropy_share[found.names.index(own)]
    torch.testing.assert_close(share, loss @ entropy / (loss @ loss), rtol=1e-3, atol=1e-4)


def test_cells_have_the_settings_that_overriding_the_entropy_alone_would_give(tmp_path):
    given = ("kernel_precision=2", "num_neighbours=4", "prediction_precision=3", "ridge=0.1")
    overrides = [f"method_kwargs.{one}" for one in (*given, "entropy_weight=0.5")]
    cells = cells_beside(complete(toy_config(tmp_path, *overrides)))
    assert [*cells] == SIX
    assert {one.weight for one in cells.values()} == {0.5}
    for name, one in cells.items():
        entropy, over = name.split()
        assert one.over == over
        precision = {"kernel": 3.0, "neighbour": 12.5, "logdet": 5.0}[entropy]
        assert one.latent.prediction_precision == precision
        key, value = {
            "kernel": ("kernel_precision", 2.0),
            "neighbour": ("num_neighbours", 4),
            "logdet": ("ridge", 0.1),
        }[entropy]
        assert getattr(one.entropy, key) == value


@pytest.mark.parametrize(
    ("batch", "dim", "cells"),
    [(129, 64, ""), (128, 64, "joint (128 dimensions) are"), (64, 64, "marginal (64 dimensions)")],
)
def test_log_determinants_of_few_images_are_said_to_rest_on_the_ridge(batch, dim, cells):
    line = resting_on_ridge(batch, dim)
    assert bool(line) == bool(cells)
    assert cells in line


def test_names_of_the_reference_give_the_same_cells(tmp_path):
    reference = ("+method_kwargs.loss.type=single_sample", "+method_kwargs.recognition_precision=2")
    plain = ("method_kwargs.over=marginal", "method_kwargs.kernel_precision=2")
    one, other = (
        cells_beside(complete(toy_config(tmp_path, *given, name="sphereprob")))
        for given in (reference, plain)
    )
    assert str(one) == str(other)


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("supervised", (f"{EVERY}=2",), "expected 0 for method=supervised, got 2"),
        (
            "categorical",
            (f"{EVERY}=1",),
            "expected 0 for method=ldm with latent=categorical, got 1",
        ),
        ("gaussprob", (f"{EVERY}=1", "strategy=fsdp"), "expected 0 for strategy=fsdp"),
        ("gaussprob", (f"{EVERY}=1", "optimizer.batch_size=3"), "expected 0 for optimizer.batch"),
        ("gaussprob", (f"{EVERY}=-1",), "expected a number from 0, got -1"),
    ],
)
def test_a_run_without_such_cells_is_refused_in_a_line(name, overrides, message):
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = compose(name, overrides=[*overrides])
    with pytest.raises(ValueError, match=f"{EVERY}: {message}") as found:
        complete_with_images(cfg)
    assert "\n" not in str(found.value)


def test_comparisons_do_not_make_another_run(tmp_path):
    one, other = (complete(toy_config(tmp_path, f"{EVERY}={every}")) for every in (0, 3))
    assert identity(one) == identity(other)


def test_a_table_keeps_what_came_before_and_refuses_another_file(tmp_path):
    rows = GradientRows(tmp_path / "gradients.csv", "step")
    for step in (0, 5, 10):
        rows.add(step, {"latents": [Row("entropy cosine", "a", "b", step / 10)]})
    again = GradientRows(rows.path, "step")
    again.keep_before(10)
    again.add(12, {"encoder": [Row("entropy share", "a", "", float("nan"))]})
    kept = read_gradients(rows.path)
    assert [row["step"] for row in kept] == [0, 5, 12]
    assert [row["value"] for row in kept][:2] == [0.0, 0.5]
    assert kept[2]["value"] != kept[2]["value"]
    again.keep_before(0)  # a run that starts anew
    again.add(0, {"latents": []})
    assert read_gradients(rows.path) == []
    for text in ("", "a,b\n1,2\n", rows.path.read_text() + "0,latents,entropy cosine,a\n"):
        rows.path.write_text(text)
        with pytest.raises(ValueError, match="expected the gradients of a run, got") as found:
            read_gradients(rows.path)
        assert "\n" not in str(found.value)
