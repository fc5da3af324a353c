"""Classifiers on a backbone: linear ones on frozen features, or one trained with the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from timm.data.mixup import Mixup
from timm.optim import param_groups_layer_decay  # pyright: ignore[reportPrivateImportUsage]
from torch import Tensor, nn

from solo_ldm.optim.optimizers import configured_optimizer


class Classifier(nn.Sequential):
    """A linear classifier, with or without normalised features before it.

    logits = W (x − μ) / σ + b, μ and σ running statistics of the features x; or W x + b.

    Args:
        num_features: of the backbone.
        num_classes: of the data.
        normalise: subtract the mean and divide by the deviation of each feature, over the batch
            while training and over past batches in evaluation.

    Source: the batch normalisation without weights is that of He et al. 2021 (arXiv 2111.06377),
    A.1.
    """

    def __init__(self, num_features: int, num_classes: int, normalise: bool) -> None:
        super().__init__()
        if normalise:
            self.norm = nn.BatchNorm1d(num_features, affine=False)
        self.linear = nn.Linear(num_features, num_classes)
        nn.init.normal_(self.linear.weight, std=0.01)
        nn.init.zeros_(self.linear.bias)


class LinearModel(pl.LightningModule):
    """Train classifiers on the features of a backbone.

    Frozen, the backbone stays in evaluation mode without gradients, and one classifier is trained
    for each learning rate, independently of the others and on the same features. Trained
    (`finetune`), there is one classifier.

    Args:
        cfg: the completed configuration (see `solo_ldm.commands.linear.schema`).
        backbone: maps images (B, 3, H, W) to features (B, num_features).
        num_features: of the backbone.
        num_classes: of the data.
        rates: a learning rate a classifier, for one step of the optimiser as it is.
    """

    def __init__(
        self,
        cfg: DictConfig,
        backbone: nn.Module,
        num_features: int,
        num_classes: int,
        rates: Sequence[float],
    ) -> None:
        super().__init__()
        if cfg.normalise_features and cfg.optimizer.batch_size == 1:
            raise ValueError(
                "optimizer.batch_size: expected at least 2 with normalise_features=true, got 1"
            )
        self.cfg = cfg
        self.finetune = cfg.protocol == "finetune"
        self.rates = list(rates)
        self.num_classes = num_classes
        self.backbone: Any = backbone
        self.classifiers = nn.ModuleList(
            Classifier(num_features, num_classes, cfg.normalise_features) for _ in self.rates
        )
        self.channels_last: bool = not cfg.performance.disable_channel_last
        if self.channels_last:
            self.backbone.to(memory_format=torch.channels_last)
        if cfg.performance.compile:
            self.backbone.compile()
        self.mix: Any = None
        if self.finetune and (cfg.mixup or cfg.cutmix):
            smoothing = cfg.label_smoothing
            self.mix = Mixup(
                cfg.mixup, cfg.cutmix, label_smoothing=smoothing, num_classes=num_classes
            )
        if not self.finetune:
            self.backbone.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> LinearModel:
        """Set the mode; a frozen backbone stays in evaluation mode."""
        super().train(mode)
        if not self.finetune:
            self.backbone.eval()
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Leave a frozen backbone out: its weights are where they were loaded from."""
        if not self.finetune:
            kept = checkpoint["state_dict"].items()
            checkpoint["state_dict"] = {k: v for k, v in kept if not k.startswith("backbone.")}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put a frozen backbone back."""
        if not self.finetune:
            own = self.state_dict().items()
            checkpoint["state_dict"] |= {k: v for k, v in own if k.startswith("backbone.")}

    def configure_optimizers(self) -> Any:
        """Build the optimiser and the schedule that the configuration names."""
        groups: list[dict[str, Any]] = [
            {"name": f"classifier-{number}", "params": classifier.parameters(), "lr": rate}
            for number, (classifier, rate) in enumerate(
                zip(self.classifiers, self.rates, strict=True)
            )
        ]
        if self.finetune:
            groups += self._backbone_groups()
        return configured_optimizer(self, groups, lr=self.rates[0])

    def _backbone_groups(self) -> list[dict[str, Any]]:
        settings = self.cfg.optimizer
        rate = self.rates[0] * settings.backbone_lr_scale
        if not settings.layer_decay:
            return [{"name": "backbone", "params": self.backbone.parameters(), "lr": rate}]
        exempt = getattr(self.backbone, "no_weight_decay", set)()
        layers = param_groups_layer_decay(
            self.backbone,
            weight_decay=settings.weight_decay,
            no_weight_decay_list=exempt,
            layer_decay=settings.layer_decay,
        )
        return [
            {
                "name": f"backbone-{number}",
                "params": layer["params"],
                "weight_decay": layer["weight_decay"],
                "lr": rate * layer["lr_scale"],
            }
            for number, layer in enumerate(layers)
        ]

    def forward(self, X: Tensor) -> dict[str, Any]:  # noqa: N803
        """Return {"feats": (B, F), "logits": one (B, classes) a classifier} of images."""
        if self.channels_last:
            X = X.to(memory_format=torch.channels_last)  # noqa: N806
        # Not inference mode: the classifiers keep the features for their gradients.
        with torch.set_grad_enabled(self.finetune and torch.is_grad_enabled()):
            feats = self.backbone(X)
        return {"feats": feats, "logits": [classifier(feats) for classifier in self.classifiers]}

    def on_train_epoch_start(self) -> None:
        """Seed the mixing of images, which draws from NumPy, from torch's state."""
        if self.mix is not None:
            np.random.seed(int(torch.randint(2**31, ())))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        """Train every classifier.

        Args:
            batch: [indexes (B,), [images (B, 3, H, W)], targets (B,)].
            batch_idx: index of the batch in the epoch.

        Returns:
            {"loss": the sum over classifiers of the mean cross-entropy, "terms": for the guard}.
        """
        _, (images,), targets = batch
        wanted = targets
        if self.mix is not None:
            images, wanted = self.mix(images, targets)
        logits = [one.float() for one in self(images)["logits"]]
        # Images without a label cost nothing; labels that were mixed are smoothed already.
        count = (targets >= 0).sum().clamp_min(1)
        loss = partial(
            F.cross_entropy,
            ignore_index=-1,
            reduction="sum",
            label_smoothing=0.0 if self.mix is not None else self.cfg.label_smoothing,
        )
        losses = torch.stack([loss(one, wanted) for one in logits]) / count
        correct = torch.stack([(one.argmax(dim=1) == targets).sum() for one in logits]) / count
        metrics = {"train_class_loss": losses.detach().mean()}
        if self.mix is None:
            metrics["train_acc1"] = correct.mean()
        self.log_dict(
            metrics, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(targets)
        )
        return {"loss": losses.sum(), "terms": {"train_class_loss": losses.detach().sum()}}

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Log loss and accuracy, the mean over classifiers, and the accuracy of each rate.

        They are for watching: results are computed after training, from one classifier.
        """
        images, targets = batch
        if not len(images):  # none of them can be read
            return
        logits = torch.stack(self(images)["logits"]).float()
        losses = torch.stack([F.cross_entropy(one, targets) for one in logits])
        correct = (logits.argmax(dim=2) == targets).float().mean(dim=1)
        metrics = {"val_class_loss": losses.mean(), "val_acc1": correct.mean()}
        if len(self.rates) > 1:
            metrics |= {
                f"val_acc1_lr{rate:g}": one for rate, one in zip(self.rates, correct, strict=True)
            }
        self.log_dict(metrics, on_epoch=True, sync_dist=True, batch_size=len(targets))
