"""The watch over latents: which epochs are warned of, and which samples it judges."""

from __future__ import annotations

import warnings
from types import SimpleNamespace

import pytest
import torch

from solo_ldm.evaluation.spectrum import health
from solo_ldm.run.callbacks.health import CollapseWarning, WatchHealth


class Logged(dict):
    """In place of a module: what it logs."""

    def log_dict(self, metrics, **_):
        self.update(metrics)


def epoch(watch, module, number, z, feats=None, last=100):
    trainer = SimpleNamespace(current_epoch=number, max_epochs=last)
    watch.on_train_epoch_start(trainer, module)
    feats = torch.randn(len(z), 3) if feats is None else feats
    watch.on_train_batch_end(trainer, module, {"z": [z, z], "feats": [feats]}, None, 0)
    watch.on_train_epoch_end(trainer, module)


def warned_epochs(kinds, last=100):
    """The epochs, from 1, that are warned of; a letter each: i is ill, w is well."""
    watch, found = WatchHealth(64, on_sphere=False), []
    for number, kind in enumerate(kinds):
        z = torch.ones(64, 4) if kind == "i" else torch.randn(64, 4)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            epoch(watch, Logged(), number, z, last=last)
        if seen:
            assert seen[0].category is CollapseWarning
            assert str(seen[0].message).startswith(f"epoch {number + 1}: Complete collapse")
            found.append(number + 1)
    return found


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [("ii", []), ("iii", [3]), ("iiiiii", [3]), ("iiwiiw", []), ("wiiiwiii", [4, 8])],
)
def test_the_third_ill_epoch_in_a_row_is_warned_of_once(kinds, expected):
    assert warned_epochs(kinds) == expected


def test_the_last_epoch_is_warned_of_at_once():
    assert warned_epochs("wwi", last=3) == [3]
    assert warned_epochs("ww", last=2) == []


def test_the_last_samples_of_the_epoch_are_judged():
    watch, module = WatchHealth(20, on_sphere=False), Logged()
    trainer = SimpleNamespace(current_epoch=0, max_epochs=2)
    parts = torch.randn(5, 8, 4)
    watch.on_train_epoch_start(trainer, module)
    for z in parts:
        outputs = {"z": [z, z + 1.0, -z], "feats": [torch.cat([z, z], dim=1)]}
        watch.on_train_batch_end(trainer, module, outputs, None, 0)
    watch.on_train_epoch_end(trainer, module)
    z = parts[2:].flatten(0, 1)  # of 40 samples, the fewest whole batches that hold 20
    state = health(z)
    assert module["z_std"] == pytest.approx(state.std_mean)
    assert module["z_std_min"] == pytest.approx(state.std_min)
    assert module["z_effective_rank"] == pytest.approx(state.effective_rank)
    assert module["feats_effective_rank"] == pytest.approx(state.effective_rank)
    assert module["z_mean_cosine"] == pytest.approx(state.mean_cosine)
    aligned = torch.nn.functional.cosine_similarity(z, z + 1.0).mean().item()
    assert module["z_alignment"] == pytest.approx(aligned, abs=1e-6)
    watch.on_train_epoch_start(trainer, module)
    assert not watch.kept
