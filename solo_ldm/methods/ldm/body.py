"""Latent distribution matching of views: one body for every latent model, on any host."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from solo_ldm.distributed import by_rows, gather
from solo_ldm.methods.averaging import MovingAverage, progress
from solo_ldm.methods.base import BaseMethod, Description, finish_step
from solo_ldm.methods.ldm.chunks import Chunks
from solo_ldm.methods.ldm.equivariance import equivariance_of
from solo_ldm.methods.ldm.heads import predictor_of, projector_of
from solo_ldm.methods.ldm.method_kwargs import check_run, resolve
from solo_ldm.methods.ldm.settings import EQUIVARIANCE, TERMS, LDMSettings
from solo_ldm.objective import LDMTerms

if TYPE_CHECKING:
    from omegaconf import DictConfig

    _Host = BaseMethod
else:
    _Host = object


class LDMBody(_Host):
    """Projector, predictor, target and objective, to be combined with a host's BaseMethod.

    `class LDM(LDMBody, BaseMethod)` trains here, the same body with solo-learn's BaseMethod there.
    Only hooks and attributes that both have are used (see `solo_ldm.methods.base.BaseMethod`).
    """

    latent: ClassVar[str | None] = None  # of a method that has but one
    takes_chunks: ClassVar[bool] = True  # statistics: whole

    def __init__(self, cfg: DictConfig, settings: LDMSettings | None = None) -> None:
        super().__init__(cfg)
        settings = settings or self.settings(self.cfg)
        self.objective = settings.build_objective()
        self.detach_target = settings.target == "detached"
        self.projector = projector_of(settings, self.features_dim)
        num_predicted = self.objective.latent.prediction_dim(settings.proj_output_dim)
        self.predictor: nn.Module | None = predictor_of(settings, num_predicted)
        self.target: MovingAverage | None = None
        if settings.target == "moving_average":
            self.target = MovingAverage(self._averaged(), settings.base_tau, settings.final_tau)
        self.equivariance = equivariance_of(settings, self.cfg, self.backbone)
        whole = self.cfg.get("statistics") == "whole" and self.cfg.accumulate_grad_batches > 1
        self.chunks = Chunks(self.cfg.accumulate_grad_batches) if whole else None

    @classmethod
    def settings(cls, cfg: DictConfig) -> LDMSettings:
        """Return the cell of the grid that a configuration names.

        Raises:
            ValueError: see `resolve` and `check_run` in `solo_ldm.methods.ldm.method_kwargs`.
        """
        settings = resolve(cfg.method_kwargs, cls.latent)
        check_run(cfg, settings)
        return settings

    @classmethod
    def describe(cls, cfg: DictConfig) -> Description:
        """Describe the method; raises what `settings` raises."""
        settings = cls.settings(cfg)
        return Description(
            headline=settings.headline,
            terms=settings.terms,
            axes=settings.axes,
            settings=asdict(settings),
            on_sphere=settings.support in ("sphere", "simplex"),
            built_with={"settings": settings},
        )

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The host's groups, the projector and what else there is to learn."""
        extra: list[dict[str, Any]] = [{"name": "projector", "params": self.projector.parameters()}]
        learned = [] if self.predictor is None else list(self.predictor.parameters())
        if learned:
            extra.append({"name": "predictor", "params": learned})
        if self.equivariance is not None:
            extra.append({"name": "equivariance", "params": self.equivariance.parameters()})
        if own := list(self.objective.parameters()):
            extra.append({"name": "objective", "params": own, "weight_decay": 0.0})
        return super().learnable_params + extra

    def forward(self, X: Tensor) -> dict[str, Any]:  # noqa: N803
        """Return the host's outputs and "z" (B, D), latents on the support of the model."""
        out = super().forward(X)
        return {**out, "z": self.objective.latent.project(self.projector(out["feats"]))}

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:  # noqa: N803
        """Return the host's outputs for small crops and their latents "z" (B, D)."""
        out = super().multicrop_forward(X)
        return {**out, "z": self.objective.latent.project(self.projector(out["feats"]))}

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return the objective over the samples of all processes; see `finish_step`.

        With statistics "whole", it is over the samples of all chunks of the optimiser's step; a
        step before the last chunk has no terms.
        """
        encode = partial(super().training_step, batch_idx=batch_idx)
        whole = None
        if self.chunks is None:
            out = encode(batch)
            views = out["z"]
            terms = self.match(views, self.targets(batch[1], views))
        else:
            nothing = self.chunks.keep(self, batch)
            if not self.chunks.ends(self.trainer, batch_idx):
                return nothing
            terms, views, out, whole = self.chunks.finish(self, encode)
        schedule = self.objective.latent.schedule(views[0].shape[1])
        moved = {f"train_{name}": value for name, value in schedule.items()}
        logged = dict(zip(TERMS, terms, strict=True))
        if self.equivariance is not None:
            crops = [batch[1]] if isinstance(batch[1], Tensor) else batch[1]
            more = self.equivariance.of_step(self, crops, batch_idx)
            logged[TERMS[0]] = terms.loss + self.equivariance.weight * more.loss
            logged[EQUIVARIANCE] = more.loss
            moved[f"{EQUIVARIANCE}_cosine"] = more.log_prob.detach() / self.equivariance.precision
        step = finish_step(self, logged, views, out, len(views[0]), moved)
        return step if whole is None else {**step, "loss": whole}

    def latents(self, crops: list[Tensor]) -> list[Tensor]:
        """Return the latents (B, D) of each crop (B, 3, H, W), large crops first."""
        large, small = crops[: self.num_large_crops], crops[self.num_large_crops :]
        out = [*map(self, large), *map(self.multicrop_forward, small)]
        return [one["z"] for one in out]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell the objective how far the training is."""
        super().on_train_batch_start(batch, batch_idx)
        self.objective.at(progress(self.trainer), self.trainer.global_step)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and move the target network after it."""
        super().optimizer_step(*args, **kwargs)
        if self.target is not None:
            self.target.update(self._averaged(), progress(self.trainer, steps_more=1))

    def match(
        self, views: list[Tensor], targets: list[Tensor] | None = None, gathered: bool = True
    ) -> LDMTerms:
        """Gather the latents of all processes once and average the objective over pairs of views.

        In training the latent model observes them first; see `LatentModel.observe`. The cost is
        linear in the views where the mathematics allows; see `LDMObjective.of_views`.

        Args:
            views: latents of each crop (B, D), large crops first. Each pair has at least one large
                crop; with two crops there is one pair.
            targets: what is predicted of each crop (B, D); the views themselves if not given.
            gathered: whether the samples of all processes are used; all must then take part.
        """
        if gathered:
            views = list(gather(torch.stack(views, dim=1)).unbind(dim=1))
            if targets is not None:
                targets = list(gather(torch.stack(targets, dim=1)).unbind(dim=1))
        if gathered and self.objective.training:
            self.objective.latent.observe(views)
        predictions = None
        if self.predictor is not None:
            predictions = [self.objective.latent.prediction(self.predictor(z)) for z in views]
        with by_rows() if gathered else nullcontext():
            return self.objective.of_views(views, self.num_large_crops, predictions, targets)

    def targets(self, crops: Any, views: list[Tensor]) -> list[Tensor] | None:
        """Return what is to be predicted of each crop (B, D), without gradients.

        Args:
            crops: the images, large crops first.
            views: latents of each crop (B, D).

        Returns:
            One entry a crop; None where the views predict each other as they are.
        """
        if self.detach_target:
            return [z.detach() for z in views]
        if self.target is None:
            return None
        crops = [crops] if isinstance(crops, Tensor) else crops
        return [self.objective.latent.project(self.target(crop)) for crop in crops]

    def _averaged(self) -> dict[str, nn.Module]:
        return {"backbone": self.backbone, "projector": self.projector}


class LDM(LDMBody, BaseMethod):
    """Any cell of the grid; `method_kwargs.latent` names the latent model."""

    def use_images(self, images: Any) -> None:
        """Check before anything is written that there are views to match.

        Raises:
            ValueError: in one line: there is one.
        """
        if images.num_large_crops + images.num_small_crops < 2:
            raise ValueError(
                f"augmentations: expected two views of an image or more for "
                f"method={self.cfg.method}, got 1; raise num_crops"
            )


class GaussProb(LDM):
    """Latents matched to a Gaussian on the plane; see `solo_ldm.latents.GaussianPlane`."""

    latent = "plane"


class SphereProb(LDM):
    """Latents matched to a von Mises–Fisher distribution; see `VonMisesFisherSphere`."""

    latent = "sphere"
