"""Whether all cells of the grid would ask for the same step, while one of them is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_ldm.data.backends.torchvision import MultiViewImages
from solo_ldm.data.module import ImageDataModule
from solo_ldm.data.sampler import EpochSampler
from solo_ldm.evaluation.gradients import GradientSimilarity, compare_objectives
from solo_ldm.methods import find_method
from solo_ldm.methods.ldm.body import LDMBody
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.methods.ldm.settings import LDMSettings
from solo_ldm.objective import LDMObjective, Over
from solo_ldm.run.gradient_rows import GradientRows

# The paper's estimators, and what their entropy is over.
ESTIMATORS = ("kernel", "neighbour", "logdet")
OVERS: tuple[Over, ...] = ("joint", "marginal")


class CompareGradients(Callback):
    """Compare the gradients of all cells on the latent space of a run, on one batch.

    Before the first epoch, every few epochs and after the last. The batch, its views and what is
    random in the network are the same each time, and the network is in training mode; training goes
    on as if nothing had been measured. All processes measure the same, the first one writes.

    Args:
        cells: the objectives, by name; see `cells_beside`.
        crops: two views of the batch, (B, C, H, W) each.
        every: epochs between comparisons.
        path: of gradients.csv.
    """

    def __init__(
        self,
        cells: Mapping[str, LDMObjective],
        crops: Sequence[Tensor],
        every: int,
        path: Path,
    ) -> None:
        self.cells, self.crops, self.every = dict(cells), list(crops), every
        self.rows = GradientRows(path, "epoch")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what was measured before an interruption."""
        if trainer.is_global_zero:
            self.rows.keep_before(trainer.current_epoch)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare before an epoch."""
        if trainer.current_epoch % self.every == 0:
            self._compare(trainer, pl_module, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compare after the last epoch."""
        if trainer.current_epoch + 1 == trainer.max_epochs:
            self._compare(trainer, pl_module, trainer.current_epoch + 1)

    def _compare(self, trainer: pl.Trainer, module: pl.LightningModule, epoch: int) -> None:
        assert isinstance(module, LDMBody)
        crops = [crop.to(module.device) for crop in self.crops]
        # The backward pass of a compiled network cannot be taken more than once.
        compiled = module.cfg.performance.compile
        eager = torch.compiler.set_stance("force_eager") if compiled else nullcontext()
        with left_as_it_was(module, module.device), torch.enable_grad(), eager:
            torch.manual_seed(0)  # of dropout, the same each time
            try:
                found = gradients_of_cells(module, crops, self.cells)
            except torch.linalg.LinAlgError:  # pyright: ignore[reportPrivateImportUsage]
                return  # of latents that are not finite, which end the run at the next step
        if trainer.is_global_zero:
            self.rows.add(epoch, {respect: one.rows() for respect, one in found.items()})


def gradients_of_cells(
    method: LDMBody, crops: list[Tensor], cells: Mapping[str, LDMObjective]
) -> dict[str, GradientSimilarity]:
    """Compare cells at the weights of a method, on two views of a batch.

    The log-density of the losses is the method's own, with its predictor and its target, at the
    prediction precision of each cell.

    Returns:
        By what the gradients are with respect to: "latents", of both views, and "encoder", the
        parameters of backbone and projector.
    """
    z1, z2 = views = method.latents(crops)
    own = method.match(views, method.targets(crops, views), gathered=False)
    precision: Any = method.objective.latent.prediction_precision
    log_prob = own.log_prob / precision
    encoder = [*method.backbone.parameters(), *method.projector.parameters()]
    return {
        "latents": compare_objectives(z1, z2, cells, log_prob=log_prob),
        "encoder": compare_objectives(z1, z2, cells, encoder, log_prob),
    }


def cells_beside(cfg: DictConfig) -> dict[str, LDMObjective]:
    """Return the objectives of the paper's six cells on the latent space of a run.

    The cell of the run keeps its settings. The others have those that overriding `entropy` and
    `over` alone would give, at their own default prediction precision.

    Args:
        cfg: the completed configuration of a method of the grid.

    Returns:
        By "ESTIMATOR OVER", e.g. "kernel joint".

    Raises:
        ValueError: in one line: another method, latents that are neither on the plane nor on the
            sphere, processes that share out the parameters, or a batch too small for a cell.
    """
    key, every = "evaluation.compare_gradients_every", cfg.evaluation.compare_gradients_every
    own = find_method(cfg.method).describe(cfg).built_with.get("settings")
    if not isinstance(own, LDMSettings) or own.latent not in ("plane", "sphere"):
        raise ValueError(
            f"{key}: expected 0 for method={cfg.method}"
            + (f" with latent={own.latent}" if isinstance(own, LDMSettings) else "")
            + f", got {every}, which is for latents on the plane or the sphere; leave it out"
        )
    if str(cfg.strategy).startswith(("fsdp", "deepspeed")):
        raise ValueError(
            f"{key}: expected 0 for strategy={cfg.strategy}, which shares out the parameters, got "
            f"{every}; set strategy=ddp, or leave it out"
        )
    left_out = ("loss", "latent", "blocks", "prediction_precision")
    given = {key: value for key, value in cfg.method_kwargs.items() if key not in left_out}
    cells = {}
    for entropy in ESTIMATORS:
        for over in OVERS:
            if entropy == own.entropy:
                cell = replace(own, over=over)
            else:
                cell = resolve({**given, "entropy": entropy, "over": over}, own.latent)
                cell = replace(cell, entropy_weight=own.entropy_weight)
            cells[f"{entropy} {over}"] = cell.build_cell()
    fewest = max(one.fewest_samples for one in cells.values())
    if cfg.optimizer.batch_size < fewest:
        raise ValueError(
            f"{key}: expected 0 for optimizer.batch_size={cfg.optimizer.batch_size}, got {every}: "
            f"its cells need {fewest} images; raise the batch, or leave it out"
        )
    return cells


def resting_on_ridge(batch_size: int, dim: int) -> str:
    """Return a line on log-determinants of more dimensions than samples; empty if there are none.

    Args:
        batch_size: samples that cells are compared on.
        dim: dimensions of the latents.
    """
    few = {over: n for over, n in zip(OVERS, (2 * dim, dim), strict=True) if n >= batch_size}
    if not few:
        return ""
    cells = " and ".join(f"logdet {over} ({n} dimensions)" for over, n in few.items())
    return (
        f"evaluation.compare_gradients_every: on {batch_size} images the gradients of {cells} are "
        "those of the ridge; raise optimizer.batch_size or lower method_kwargs.proj_output_dim"
    )


def first_crops(data: ImageDataModule) -> list[Tensor]:
    """Return two views of the first batch of a run in one process, (B, C, H, W) each.

    They are read by torchvision, in this process, whatever backend the run has.
    """
    sampler = EpochSampler(data.num_train_images, data.batch_size, data.seed)
    _, crops, _ = MultiViewImages(data.train_views()).__getitems__([*sampler][: data.batch_size])
    return crops[:2]


@contextmanager
def left_as_it_was(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Restore random numbers and buffers (running statistics) afterwards."""
    buffers = [(one, one.clone()) for one in module.buffers()]
    of_mps = torch.mps.get_rng_state() if device.type == "mps" else None  # which no fork knows
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            with torch.no_grad():
                for one, before in buffers:
                    one.copy_(before)
            if of_mps is not None:
                torch.mps.set_rng_state(of_mps)
