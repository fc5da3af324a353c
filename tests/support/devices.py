"""A GPU that is not there: devices, shapes and types of what would run on it, without numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensorMode

_ANSWERS = {torch.ops.aten.all.default: True, torch.ops.aten.any.default: False}


class PretendedGPU(FakeTensorMode):
    """Tensors have a device, a shape and a type only; an operation on two devices raises.

    As on a GPU, a number on the CPU may meet a tensor on the GPU. Checks of values pass: all are
    as they should be, none is as it should not be. Other questions about values raise.
    """

    def __init__(self) -> None:
        super().__init__(allow_non_fake_inputs=True)
        # One for each time it is entered: torch does so within an operation once more.
        self._dispatchers: list[Any] = []

    def __enter__(self) -> PretendedGPU:
        """Let Python decompose what asks a driver first, as recurrent layers do."""
        self._dispatchers.append(enable_python_dispatcher())
        self._dispatchers[-1].__enter__()
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """End pretending."""
        super().__exit__(*error)
        self._dispatchers.pop().__exit__(*error)

    def dispatch(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation; answer what a check asks."""
        if func is torch.ops.aten._local_scalar_dense.default and hasattr(args[0], "answer"):
            return args[0].answer
        out: Any = super().dispatch(func, types, args, kwargs or {})
        if func in _ANSWERS:
            out.answer = _ANSWERS[func]
        return out


def there(value: Tensor) -> Tensor:
    """Return a tensor such as this one on the GPU."""
    made = torch.empty(value.shape, dtype=value.dtype, device="cuda")
    return made.requires_grad_(value.requires_grad)


def moved(module: nn.Module) -> nn.Module:
    """Move what `Module.to` moves: parameters and buffers, in place.

    `Module.to` itself cannot swap tensors that have no data. What a module keeps outside of its
    parameters and buffers stays where it is, as it would.
    """
    for part in module.modules():
        for name, value in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(there(value.detach()), value.requires_grad))
        for name, value in list(part.named_buffers(recurse=False)):
            setattr(part, name, there(value))
        if hasattr(part, "_device"):
            vars(part)["_device"] = torch.device("cuda")  # Lightning's `self.device`
    return module


def on_gpu(value: object) -> bool:
    """Tell whether this is a tensor on the GPU."""
    return isinstance(value, Tensor) and value.device.type == "cuda"
