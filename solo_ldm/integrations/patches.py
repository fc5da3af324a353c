"""What solo-learn needs changed under newer libraries, or without a GPU."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig
from omegaconf.base import ContainerMetadata, Metadata
from omegaconf.nodes import AnyNode

# Classes in the configurations of its checkpoints, which torch does not unpickle by itself.
CONFIGURATION_CLASSES: list[Any] = [
    *(DictConfig, ListConfig, ContainerMetadata, Metadata, AnyNode),
    *(Any, defaultdict, dict, list, int),
]


def patch_knn(module: Any) -> None:
    """Let its metric be built where torchmetrics has no `compute_on_step`."""
    metric = module.WeightedKNNClassifier.__bases__[0]
    if metric.__name__ != "Metric":
        return

    class WithoutComputeOnStep(metric):
        def __init__(self, compute_on_step: Any = None, **kwargs: Any) -> None:
            super().__init__(**kwargs)

    module.WeightedKNNClassifier.__bases__ = (WithoutComputeOnStep,)


@contextmanager
def cuda_where_there_is_none() -> Iterator[None]:
    """Without a GPU, leave tensors where they are: main_knn.py moves its own to one."""
    move = torch.Tensor.cuda
    if not torch.cuda.is_available():
        torch.Tensor.cuda = lambda self, *_, **__: self
    try:
        yield
    finally:
        torch.Tensor.cuda = move
