"""JEPA on masked blocks on our host: context encoder, narrow predictor, target encoder."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from solo_ldm.distributed import gather, smallest
from solo_ldm.latents import LatentModel
from solo_ldm.methods.base import BaseMethod, Description
from solo_ldm.methods.ldm.heads import MovingAverage
from solo_ldm.methods.masked.masks import BlockMasks
from solo_ldm.methods.masked.objective import PatchObjective
from solo_ldm.methods.masked.predictor import BlockPredictor, at_blocks
from solo_ldm.methods.masked.settings import MaskedSettings, resolve
from solo_ldm.methods.masked.tokens import (
    check_backbone,
    check_name,
    encode,
    fix_positions,
    patches_of,
)
from solo_ldm.objective import LDMTerms


class Masked(BaseMethod):
    """Predict the latents of hidden blocks of an image from the patches around them.

    The backbone sees a context alone and the target network the whole image: the backbone itself
    (target same or detached) or a moving average of it. Latents are the patches after the last
    normalisation of the network, each normalised over its dimensions once more. The backbone is
    what is evaluated, by the mean of its patches.

    Masks are a function of (seed, epoch, step, image): see `BlockMasks`. All images of a step, in
    all processes, see equally many patches: as many as the one that can see the fewest.

    The latents that the entropy is of, and "z" of the health of a run, are the means over the
    patches of whole images that the backbone makes, on the support of the latent model.

    Args:
        cfg: the completed configuration (see `solo_ldm.run.configuration`).

    Raises:
        ValueError: in one line: a setting, a backbone or views that do not fit.

    Source:
        Assran et al., I-JEPA, arXiv 2301.08243.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        settings = self.settings(self.cfg)
        vit = check_backbone(self.backbone, cfg.backbone.name, cfg.data.image_size)
        rows, columns = vit.patch_embed.grid_size  # pyright: ignore[reportGeneralTypeIssues]
        self.masks = BlockMasks((rows, columns), **settings.masks)
        if settings.positions == "sincos":
            fix_positions(vit)
        self.normalise_patches = settings.normalise_patches
        self.patch_objective = PatchObjective(settings.build_parts())
        self.predictor = BlockPredictor(
            self.features_dim,
            self.latent.prediction_dim(self.features_dim),
            (rows, columns),
            settings.pred_embed_dim,
            settings.pred_depth,
            settings.pred_num_heads,
        )
        self.target: MovingAverage | None = None
        if settings.cell.target == "moving_average":
            self.target = MovingAverage(
                self._averaged(), settings.cell.base_tau, settings.cell.final_tau
            )
        self.detach_target = settings.cell.target == "detached"
        # Whether gradients go through the backbone's view of whole images.
        self.learns_whole = settings.cell.target == "same" or settings.cell.entropy != "none"
        self._averaged_step = 0

    @classmethod
    def settings(cls, cfg: DictConfig) -> MaskedSettings:
        """Return the complete settings of a configuration.

        Raises:
            ValueError: see `solo_ldm.methods.masked.settings.resolve`.
        """
        if cfg.get("momentum"):
            raise ValueError(
                "momentum is read by methods of solo-learn and lightly; this one takes "
                "method_kwargs.target=moving_average, method_kwargs.base_tau and final_tau"
            )
        return resolve(cfg.method_kwargs)

    @classmethod
    def describe(cls, cfg: DictConfig) -> Description:
        """Say what the method is.

        Raises:
            ValueError: see `solo_ldm.methods.masked.settings.resolve`.
        """
        settings = cls.settings(cfg)
        cell = settings.cell
        return Description(
            headline=settings.headline,
            terms=("train_ldm_loss", "train_log_prob", "train_entropy"),
            axes={
                "latent": cell.latent,
                "entropy": cell.entropy,
                "over": None if cell.entropy == "none" else cell.over,
                "predictor": "transformer",
                "target": cell.target,
            },
            settings=settings.as_dict(),
            on_sphere=cell.support == "sphere",
        )

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check method_kwargs, the views and the batch.

        Raises:
            ValueError: in one line, what was expected and how to mend it.
        """
        cfg = super().add_and_assert_specific_cfg(cfg)
        check_name(cfg.backbone.name)
        fewest = cls.settings(cfg).build_parts().fewest_samples
        if cfg.optimizer.batch_size < fewest:
            raise ValueError(
                f"optimizer.batch_size={cfg.optimizer.batch_size} is too small for this entropy: "
                f"raise it to {fewest} or more"
            )
        large, small = cfg.data.num_large_crops, cfg.data.num_small_crops
        if (large, small) != (1, 0):
            raise ValueError(
                f"method=masked takes one view of an image, the augmentations make {large + small}:"
                " set num_crops=1 in augmentations, or start from --config-name ijepa"
            )
        return cfg

    @property
    def latent(self) -> LatentModel:
        """The latent model of a patch."""
        return self.patch_objective.parts.latent

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The host's groups and the predictor."""
        predictor = {"name": "predictor", "params": self.predictor.parameters()}
        return [*super().learnable_params, predictor]

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return {"loss"} for the optimiser, with detached "terms", "z" and "feats" for callbacks.

        "z" holds the mean latents of whole images and of what the context encoder sees of them.
        """
        indexes, crops, labels = batch
        images = crops if isinstance(crops, Tensor) else crops[0]
        if self.channels_last:
            images = images.to(memory_format=torch.channels_last)
        kept, targets = self.draw_masks(indexes, batch_idx)
        terms, whole, z = self.match(images, kept, targets)
        feats = self.backbone.forward_head(whole.detach())
        logits = self.classifier(feats) if self.classifier is not None else None
        class_loss = self._classifier_loss([logits], labels)
        logged = {
            "train_ldm_loss": terms.loss.detach(),
            "train_log_prob": terms.log_prob.detach(),
            "train_entropy": terms.entropy.detach(),
        }
        self.log_dict(logged, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(images))
        return {
            "loss": terms.loss + class_loss,
            "terms": {**logged, "train_class_loss": class_loss.detach()},
            "z": [one.detach() for one in z],
            "feats": [feats.detach()],
        }

    def draw_masks(self, indexes: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Draw what is seen and what is predicted of each image of a batch.

        Args:
            indexes: of the images in the data set (B,).
            step: of the epoch.

        Returns:
            The patches of the context (B, K) and of the target blocks (B, M, S).
        """
        drawn = self.masks.draw(self.cfg.seed, self.current_epoch, step, indexes.cpu().numpy())
        count = smallest(drawn.smallest_context, self.device)
        kept, targets = torch.from_numpy(drawn.context(count)), torch.from_numpy(drawn.targets)
        return kept.to(self.device), targets.to(self.device)

    def match(
        self, images: Tensor, kept: Tensor, targets: Tensor
    ) -> tuple[LDMTerms, Tensor, tuple[Tensor, Tensor]]:
        """Predict the target blocks of images and compare.

        Args:
            images: (B, 3, H, W).
            kept: patches of the context (B, K).
            targets: patches of the target blocks (B, M, S).

        Returns:
            The loss and its terms; the backbone's tokens of whole images, without gradients where
            nothing learns by them; and the mean latents (B, D) of whole images and of contexts.
        """
        with contextlib.nullcontext() if self.learns_whole else torch.no_grad():
            whole = encode(self.backbone, images)
        seen = patches_of(self.backbone, encode(self.backbone, images, kept))
        aims = at_blocks(self._latents(self._target(images, whole)), targets).flatten(0, 2)
        predicted = self.predictor(seen, kept, targets).flatten(0, 2)
        z, of_context = (
            self.latent.project(self._normal(patches).mean(dim=1))
            for patches in (patches_of(self.backbone, whole), seen)
        )
        terms = self.patch_objective(
            self.latent.prediction(predicted), self.latent.project(aims), gather(z)
        )
        return terms, whole, (z, of_context)

    def on_train_start(self) -> None:
        """Note the step that training starts or continues from."""
        super().on_train_start()
        self._averaged_step = self.trainer.global_step

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell the objective how far the training is."""
        super().on_train_batch_start(batch, batch_idx)
        self.patch_objective.parts.at(self._progress(), self.trainer.global_step)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the target network, once a step of the optimiser."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        step = self.trainer.global_step
        if self.target is not None and step > self._averaged_step:
            self.target.update(self._averaged(), self._progress())
            self._averaged_step = step

    def _target(self, images: Tensor, whole: Tensor) -> Tensor:
        """Return the target network's tokens of whole images (B, P + N, D)."""
        if self.target is None:
            return whole.detach() if self.detach_target else whole
        average: Any = self.target.get_submodule("backbone")
        with torch.no_grad():
            return encode(average, images)

    def _latents(self, tokens: Tensor) -> Tensor:
        return self._normal(patches_of(self.backbone, tokens))

    def _normal(self, patches: Tensor) -> Tensor:
        return F.layer_norm(patches, patches.shape[-1:]) if self.normalise_patches else patches

    def _progress(self) -> float:
        return self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches)

    def _averaged(self) -> dict[str, torch.nn.Module]:
        return {"backbone": self.backbone}
