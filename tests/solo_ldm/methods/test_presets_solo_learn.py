"""Presets are solo-learn's losses; run with SOLO_LEARN=CHECKOUT pytest -m solo_learn."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch

from solo_ldm.integrations import solo_learn
from tests.support.methods.presets import CLOSE, loss_of, preset, value_and_gradients

pytestmark = [
    pytest.mark.solo_learn,
    # solo-learn uses what torch, timm and logging are about to drop.
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


@pytest.fixture(scope="module")
def losses() -> Any:
    """solo-learn's loss functions, by module."""
    try:
        solo_learn.register()
    except ValueError as error:
        pytest.skip(str(error))
    return lambda name: importlib.import_module(f"solo.losses.{name}")


def test_simclr_is_solo_learns(losses):
    settings = preset("simclr")
    temperature, indexes = 1.0 / settings.prediction_precision, torch.arange(24).repeat(2)
    published = losses("simclr").simclr_loss_func
    theirs = value_and_gradients(lambda z, p, t: published(torch.cat(z), indexes, temperature))
    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, theirs, **CLOSE)


def test_vicreg_is_solo_learns(losses):
    settings = preset("vicreg")
    theirs = value_and_gradients(lambda z, p, t: losses("vicreg").vicreg_loss_func(*z))
    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.fixture
def double():
    """solo-learn's Barlow Twins makes a batch normalisation of the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_barlow_twins_is_solo_learns(losses, scale):
    """Its scale_loss weighs both terms: prediction_precision and entropy_weight here."""
    weights = [f"method_kwargs.{key}={scale}" for key in ("prediction_precision", "entropy_weight")]
    settings = preset("barlow_twins", *weights)
    published, lamb = (
        losses("barlow").barlow_loss_func,
        settings.entropy_kwargs["redundancy_weight"],
    )
    theirs = value_and_gradients(lambda z, p, t: published(*z, lamb=lamb, scale_loss=scale))
    ours = value_and_gradients(lambda z, p, t: loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, theirs, **CLOSE)


@pytest.mark.parametrize(("name", "dropped", "share"), [("byol", 4.0, 1.0), ("simsiam", 0.0, 0.5)])
def test_byol_and_simsiam_are_solo_learns(losses, name, dropped, share):
    """Of both directions: their sum for BYOL, whose constant 4 is dropped here, else their mean."""
    settings = preset(name)
    published = getattr(losses(name), f"{name}_loss_func")
    theirs = value_and_gradients(
        lambda z, p, t: share * (published(p[0], t[1]) + published(p[1], t[0]))
    )
    ours = value_and_gradients(lambda z, p, t: dropped + loss_of(settings, z, p, t))
    torch.testing.assert_close(ours, theirs, **CLOSE)
