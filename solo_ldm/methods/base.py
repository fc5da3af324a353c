"""The contract of a method: what a run asks of it, and what every method shares."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_ldm.backbones import create_backbone
from solo_ldm.methods.continuing import renew_classifier
from solo_ldm.methods.means import log_means
from solo_ldm.optim.optimizers import configured_optimizer


@dataclass(frozen=True)
class Description:
    """What a method is, for the terminal, for results.json and for the run's callbacks.

    Args:
        headline: a few words, e.g. "kernel entropy, marginal, on the sphere".
        terms: names of the parts of the loss that are logged each epoch; the first is the one that
            the method minimises. Progress, the best checkpoint and the picture read it.
        axes: its cell of the grid: latent, entropy, over, predictor, target; None off the grid.
        settings: its method_kwargs, complete.
        on_sphere: whether only the direction of a latent counts (sphere and simplex).
        built_with: arguments of the method's constructor besides cfg: what is resolved already.
    """

    headline: str
    terms: tuple[str, ...]
    axes: Mapping[str, str | None]
    settings: dict[str, Any]
    on_sphere: bool
    built_with: Mapping[str, Any] = field(default_factory=dict)


# The axes of a method that is no cell of the grid.
OFF_THE_GRID: dict[str, str | None] = dict.fromkeys(
    ("latent", "entropy", "over", "predictor", "target")
)


class BaseMethod(pl.LightningModule, ABC):
    """A backbone, an online classifier and their optimiser; a method adds heads and a loss.

    A method of your own is a subclass in a file of yours, named in a YAML that lists host.yaml
    among its defaults (`method: my_package.my_module.MyMethod`). With `check_arguments` of
    `solo_ldm.config.arguments` and the names of this module it reads::

        class MyMethod(BaseMethod):
            @classmethod
            def describe(cls, cfg):
                check_arguments("method_kwargs", cfg.method_kwargs, MyObjective)
                settings = dict(cfg.method_kwargs)
                return Description("my loss", ("train_my_loss",), OFF_THE_GRID, settings, False)

            def __init__(self, cfg):
                super().__init__(cfg)
                self.projector = nn.Linear(self.features_dim, 128)
                self.objective = MyObjective(**cfg.method_kwargs)

            @property
            def learnable_params(self):
                head = {"name": "projector", "params": self.projector.parameters()}
                return [*super().learnable_params, head]

            def training_step(self, batch, batch_idx):
                out = super().training_step(batch, batch_idx)  # runs all crops
                z = [self.projector(feats) for feats in out["feats"]]
                terms = {"train_my_loss": self.objective(*z)}
                return finish_step(self, terms, z, out, len(batch[0]))

    In turn, a run

    - calls `describe` before it reads any data, and builds the method before it writes any file,
      from cfg and the description's `built_with`: both raise a ValueError of one line for what
      cannot work;
    - reads `cfg`, `backbone` (evaluated and exported) and `classifier` (scored as linear-online,
      None without labels), and saves everything in `state_dict`: whatever one step leaves for the
      next is a parameter or a buffer, so that a run that was interrupted continues;
    - passes what `training_step` returns to its callbacks: "terms" (a loss that is not finite ends
      the run and names the term), "z" and "feats" (spread and rank of latents and features).

    The hooks are solo-learn's: `add_and_assert_specific_cfg`, `learnable_params`, `forward`,
    `multicrop_forward` and `training_step`. A body that uses only these, `cfg`, `backbone`,
    `features_dim`, the numbers of crops and Lightning's own also runs on solo-learn's BaseMethod.

    Args:
        cfg: the completed configuration (see `solo_ldm.commands.pretrain`), learning rates scaled
            to the batch; `cfg.data` also holds num_classes (0 without labels), num_large_crops,
            num_small_crops, image_size and crop_sizes, those of all views.

    Raises:
        ValueError: in one line: a setting that cannot work.
    """

    # Protocols of the evaluation that the method has besides those of features.
    protocols: ClassVar[tuple[str, ...]] = ()

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        self.cfg = cfg = self.add_and_assert_specific_cfg(cfg)
        for key in {"name", "image_size", "crop_sizes"} & {*cfg.backbone.kwargs}:
            raise ValueError(
                f"backbone.kwargs.{key}: expected arguments of the model alone, got "
                f"{cfg.backbone.kwargs[key]}; set backbone.name, and crop_size in augmentations"
            )
        sizes = {"crop_sizes": cfg.data.get("crop_sizes") or ()}
        self.backbone: Any = create_backbone(
            cfg.backbone.name, cfg.data.image_size, **sizes, **cfg.backbone.kwargs
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
    @abstractmethod
    def describe(cls, cfg: DictConfig) -> Description:
        """Check the configuration as far as that needs no data, and describe the method.

        Args:
            cfg: the completed configuration, as the user gave it: without what the data adds.

        Raises:
            ValueError: in one line: a setting that cannot work.
        """

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Return the configuration as the method reads it, checked; methods extend it.

        Raises:
            ValueError: in one line: a setting, a batch size or views that do not fit.
        """
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

    def use_images(self, images: Any) -> None:
        """Take what batches lack, such as captions, from an `ImageDataModule` before training.

        Raises:
            ValueError: in one line: the images have none.
        """

    def configure_optimizers(self) -> Any:
        """Return the optimiser and the schedule that the configuration names."""
        return configured_optimizer(
            self, self.learnable_params, self.lr, self.cfg.accumulate_grad_batches
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the new online classifier where that of the checkpoint is for other classes."""
        renew_classifier(self, checkpoint)

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

    @abstractmethod
    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Run every crop and train the online classifier; a method adds its loss.

        Args:
            batch: [indexes, crops, targets]: indexes (B,) of the images in the data set; crops, a
                list of (B, 3, H, W), large ones first; targets (B,), −1 where there is no label.
            batch_idx: index of the batch in the epoch.

        Returns:
            Here, what a method builds on: a dict of lists, one entry a crop, of what `forward`
            returned, and "loss", the online classifier's cross-entropy (0 without labels).
            Of a method, what `finish_step` returns.

        Raises:
            ValueError: another number of crops than the augmentations promise.
        """
        _, crops, targets = batch
        crops = [crops] if isinstance(crops, Tensor) else crops
        if len(crops) != self.num_crops:
            raise ValueError(f"batch: expected {self.num_crops} crops, got {len(crops)}")
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
        log_means(self, metrics, len(targets))
        return total / count

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Score the online classifier on images that are not augmented."""
        images, targets = batch
        # A batch may be empty: images that cannot be read are left out.
        logits = self(images)["logits"] if len(images) else None
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


def finish_step(
    method: Any,
    terms: Mapping[str, Tensor],
    z: Sequence[Tensor],
    out: Mapping[str, Any],
    batch_size: int,
    also_logged: Mapping[str, float | Tensor] | None = None,
) -> dict[str, Any]:
    """Log the terms of a step and return what `training_step` returns.

    Args:
        method: whose step it is, on our BaseMethod or on solo-learn's.
        terms: scalars by the names of `Description.terms`; the first is minimised.
        z: latents of each crop (B, D), on their support; two or more for a measured alignment.
        out: what `BaseMethod.training_step` returned: its "loss" and its "feats".
        batch_size: B.
        also_logged: further numbers to log, by name.

    Returns:
        "loss", the first term plus the online classifier's loss, for the optimiser; and, detached,
        "terms" (with train_class_loss), "z" and "feats", for callbacks.
    """
    class_loss = out["loss"]
    logged = {name: value.detach() for name, value in terms.items()}
    log_means(method, {**logged, **(also_logged or {})}, batch_size)
    return {
        "loss": next(iter(terms.values())) + class_loss,
        "terms": {**logged, "train_class_loss": class_loss.detach()},
        "z": [one.detach() for one in z],
        "feats": [feats.detach() for feats in out["feats"]],
    }
