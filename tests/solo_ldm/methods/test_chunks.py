"""Batches in chunks whose statistics are those of the whole batch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module
from sklearn.datasets import load_digits
from torch import Tensor, nn

import solo_ldm
from solo_ldm.commands.pretrain import pretrain
from solo_ldm.methods.ldm.chunks import Chunks
from solo_ldm.objective import LDMTerms
from solo_ldm.run.configuration import complete_with_images
from tests.support.toy import plain, toy_config

pytestmark = pytest.mark.filterwarnings("ignore::solo_ldm.run.callbacks.health.CollapseWarning")

# No batch normalisation, whose statistics are those of a chunk.
VIT = ("patch_size=4", "embed_dim=24", "depth=1", "num_heads=2")
PLAIN = (
    "backbone.name=vit_tiny",
    "~backbone.kwargs.width",
    *(f"+backbone.kwargs.{one}" for one in VIT),
    "method_kwargs.proj_batch_norm=false",
    "data.fraction=0.15",
    "evaluation.protocols=[]",
    "optimizer.name=sgd",
    "scheduler.name=none",
    "max_epochs=1",
)
CELLS = {
    "kernel": ("method_kwargs.entropy=kernel",),
    "predictor and detached target": (
        "method_kwargs.entropy=none", "method_kwargs.target=detached",
        "method_kwargs.predictor=mlp", "method_kwargs.pred_batch_norm=false",
    ),
    "moving average": ("method_kwargs.entropy=logdet", "method_kwargs.target=moving_average"),
    "neighbour, three crops": (
        "method_kwargs.entropy=neighbour", "augmentations.0.num_crops=3",
    ),
}  # fmt: skip


def trained(folder: Path, *overrides: str) -> dict[str, Tensor]:
    """Return the weights after a run."""
    outcome = pretrain(toy_config(folder, *PLAIN, *overrides))
    assert outcome is not None
    return torch.load(outcome.folder.last, weights_only=False)["state_dict"]


def farthest(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Return the largest difference of two sets of weights."""
    assert found.keys() == expected.keys()
    return max(float((found[key] - expected[key]).abs().max()) for key in expected)


@pytest.mark.parametrize("name", CELLS)
def test_chunks_train_the_weights_of_the_whole_batch(name, tmp_path):
    steps = "+trainer.limit_train_batches="
    whole = trained(tmp_path / "whole", *CELLS[name], "optimizer.batch_size=64", f"{steps}3")
    chunks = ("optimizer.batch_size=16", "accumulate_grad_batches=4", f"{steps}12")
    chunks = (*chunks, "statistics=whole")
    chunked = trained(tmp_path / "chunks", *CELLS[name], *chunks)
    assert farthest(chunked, whole) < 5e-6


def test_4096_digits_in_32_chunks_train_the_weights_of_one_batch(tmp_path):
    """The set of digits again and again, as it holds 1,797; its copies get other views."""
    digits: Any = load_digits()
    pixels = np.resize(np.rint(digits.images * (255 / 16)).astype(np.uint8), (4096, 8, 8))
    cell = toy_config(tmp_path, *PLAIN, *CELLS["kernel"], "data.fraction=1.0", "max_epochs=2")

    def trained_by(batch_size: int, **keys: Any) -> dict[str, Tensor]:
        given = {key: plain(cell)[key] for key in ("backbone", "method_kwargs", "evaluation")}
        run = solo_ldm.pretrain(
            data=pixels,
            augmentations="digits",
            epochs=2,
            output=tmp_path / str(batch_size),
            optimizer={"name": "sgd", "lr": 0.02, "batch_size": batch_size},
            scheduler={"name": "none"},
            quiet=True,
            **{**given, **keys, "data.num_workers": 0},
        )
        state = torch.load(run.folder / "checkpoints" / "last.ckpt", weights_only=False)
        assert state["global_step"] == 2
        return state["state_dict"]

    whole = trained_by(4096)
    chunked = trained_by(128, accumulate_grad_batches=32, statistics="whole")
    alone = trained_by(128, accumulate_grad_batches=32)
    apart = farthest(chunked, whole), farthest(alone, whole)
    print(f"weights differ by {apart[0]:.1e}, with statistics=batch by {apart[1]:.1e}")
    assert apart[0] < 1e-7 < 1e-4 < apart[1]


