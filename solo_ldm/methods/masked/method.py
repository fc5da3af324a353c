"""JEPA on masked blocks: context encoder, narrow predictor, target encoder."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
import torch.nn.functional as F
from omegaconf import DictConfig
from torch import Tensor

from solo_ldm.distributed import by_rows, gather, smallest
from solo_ldm.methods.averaging import MovingAverage, progress
from solo_ldm.methods.base import BaseMethod, Description, finish_step
from solo_ldm.methods.ldm.method_kwargs import check_run
from solo_ldm.methods.ldm.settings import TERMS
from solo_ldm.methods.masked.masks import BlockMasks
from solo_ldm.methods.masked.predictor import BlockPredictor, at_blocks
from solo_ldm.methods.masked.settings import MaskedSettings, resolve
from solo_ldm.methods.masked.tokens import (
    check_backbone,
    check_name,
    encode,
    fix_positions,
    patches_of,
)
from solo_ldm.numerics import at_least_single
from solo_ldm.objective import LDMTerms


class Masked(BaseMethod):
    """Predict the latents of hidden blocks of an image from the patches around them.

    The backbone encodes the context alone; the target network encodes the whole image. It is the
    backbone itself (target same or detached) or a moving average of it. Latents are the patches
    after the last normalisation of the network, each normalised over its dimensions once more. The
    features that are evaluated are the mean of the backbone's patches.

    Masks are a function of (seed, epoch, step, image): see `BlockMasks`. All images of a step, in
    all processes, keep equally many patches of context: as many as the smallest context has.

    loss = −E[log p(t | c)] − w · H[q(z̄)]

    t is the latent of a patch of a target block, c the context, and z̄ the mean latent of all
    patches of an image, encoded as a whole by the backbone, on the support of the latent model. The
    entropy is not that of single patches: a network that only encodes their positions, which the
    predictor knows, would be at the optimum of both terms. The mean over all positions is then the
    same for all images. z̄ is also "z" in the health of a run.

    Args:
        cfg: the completed configuration.
        settings: what `settings` returned for it, if that was asked before.

    Raises:
        ValueError: in one line: a setting, a backbone or views that do not fit.

    Source:
        Assran et al., I-JEPA, arXiv 2301.08243.
    """

    def __init__(self, cfg: DictConfig, settings: MaskedSettings | None = None) -> None:
        super().__init__(cfg)
        settings = settings or self.settings(self.cfg)
        vit = check_backbone(self.backbone, cfg.backbone.name, cfg.data.image_size)
        rows, columns = vit.patch_embed.grid_size  # pyright: ignore[reportGeneralTypeIssues]
        self.masks = BlockMasks((rows, columns), **settings.masks)
        if settings.positions == "sincos":
            fix_positions(vit)
        self.normalise_patches = settings.normalise_patches
        # Latent model p of a patch, estimator H and weight w.
        self.parts = settings.cell.build_cell()
        self.predictor = BlockPredictor(
            self.features_dim,
            self.parts.latent.prediction_dim(self.features_dim),
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

    @classmethod
    def settings(cls, cfg: DictConfig) -> MaskedSettings:
        """Return the complete settings of a configuration.

        Raises:
            ValueError: see `solo_ldm.methods.masked.settings.resolve` and, for the rest of the
                configuration, `solo_ldm.methods.ldm.method_kwargs.check_run`.
        """
        settings = resolve(cfg.method_kwargs)
        check_run(cfg, settings.cell)
        return settings

    @classmethod
    def describe(cls, cfg: DictConfig) -> Description:
        """Describe the method; raises what `settings` raises."""
        settings = cls.settings(cfg)
        return Description(
            headline=settings.headline,
            terms=TERMS,
            axes={**settings.cell.axes, "predictor": "transformer"},
            settings=settings.as_dict(),
            on_sphere=settings.cell.support == "sphere",
            built_with={"settings": settings},
        )

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check the backbone's name and the views before anything is built."""
        check_name(cfg.backbone.name)
        large, small = cfg.data.num_large_crops, cfg.data.num_small_crops
        if (large, small) != (1, 0):
            raise ValueError(
                f"augmentations: expected one view of an image for method=masked, got "
                f"{large + small}; set num_crops=1, or start from --config-name ijepa"
            )
        if cfg.get("resolution"):
            raise ValueError(
                "resolution: expected null for method=masked, as its masks are of the patches of "
                f"one size of image, got {list(cfg.resolution)}"
            )
        return cfg

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The host's groups and the predictor."""
        predictor = {"name": "predictor", "params": self.predictor.parameters()}
        return [*super().learnable_params, predictor]

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return the loss of the predicted blocks; see `finish_step`.

        "z" holds the mean latents of whole images and of their contexts.
        """
        indexes, crops, labels = batch
        images = crops if isinstance(crops, Tensor) else crops[0]
        if self.channels_last:
            images = images.to(memory_format=torch.channels_last)
        kept, targets = self.draw_masks(indexes, batch_idx)
        terms, whole, z = self.match(images, kept, targets)
        feats = self.backbone.forward_head(whole.detach())
        logits = self.classifier(feats) if self.classifier is not None else None
        out = {"feats": [feats], "loss": self._classifier_loss([logits], labels)}
        return finish_step(self, dict(zip(TERMS, terms, strict=True)), z, out, len(images))

    def draw_masks(self, indexes: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Draw the context and the targets of each image of a batch.

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
        """Predict the target blocks of images and compare with their latents.

        Args:
            images: (B, 3, H, W).
            kept: patches of the context (B, K).
            targets: patches of the target blocks (B, M, S).

        Returns:
            The loss and its terms; the backbone's tokens of whole images, without gradients where
            the loss does not need them; the mean latents (B, D) of whole images and of contexts.
        """
        with contextlib.nullcontext() if self.learns_whole else torch.no_grad():
            whole = encode(self.backbone, images)
        seen = patches_of(self.backbone, encode(self.backbone, images, kept))
        wanted = at_blocks(self._latents(self._target(images, whole)), targets).flatten(0, 2)
        predicted = self.predictor(seen, kept, targets).flatten(0, 2)
        latent = self.parts.latent
        z, of_context = (
            latent.project(self._normal(patches).mean(dim=1))
            for patches in (patches_of(self.backbone, whole), seen)
        )
        log_prob = latent.log_prob(latent.prediction(predicted), latent.project(wanted)).mean()
        with by_rows():
            entropy = self.parts.entropy.marginal(at_least_single(gather(z)))
        terms = LDMTerms(-log_prob - self.parts.weight * entropy, log_prob, entropy)
        return terms, whole, (z, of_context)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell the objective how far the training is."""
        super().on_train_batch_start(batch, batch_idx)
        self.parts.at(progress(self.trainer), self.trainer.global_step)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and move the target network after it."""
        super().optimizer_step(*args, **kwargs)
        if self.target is not None:
            self.target.update(self._averaged(), progress(self.trainer, steps_more=1))

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

    def _averaged(self) -> dict[str, torch.nn.Module]:
        return {"backbone": self.backbone}
