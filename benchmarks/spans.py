"""Where the time of a training step goes: a run's own trainer, watched part by part."""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.profilers import Profiler

FORWARD, BACKWARD = "network, forward", "network, backward"
OBJECTIVE, CLASSIFIER = "objective and logging", "online classifier"
OPTIMISER, DATA, COPIES = "optimiser", "waiting for data, augmentation", "copies to the device"
CALLBACKS, LOOP = "callbacks", "Lightning's loop"
PARTS = (
    *(FORWARD, BACKWARD, OBJECTIVE, CLASSIFIER, OPTIMISER, DATA, COPIES, CALLBACKS),
    LOOP,
)
# Steps at the start of an epoch that are not timed: their data were fetched ahead.
AHEAD = 5
# Seconds for loaders to fall idle before the network is timed alone.
_IDLE = 0.5
# How Lightning names what it does, and what of a step that is.
_ACTIONS = {
    ".train_dataloader_next": DATA,
    "batch_to_device": COPIES,
    "_batch_transfer": COPIES,
    ".training_step": OBJECTIVE,
    ".backward": OBJECTIVE,
    "optimizer_step": OPTIMISER,
    "optimizer_zero_grad": OPTIMISER,
    "lr_scheduler_step": OPTIMISER,
    "configure_gradient_clipping": OPTIMISER,
}


class Spans(Profiler):
    """Seconds of each part by itself, without the parts that it calls."""

    def __init__(self) -> None:
        super().__init__()
        self.spent: defaultdict[str, float] = defaultdict(float)
        self._stack = [LOOP]
        self._since = seconds()

    def enter(self, part: str) -> None:
        """Begin a part, within the present one."""
        self._count()
        self._stack.append(part)

    def leave(self) -> None:
        """End the part begun last."""
        self._count()
        self._stack.pop()

    def reached(self, gradient: Any) -> None:
        """Note that a gradient has come through the objective to the network."""
        self._count()
        if self._stack[-1] == OBJECTIVE:
            self._stack[-1] = BACKWARD

    def take(self) -> defaultdict[str, float]:
        """Return the seconds since the last call, by part."""
        self._count()
        taken, self.spent = self.spent, defaultdict(float)
        return taken

    def start(self, action_name: str) -> None:
        """Begin what Lightning names."""
        watched = CALLBACKS if action_name.startswith("[Callback]") else LOOP
        found = (part for name, part in _ACTIONS.items() if action_name.endswith(name))
        self.enter(next(found, watched))

    def stop(self, action_name: str) -> None:
        """End what Lightning names."""
        self.leave()

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Count what a method of an object takes as a part."""
        inner: Callable[..., Any] = getattr(owner, name)

        def outer(*args: Any, **kwargs: Any) -> Any:
            self.enter(part)
            try:
                out = inner(*args, **kwargs)
            finally:
                self.leave()
            if part == FORWARD and torch.is_tensor(out) and out.requires_grad:
                out.register_hook(self.reached)
            return out

        setattr(owner, name, outer)

    def _count(self) -> None:
        now = seconds()
        self.spent[self._stack[-1]] += now - self._since
        self._since = now


# Asked once: under Lightning each question searches for a driver, a third of a millisecond.
_ON_GPU = torch.cuda.is_available()


def seconds() -> float:
    """Return the time when all that was asked of a GPU is done."""
    if _ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


class Watch(Callback):
    """Time the steps of a run, and after each epoch the network alone on data in place.

    Args:
        steps: of the network alone, in each turn.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self.whole: list[float] = []
        self.parts: list[defaultdict[str, float]] = []
        self.alone: list[float] = []
        self.images = 0
        self.crops: list[Any] = []

    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        """Watch the parts of the method, and keep a copy of its network."""
        self.spans = trainer.profiler = Spans()
        names = [name for name in ("backbone", "projector") if hasattr(pl_module, name)]
        self._network = [copy.deepcopy(getattr(pl_module, name)) for name in names]
        for name in names:
            self.spans.wrap(getattr(pl_module, name), "forward", FORWARD)
        if pl_module.classifier is not None:
            self.spans.wrap(pl_module.classifier, "forward", CLASSIFIER)
            self.spans.wrap(pl_module, "_classifier_loss", CLASSIFIER)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Begin without a step before."""
        self._last: float | None = None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Note the time from one step's end to the next one's."""
        parts, now = self.spans.take(), seconds()
        if self._last is not None and batch_idx >= AHEAD:
            self.whole.append(now - self._last)
            self.parts.append(parts)
        crops = [batch[1]] if torch.is_tensor(batch[1]) else batch[1]
        self._last, self.crops, self.images = now, crops, len(batch[0])

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Time forward and backward passes of the copy on the epoch's last batch."""
        for part in self._network:
            part.to(pl_module.device).train()
        time.sleep(_IDLE)
        for step in range(self.steps + 1):
            start = seconds()
            self._pass(trainer, pl_module.channels_last)
            if step:  # the first one warms up
                self.alone.append(seconds() - start)
        self.spans.take()

    def _pass(self, trainer: pl.Trainer, channels_last: bool) -> None:
        latents = []
        with torch.enable_grad(), trainer.precision_plugin.forward_context():
            for crop in self.crops:
                form = torch.channels_last if channels_last else torch.contiguous_format
                out = crop.to(memory_format=form)
                for part in self._network:
                    out = part(out)
                latents.append(out)
        for part in self._network:
            part.zero_grad()
        torch.autograd.backward(latents, [torch.ones_like(one) for one in latents])
