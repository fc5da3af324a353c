"""Features that tests of the evaluation share."""

from __future__ import annotations

import pytest
import torch
from sklearn.datasets import load_digits

from solo_ldm.evaluation.features import Features


@pytest.fixture(scope="session")
def digits() -> tuple[Features, Features]:
    """The pixels of scikit-learn's digits: 1,200 to train on, 597 to test on."""
    data = load_digits()
    pixels, labels = torch.tensor(data.data).float(), torch.tensor(data.target).long()
    return Features(pixels[:1200], labels[:1200]), Features(pixels[1200:], labels[1200:])
