"""The method contract of solo-learn on our host: backbone, online classifier, optimiser."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_ldm.backbones import create_backbone
from solo_ldm.optim.optimizers import optimizer_of_method


@dataclass(frozen=True)
class Description:
    """What a method is, for people and for results.json.

    Args:
        headline: in a few words, e.g. "kernel entropy, marginal, on the sphere".
        terms: names of what it logs of its loss each epoch; the first is what it minimises.
        axes: its place on the grid: latent, entropy, over, predictor, target; None off the grid.
        settings: its method_kwargs, complete.
        on_sphere: whether the direction of a latent is what counts: on the sphere and the simplex.
    """

    headline: str
    terms: tuple[str, ...]
    axes: dict[str, str | None]
    settings: dict[str, Any]
    on_sphere: bool


class BaseMethod(pl.LightningModule):
    """What every method shares; a method adds its head and its loss through solo-learn's hooks.

    The hooks are solo-learn's: `add_and_assert_specific_cfg`, `learnable_params`, `forward`,
    `multicrop_forward` and `training_step`. A subclass that uses only these also runs on
    solo-learn's own BaseMethod.

    Args:
        cfg: the completed configuration (see `solo_ldm.run.configuration`); `cfg.data` also holds
            num_classes (0 without labels), num_large_crops, num_small_crops and image_size.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        cfg = self.add_and_assert_specific_cfg(cfg)
        self.cfg = cfg
        self.backbone: Any = create_backbone(
            cfg.backbone.name, cfg.data.image_size, **cfg.backbone.kwargs
        )
        self.features_dim: int = self.backbone.num_features
        self.num_classes: int = cfg.data.num_classes
        self.classifier = (
            nn.Linear(self.features_dim, self.num_classes) if self.num_classes else None
        )
        self.num_large_crops: int = cfg.data.num_large_crops
        self.num_small_crops: int = cfg.data.num_small_crops
        self.num_crops = self.num_large_crops + self.num_small_crops
        # solo-learn's rule: rates are given for the batch of one optimiser step / 256.
        self.lr: float = cfg.optimizer.lr * cfg.accumulate_grad_batches
        self.classifier_lr: float = cfg.optimizer.classifier_lr * cfg.accumulate_grad_batches
        self.channels_last: bool = not cfg.performance.disable_channel_last
        if self.channels_last:
            self.backbone.to(memory_format=torch.channels_last)
        if cfg.performance.compile:
            self.backbone.compile()

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Fill in and check what a method needs of the configuration; methods extend it."""
        return cfg

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """Named parameter groups with settings of their own; methods add theirs."""
        groups: list[dict[str, Any]] = [{"name": "backbone", "params": self.backbone.parameters()}]
        if self.classifier is not None:
            groups.append(
                {
                    "name": "classifier",
                    "params": self.classifier.parameters(),
                    "lr": self.classifier_lr,
                    "weight_decay": 0.0,
                }
            )
        return groups

    def configure_optimizers(self) -> Any:
        """Build the optimiser and the schedule that the configuration names."""
        return optimizer_of_method(self, self.learnable_params)

    def forward(self, X: Tensor) -> dict[str, Any]:  # noqa: N803
        """Return {"feats": (B, F), "logits": (B, classes)} of images (B, 3, H, W).

        Logits come from detached features: the labels never reach the backbone. They are None
        without labels.
        """
        if self.channels_last:
            X = X.to(memory_format=torch.channels_last)  # noqa: N806
        feats = self.backbone(X)
        logits = self.classifier(feats.detach()) if self.classifier is not None else None
        return {"feats": feats, "logits": logits}

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:  # noqa: N803
        """Return {"feats": (B, F)} of small crops; they do not train the online classifier."""
        if self.channels_last:
            X = X.to(memory_format=torch.channels_last)  # noqa: N806
        return {"feats": self.backbone(X)}

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Run every crop and train the online classifier.

        Args:
            batch: [indexes, crops, targets]; crops is a list of (B, 3, H, W), large ones first.
            batch_idx: index of the batch in the epoch.

        Returns:
            A dict of lists, one entry a crop, of what `forward` returned, and "loss", the online
            classifier's cross-entropy (0 without labels).

        Raises:
            ValueError: another number of crops than the augmentations promise.
        """
        _, crops, targets = batch
        crops = [crops] if isinstance(crops, Tensor) else crops
        if len(crops) != self.num_crops:
            raise ValueError(f"{self.num_crops} crops are expected, the batch holds {len(crops)}")
        passes = [self(crop) for crop in crops[: self.num_large_crops]]
        out: dict[str, Any] = {key: [one[key] for one in passes] for key in passes[0]}
        for crop in crops[self.num_large_crops :]:
            for key, value in self.multicrop_forward(crop).items():
                out[key].append(value)
        # Of pairs of images the labels are those of the first: see `data.pair_match`.
        step = 1 if self.cfg.data.get("pair_match") is None else 2
        out["loss"] = self._classifier_loss(out["logits"][::step], targets)
        return out

    def _classifier_loss(self, logits: list[Tensor | None], targets: Tensor) -> Tensor:
        """Mean cross-entropy over large crops, ignoring samples labelled −1; logged with top-1."""
        kept = [one.float() for one in logits if one is not None]
        labelled = targets != -1
        if not kept:
            return torch.zeros((), device=self.device)
        stacked, repeated = torch.cat(kept), targets.repeat(len(kept))
        # The sum over max(1, count) rather than the mean: a batch without labels costs nothing.
        total = F.cross_entropy(stacked, repeated, ignore_index=-1, reduction="sum")
        count = labelled.sum().clamp_min(1) * len(kept)
        correct = (stacked.argmax(dim=1) == repeated).sum()
        metrics = {"train_class_loss": total / count, "train_acc1": correct / count}
        self.log_dict(
            metrics, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(targets)
        )
        return total / count

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Score the online classifier on un-augmented images."""
        images, targets = batch
        logits = self(images)["logits"]
        if logits is None:
            return
        logits = logits.float()
        top = logits.topk(min(5, self.num_classes), dim=1).indices == targets[:, None]
        metrics = {
            "val_class_loss": F.cross_entropy(logits, targets),
            "val_acc1": top[:, 0].float().mean(),
            "val_acc5": top.any(dim=1).float().mean(),
        }
        self.log_dict(metrics, on_epoch=True, sync_dist=True, batch_size=len(targets))
