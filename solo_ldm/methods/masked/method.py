"""Masked modelling: an encoder of what is seen, a predictor, and targets for what is hidden."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from solo_ldm.distributed import by_rows, gather, smallest
from solo_ldm.methods.averaging import MovingAverage, progress
from solo_ldm.methods.base import BaseMethod, Description, finish_step
from solo_ldm.methods.ldm.method_kwargs import check_run
from solo_ldm.methods.ldm.settings import TERMS
from solo_ldm.methods.masked.predictor import BlockPredictor, LinearPredictor, at_blocks
from solo_ldm.methods.masked.settings import MaskedSettings, resolve
from solo_ldm.methods.masked.targets import normalised
from solo_ldm.methods.masked.tokens import (
    check_backbone,
    check_name,
    encode,
    encode_blocks,
    fix_positions,
    grid_of,
    patches_of,
)
from solo_ldm.numerics import at_least_single
from solo_ldm.objective import LDMTerms

# Of so many images one is seen as a whole where only the online classifier and the health need it:
# of all, that took a third of a step of MAE.
_WATCHED = 4


class Masked(BaseMethod):
    """Predict hidden patches of an image from the patches that are seen.

    The backbone encodes what is seen: hidden patches are left out, or a learned mask token stands
    for them. What is predicted is data (pixels, gradients, tokens of a codebook: `targets`), or the
    latents that the target network makes of the whole image. That is the backbone itself (target
    same or detached) or a moving average of it. Latents are the patches after the last
    normalisation of the network, or after several of its last blocks, each normalised over its
    dimensions once more. The features that are evaluated are the mean of the backbone's patches.

    A clip is an image whose channels are frames, for a backbone of clips (vit_video): its patches
    are tubelets, and what a mask hides of one frame it hides of all.

    Masks are a function of (seed, epoch, step, image): see `Masks`. All images of a step, in
    all processes, keep equally many patches of context: as many as the smallest context has.

    loss = −E[log p(t | c)] − w · H[q(z̄)]

    t is the target of a hidden patch, c the context, and z̄ the mean latent of all
    patches of an image, encoded as a whole by the backbone, on the support of the latent model. The
    entropy is not that of single patches: a network that only encodes their positions, which the
    predictor knows, would be at the optimum of both terms. The mean over all positions is then the
    same for all images. z̄ is also "z" in the health of a run.

    Targets that are data are samples of the empirical distribution: their entropy is no matter of
    the network, which nothing draws to a collapse, and H may be none.

    Args:
        cfg: the completed configuration.
        settings: what `settings` returned for it, if that was asked before.

    Raises:
        ValueError: in one line: a setting, a backbone or views that do not fit.

    Source:
        Assran et al., I-JEPA, arXiv 2301.08243; He et al., MAE, arXiv 2111.06377; Xie et al.,
        SimMIM, arXiv 2111.09886; Wei et al., MaskFeat, arXiv 2112.09133; Baevski et al., data2vec,
        arXiv 2202.03555; Bao et al., BEiT, arXiv 2106.08254; Bardes et al., V-JEPA, arXiv
        2404.08471.
    """

    def __init__(self, cfg: DictConfig, settings: MaskedSettings | None = None) -> None:
        super().__init__(cfg)
        settings = settings or self.settings(self.cfg)
        vit = check_backbone(self.backbone, cfg.backbone.name, cfg.data.image_size)
        grid = grid_of(vit)
        self.masks = settings.build_masks(grid)
        self.targets = settings.build_targets(vit)
        if settings.positions == "sincos":
            fix_positions(vit)
        self.normalise_patches = settings.normalise_patches
        # Latent model p of a patch, estimator H and weight w.
        self.parts = settings.cell.build_cell()
        num_outputs = self.parts.latent.prediction_dim(self.targets.dim)
        if settings.pred_depth:
            self.predictor = BlockPredictor(
                self.features_dim,
                num_outputs,
                grid,
                settings.pred_embed_dim,
                settings.pred_depth,
                settings.pred_num_heads,
            )
        else:
            self.predictor = LinearPredictor(self.features_dim, num_outputs)
        # What stands for a hidden patch in the encoder; None where it is left out.
        self.mask_token: torch.nn.Parameter | None = None
        if settings.hidden == "mask_token":
            self.mask_token = torch.nn.Parameter(torch.empty(self.features_dim))
            torch.nn.init.trunc_normal_(self.mask_token, std=0.02)
        self.target: MovingAverage | None = None
        if settings.cell.target == "moving_average":
            self.target = MovingAverage(
                self._averaged(), settings.cell.base_tau, settings.cell.final_tau
            )
        self.detach_target = settings.cell.target == "detached"
        # Whether gradients go through the backbone's view of whole images, and whether the loss
        # needs it at all, which the online classifier and the health of a run always do.
        self.learns_whole = settings.cell.target == "same" or settings.cell.entropy != "none"
        self.needs_whole = self.learns_whole or (settings.learned and self.detach_target)

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
            axes=settings.axes,
            settings=settings.as_dict(),
            on_sphere=settings.cell.support in ("sphere", "simplex"),
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
        """The host's groups, and the predictor with the mask token."""
        params = [*self.predictor.parameters()]
        if self.mask_token is not None:
            params.append(self.mask_token)
        predictor = {"name": "predictor", "params": params}
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
        out = {"feats": [feats], "loss": self._classifier_loss([logits], labels[: len(feats)])}
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
        """Predict the target blocks of images and compare with their targets.

        Args:
            images: (B, 3, H, W).
            kept: patches of the context (B, K).
            targets: patches of the target blocks (B, M, S).

        Returns:
            The loss and its terms; the backbone's tokens of whole images; the mean latents (W, D)
            of whole images and of contexts. Where the loss does not need whole images, they are
            the first W of the batch, without gradients.
        """
        watched = images if self.needs_whole else images[: -(-len(images) // _WATCHED)]
        with contextlib.nullcontext() if self.learns_whole else torch.no_grad():
            whole, outputs = encode_blocks(self.backbone, watched, self.targets.num_blocks)
        seen, places = self._see(images, kept)
        made = self.targets(images, self._target(images, outputs))
        wanted = at_blocks(made, targets).flatten(0, 2)
        predicted = self.predictor(seen, places, targets).flatten(0, 2)
        latent = self.parts.latent
        z, of_context = (
            latent.project(self._normal(patches).mean(dim=1))
            for patches in (patches_of(self.backbone, whole), seen[: len(whole)])
        )
        log_prob = latent.log_prob(latent.prediction(predicted), latent.project(wanted)).mean()
        with by_rows():
            entropy = self.parts.entropy.marginal(at_least_single(gather(z)))
        terms = LDMTerms(-log_prob - self.parts.weight * entropy, log_prob, entropy)
        return terms, whole, (z, of_context)

    def use_images(self, images: Any) -> None:
        """Check before anything is written that there are enough images for the targets."""
        self.targets.check_count(images.num_train_images)

    def on_fit_start(self) -> None:
        """Let the targets look at training images, where they need to."""

        def sample(most: int) -> Any:
            loaders: Any = self.trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
            return loaders.data.sample_dataloader(most)

        # A loader takes a random number, which a run that goes on does not.
        with torch.random.fork_rng(devices=[]):
            self.targets.prepare(sample, self.cfg.seed)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell the objective how far the training is."""
        super().on_train_batch_start(batch, batch_idx)
        self.parts.at(progress(self.trainer), self.trainer.global_step)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and move the target network after it."""
        super().optimizer_step(*args, **kwargs)
        if self.target is not None:
            self.target.update(self._averaged(), progress(self.trainer, steps_more=1))

    def _see(self, images: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return the backbone's patches of what is kept (B, K, D), and their places (B, K).

        With a mask token they are all patches.
        """
        tokens = encode(self.backbone, images, kept, self.mask_token)
        seen = patches_of(self.backbone, tokens)
        if self.mask_token is None:
            return seen, kept
        return seen, torch.arange(seen.shape[1], device=kept.device).expand(len(seen), -1)

    def _target(self, images: Tensor, outputs: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the target network's patches of whole images, K times (B, N, D).

        Args:
            images: (B, 3, H, W).
            outputs: those of the backbone.
        """
        if self.target is None:
            return [one.detach() for one in outputs] if self.detach_target else outputs
        average: Any = self.target.get_submodule("backbone")
        with torch.no_grad():
            return encode_blocks(average, images, self.targets.num_blocks)[1]

    def _normal(self, patches: Tensor) -> Tensor:
        return normalised(patches) if self.normalise_patches else patches

    def _averaged(self) -> dict[str, torch.nn.Module]:
        return {"backbone": self.backbone}
