"""What a method on lightly's losses and heads consists of."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from lightly.models.modules.memory_bank import MemoryBankModule
from torch import Tensor, nn

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Views:
    """What a step shows to a loss.

    Args:
        z: projections of each crop (B, D), large crops first.
        num_large: how many crops are large.
        target: returns the moving average's projections (B, D) of the large crop of an index.
        epoch: of the training, from 0.
    """

    z: list[Tensor]
    num_large: int
    target: Callable[[int], Tensor]
    epoch: int


@dataclass(frozen=True)
class Recipe:
    """A method: heads and a loss of lightly, and what the loss compares.

    Args:
        loss: its name in `lightly.loss`.
        source: the paper.
        settings: what method_kwargs may hold, with the defaults. Those with base_tau and final_tau
            have a moving average of the network.
        projector: builds the head that the loss sees, from the dimension of the features.
        criterion: builds the loss.
        compare: returns the loss of a step, a scalar.
        predictor: builds the head on top of the projector, if there is one.
        prototypes: builds the learned centres of clusters, if there are any.
        memory: builds the queues, if there are any.
        after_backward: called with the parts and the epoch once gradients are there.
        check: returns what is wrong with settings and a batch size, or None.
        on_sphere: whether the loss compares directions.
        crops: which it takes: "two" large ones, two or more "large" ones, "multi" for two large
            and any number of small ones.
    """

    loss: str
    source: str
    settings: Settings
    projector: Callable[[int, Settings], nn.Module]
    criterion: Callable[[Settings], nn.Module]
    compare: Callable[[Parts, Views], Tensor]
    predictor: Callable[[Settings], nn.Module] | None = None
    prototypes: Callable[[Settings], nn.Module] | None = None
    memory: Callable[[Settings], nn.Module | None] | None = None
    after_backward: Callable[[Parts, int], None] | None = None
    check: Callable[[Settings, int], str | None] | None = None
    on_sphere: bool = True
    crops: Literal["two", "large", "multi"] = "two"


class Parts(nn.Module):
    """The heads, the loss and the queues of a method.

    Args:
        recipe: what to build.
        features_dim: dimension of the backbone's features.
        settings: complete.
    """

    def __init__(self, recipe: Recipe, features_dim: int, settings: Settings) -> None:
        super().__init__()
        self.settings = dict(settings)
        with without_advice():
            self.projector = recipe.projector(features_dim, settings)
        self.predictor = recipe.predictor(settings) if recipe.predictor else None
        self.prototypes: Any = recipe.prototypes(settings) if recipe.prototypes else None
        self.memory: Any = recipe.memory(settings) if recipe.memory else None
        self.criterion = recipe.criterion(settings)
        for module in self.modules():
            # lightly does not save its queues: a run that is continued would start from others. In
            # one of size 0 there is nothing, not even a defined pointer.
            if isinstance(module, MemoryBankModule) and module.size[0]:
                for name, buffer in list(module.named_buffers(recurse=False)):
                    module.register_buffer(name, buffer, persistent=True)

    def predict(self, z: Tensor) -> Tensor:
        """Return the predictor's output (B, D), or `z` where there is none."""
        return z if self.predictor is None else self.predictor(z)

    def measure(self, *views: Any, **others: Any) -> Tensor:
        """Return lightly's loss as a scalar, computed in float32 also under mixed precision.

        Args:
            views: tensors or lists of tensors, as the loss takes them.
            others: the same by name, or numbers.
        """
        given = [*views, *others.values()]
        first = given[0][0] if isinstance(given[0], list) else given[0]
        with torch.autocast(first.device.type, enabled=False):
            named = {name: _widen(value) for name, value in others.items()}
            return self.criterion(*map(_widen, views), **named).reshape(())


class Leading(nn.Module):
    """The first features, which DirectCLR compares in place of a projector's outputs.

    Args:
        num_features: how many.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, num_features) of (B, F)."""
        return x[:, : self.num_features]


@contextmanager
def without_advice() -> Iterator[None]:
    """Silence what torch says of lightly's own code: DINO's last layer and DCLW's weights."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm.* is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "To copy construct from a tensor", UserWarning)
        yield


def _widen(value: Any) -> Any:
    if isinstance(value, Tensor):
        # float64 stays: tests compare in it.
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    return [_widen(one) for one in value] if isinstance(value, list) else value