class Noisy(nn.Module):
    """What `Chunks` needs of a method: an encoder that draws and normalises, and a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.projector = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        backward = SimpleNamespace(backward=lambda loss, optimizer: loss.backward())
        self.trainer = SimpleNamespace(strategy=backward)
        self.drawn: list[Tensor] = []
        self.predictor = None
        self.objective = nn.Module()  # with nothing to learn

    def latents(self, crops: list[Tensor]) -> list[Tensor]:
        z = [self.projector(crop) for crop in crops]
        self.drawn += [one.detach() for one in z]
        return z

    def targets(self, crops: list[Tensor], z: list[Tensor]) -> None:
        return None

    def match(self, views: list[Tensor], targets: Any) -> Any:
        loss = torch.logdet(views[0].T @ views[0])
        return LDMTerms(loss, loss, loss)

    def encode(self, batch: Any) -> dict[str, Any]:
        return {"z": self.latents(batch[1]), "loss": torch.zeros(())}


def test_a_chunk_is_encoded_again_with_the_same_draws_and_moves_averages_once():
    torch.manual_seed(0)
    method, chunks = Noisy(), Chunks(3)

    def crops_again() -> list[Tensor]:
        return [torch.randn(8, 3) for _ in range(3)]

    crops = crops_again()
    for crop in crops:
        step: Any = chunks.keep(method, [None, [crop], None])
        assert step["terms"] == {}
    norm: Any = method.projector[1]
    assert norm.running_mean.eq(0.0).all()
    before = torch.get_rng_state()
    _, views, _, left = chunks.finish(method, method.encode)
    assert torch.equal(torch.get_rng_state(), before)
    assert [len(view) for view in views] == [24]
    for first, again in zip(method.drawn[:3], method.drawn[3:], strict=True):
        assert torch.equal(first, again)
    assert int(norm.num_batches_tracked) == 3
    # Lightning divides by the number of chunks, two of which are differentiated already.
    (left / 3.0).backward()
    found = method.projector[0].weight.grad
    assert found is not None
    found = found.clone()
    method.zero_grad()
    torch.manual_seed(0)
    Noisy()  # draws as much as before
    method.drawn.clear()
    whole = torch.cat([method.latents([crop])[0] for crop in crops_again()])
    method.match([whole], None).loss.backward()
    torch.testing.assert_close(method.projector[0].weight.grad, found)


def test_statistics_of_whole_batches_are_for_methods_of_the_grid():
    with initialize_config_module("solo_ldm.configs", version_base="1.3"):
        cfg = compose("supervised", overrides=["statistics=whole"])
    with pytest.raises(ValueError, match="statistics: expected batch for method=supervised"):
        complete_with_images(cfg)


@pytest.mark.parametrize(
    ("limit", "told"),
    [(7, "got 2 (7 batches of 2, 3 a group); raise optimizer.batch_size, or leave them out by "
         "trainer.limit_train_batches=6"),
     (0.04, "got 2 (4 batches of 2, 3 a group); raise optimizer.batch_size, or leave them out by "
            "trainer.limit_train_batches=3"),
     (1, "got 2 (1 batches of 2, 3 a group); raise optimizer.batch_size")],
)  # fmt: skip
def test_a_last_group_too_small_for_the_entropy_is_refused_before_training(limit, told, tmp_path):
    cell = (*PLAIN, "method_kwargs.entropy=neighbour", "optimizer.batch_size=2")
    cell = (*cell, "accumulate_grad_batches=3", "statistics=whole")
    folder = tmp_path / "runs"
    wanted = "^accumulate_grad_batches: expected at least 4 images in the last group of batches"
    with pytest.raises(ValueError, match=wanted) as refused:
        pretrain(toy_config(folder, *cell, f"+trainer.limit_train_batches={limit}"))
    assert str(refused.value).endswith(told)
    assert not folder.exists()


def test_a_last_group_that_is_large_enough_is_trained_on(tmp_path):
    cell = ("method_kwargs.entropy=neighbour", "optimizer.batch_size=2", "statistics=whole")
    trained(tmp_path, *cell, "accumulate_grad_batches=3", "+trainer.limit_train_batches=5")
