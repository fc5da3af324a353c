"""What a method on lightly's losses and heads consists of, and how it is built of its settings."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from lightly import loss as losses
from lightly.models.modules.memory_bank import MemoryBankModule
from torch import Tensor, nn

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Views:
    """What a step gives to a loss.

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
        settings: the keys of method_kwargs, with the defaults. Recipes with base_tau and final_tau
            have a moving average of the network.
        projector: class of the head that the loss sees, or a function of the same arguments.
        compare: returns the loss of a step, a scalar.
        names: keys of arguments of lightly's loss and projector whose names differ; a tuple of keys
            where the argument is a tuple.
        predictor: class of the head on top of the projector, if there is one.
        prototypes: class of the learned cluster centres, if there are any.
        memory: builds the queues, if there are any.
        after_backward: called with the parts and the epoch after the backward pass.
        check: returns what is wrong with settings and a batch size, or None.
        on_sphere: whether the loss compares directions.
        crops: which it takes: "two" large ones, two or more "large" ones, "multi" for two large
            and any number of small ones.
    """

    loss: str
    source: str
    settings: Settings
    projector: Callable[..., nn.Module]
    compare: Callable[[Parts, Views], Tensor]
    names: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    predictor: Callable[..., nn.Module] | None = None
    prototypes: Callable[..., nn.Module] | None = None
    memory: Callable[[Settings], nn.Module | None] | None = None
    after_backward: Callable[[Parts, int], None] | None = None
    check: Callable[[Settings, int], str | None] | None = None
    on_sphere: bool = True
    crops: Literal["two", "large", "multi"] = "two"

    def build_projector(self, features_dim: int, settings: Settings) -> nn.Module:
        """Build the projector of features of some dimension."""
        names = {"hidden_dim": "proj_hidden_dim", "output_dim": "proj_output_dim", **self.names}
        with without_advice():
            return _built(self.projector, settings, names, input_dim=features_dim)


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
        self.projector = recipe.build_projector(features_dim, settings)
        latents = {"input_dim": "proj_output_dim"}
        predictor = {**latents, "hidden_dim": "pred_hidden_dim", "output_dim": "proj_output_dim"}
        prototypes = {**latents, "n_prototypes": "num_prototypes"}
        self.predictor = _built(recipe.predictor, settings, predictor) if recipe.predictor else None
        self.prototypes: Any = (
            _built(recipe.prototypes, settings, prototypes) if recipe.prototypes else None
        )
        self.memory: Any = recipe.memory(settings) if recipe.memory else None
        self.criterion: Any = _built(getattr(losses, recipe.loss), settings, recipe.names)
        self._save_everything()

    def _save_everything(self) -> None:
        """Register as persistent buffers what lightly's losses keep from step to step."""
        if isinstance(self.criterion, losses.TiCoLoss):
            # An attribute, None until the first step, which takes it for zero.
            dim = self.settings["proj_output_dim"]
            del self.criterion.C
            self.criterion.register_buffer("C", torch.zeros(dim, dim))
        for module in self.modules():
            # A queue of size 0 has nothing, not even a defined pointer.
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
        with torch.autocast(first.device.type, enabled=False), without_advice():
            named = {name: _widen(value) for name, value in others.items()}
            return self.criterion(*map(_widen, views), **named).reshape(())


class Leading(nn.Module):
    """The first features, which DirectCLR compares in place of a projector's outputs.

    Args:
        input_dim: F, number of features.
        loss_dim: how many of them.

    Raises:
        ValueError: there are fewer features.
    """

    def __init__(self, input_dim: int, loss_dim: int) -> None:
        super().__init__()
        if loss_dim > input_dim:
            raise ValueError(
                f"method_kwargs.loss_dim: expected at most {input_dim}, the features of the "
                f"backbone, got {loss_dim}"
            )
        self.loss_dim = loss_dim

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, loss_dim) of (B, F)."""
        return x[:, : self.loss_dim]


@contextmanager
def without_advice() -> Iterator[None]:
    """Silence torch's warnings about lightly's own code: DINO's last layer and DCLW's weights."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*weight_norm.* is deprecated", FutureWarning)
        warnings.filterwarnings("ignore", "To copy construct from a tensor", UserWarning)
        yield


def _built(
    kind: Callable[..., nn.Module],
    settings: Settings,
    names: Mapping[str, str | tuple[str, ...]],
    **fixed: Any,
) -> nn.Module:
    """Build a loss or a head with those of its arguments that are settings.

    Losses that can compare the samples of all processes do so where torch is built for it.
    """
    arguments: dict[str, Any] = dict(fixed)
    for argument in inspect.signature(kind).parameters:
        key = names.get(argument, argument)
        if argument.endswith("gather_distributed"):
            arguments[argument] = torch.distributed.is_available()
        elif isinstance(key, tuple):
            arguments[argument] = tuple(settings[one] for one in key)
        elif key in settings:
            arguments.setdefault(argument, settings[key])
    return kind(**arguments)


def _widen(value: Any) -> Any:
    if isinstance(value, Tensor):
        # float64 stays: tests compare in it.
        return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
    return [_widen(one) for one in value] if isinstance(value, list) else value
