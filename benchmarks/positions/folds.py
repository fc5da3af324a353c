"""Folds of benchmarks/recordings.py, averages of their inputs, and the form of features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from omegaconf import DictConfig
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from predictive.data.sequences import Sequences, TimeSeriesData
from predictive.decoding.smoothing import smooth_causally
from predictive.features import SPIKES

PAST, ALL = "past", "all time"


class Features(NamedTuple):
    """Features of a fold's bins.

    Args:
        row: their name in the table.
        time: PAST or ALL, what they use of the held-out sequence.
        width: of the average, s; 0 without one.
        train: of the training bins, (M, F).
        held_out: of the held-out bins, (M', F); what is decoded, (M', k), if `supervised`.
        seconds: to fit and to compute them.
        supervised: whether positions were used, so that nothing is left to decode.
    """

    row: str
    time: str
    width: float
    train: Tensor
    held_out: Tensor
    seconds: float
    supervised: bool = False


@dataclass(frozen=True, eq=False)
class Fold:
    """Training and held-out time of a data set.

    Args:
        cfg: the completed configuration, whose seed is that of a training.
        data: its data set.
        target: what is decoded.
        iterations: of CEBRA.
    """

    cfg: DictConfig
    data: TimeSeriesData
    target: str
    iterations: int

    @property
    def parts(self) -> tuple[Sequences, Sequences]:
        """Training and held-out sequences."""
        return self.data.train, self.data.held_out

    @property
    def targets(self) -> tuple[Tensor, Tensor]:
        """Targets of the training and of the held-out bins, (M, k) and (M', k)."""
        train, held_out = (one.targets[self.target][one.mask] for one in self.parts)
        return train, held_out

    @property
    def groups(self) -> Tensor:
        """Number of its sequence for each training bin, (M,)."""
        lengths = self.data.train.lengths
        return torch.arange(len(lengths)).repeat_interleave(lengths)

    @property
    def counts(self) -> bool:
        """Whether the inputs are counts, whose square roots are features too."""
        return self.data.kind == SPIKES

    def averages(self, seconds: float, when: str) -> tuple[Tensor, Tensor]:
        """Return averaged inputs of the training and of the held-out bins; see `averaged`."""
        found = [averaged(one, seconds, when) for one in self.parts]
        usual = found[0].nanmean(dim=0)  # where nothing is known yet
        train, held_out = (torch.where(one.isnan(), usual, one) for one in found)
        return train, held_out


def averaged(sequences: Sequences, seconds: float, when: str) -> Tensor:
    """Average the inputs of each sequence over its known bins.

    Args:
        sequences: whose bins may be missing, NaN.
        seconds: time constant of an exponential over the past, σ of a Gaussian over all time.
        when: PAST or ALL.

    Returns:
        Rows (M, F), NaN where no bin with a weight is known.
    """
    known = (sequences.mask & sequences.inputs.isfinite().all(dim=-1))[..., None]
    values = torch.cat([torch.where(known, sequences.inputs, 0.0), known.float()], dim=2)
    step = sequences.step_seconds
    if when == PAST:
        sums = smooth_causally(values, sequences.mask, step, seconds)
    else:
        wide = values.double().numpy()
        sums = torch.from_numpy(gaussian_filter1d(wide, seconds / step, axis=1, mode="constant"))
    return (sums[..., :-1] / sums[..., -1:])[sequences.mask]


def state_dim(cfg: DictConfig) -> int:
    """Return the dimension of our states, which the other embeddings have as well."""
    return int(cfg.predictor.get("state_dim") or cfg.predictor.latent_dim)
