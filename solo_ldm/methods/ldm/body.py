"""Latent distribution matching as a method: one body for every host and every latent model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from solo_ldm.distributed import gather
from solo_ldm.methods.base import BaseMethod, Description
from solo_ldm.methods.ldm.direct import DirectPredictor
from solo_ldm.methods.ldm.heads import MovingAverage, perceptron
from solo_ldm.methods.ldm.method_kwargs import resolve
from solo_ldm.methods.ldm.settings import LDMSettings
from solo_ldm.methods.ldm.whitening import Whitening
from solo_ldm.objective import LDMTerms

if TYPE_CHECKING:
    from omegaconf import DictConfig

    _Host = BaseMethod
else:
    _Host = object


class LDMBody(_Host):
    """Projector, predictor, target and objective, to be combined with a host's BaseMethod.

    `class GaussProb(GaussProbBody, BaseMethod)` trains on our host; the same body with
    solo-learn's BaseMethod trains there. Only hooks and attributes that both share are used:
    cfg, backbone, features_dim, learnable_params, forward, multicrop_forward, training_step,
    log_dict, and Lightning's own.
    """

    latent: ClassVar[str | None] = None

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        settings = self.settings(self.cfg)
        self.objective = settings.build_objective()
        self.detach_target = settings.target == "detached"
        dim = settings.proj_output_dim
        self.projector = perceptron(
            self.features_dim,
            settings.proj_hidden_dim,
            dim,
            settings.proj_layers,
            settings.proj_batch_norm,
            settings.proj_output_batch_norm and not settings.proj_output_whitening,
        )
        if settings.proj_output_whitening:
            self.projector.append(Whitening(dim))
        num_predicted = self.objective.latent.prediction_dim(dim)
        self.predictor: nn.Module | None = None
        if settings.predictor == "linear":
            self.predictor = nn.Linear(dim, num_predicted)
        elif settings.predictor == "mlp":
            self.predictor = perceptron(
                dim, settings.pred_hidden_dim, num_predicted, batch_norm=settings.pred_batch_norm
            )
        elif settings.predictor == "direct":
            self.predictor = DirectPredictor(dim, settings.direct_momentum, settings.direct_ridge)
        self.target: MovingAverage | None = None
        if settings.target == "moving_average":
            self.target = MovingAverage(self._averaged(), settings.base_tau, settings.final_tau)

    @classmethod
    def settings(cls, cfg: DictConfig) -> LDMSettings:
        """Return the cell of the grid that a configuration names.

        Raises:
            ValueError: see `solo_ldm.methods.ldm.method_kwargs.resolve`.
        """
        if cfg.get("momentum"):
            raise ValueError(
                "momentum is read by methods of solo-learn and lightly; this one takes "
                "method_kwargs.target=moving_average, method_kwargs.base_tau and final_tau"
            )
        return resolve(cfg.method_kwargs, cls.latent)

    @classmethod
    def describe(cls, cfg: DictConfig) -> Description:
        """Say what the method is.

        Raises:
            ValueError: see `solo_ldm.methods.ldm.method_kwargs.resolve`.
        """
        settings = cls.settings(cfg)
        return Description(
            headline=settings.headline,
            terms=("train_ldm_loss", "train_log_prob", "train_entropy"),
            axes={
                "latent": settings.latent,
                "entropy": settings.entropy,
                "over": None if settings.entropy == "none" else settings.over,
                "predictor": settings.predictor,
                "target": settings.target,
            },
            settings=asdict(settings),
            on_sphere=settings.support in ("sphere", "simplex"),
        )

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check method_kwargs, and that a batch holds the samples the estimator needs.

        Raises:
            ValueError: in one line, what was expected and how to mend it.
        """
        cfg = super().add_and_assert_specific_cfg(cfg)
        settings = cls.settings(cfg)
        fewest = settings.build_objective().fewest_samples
        if cfg.optimizer.batch_size < fewest:
            raise ValueError(
                f"optimizer.batch_size={cfg.optimizer.batch_size} is too small: entropy="
                f"{settings.entropy} needs at least {fewest} samples; raise optimizer.batch_size"
                + (" or lower method_kwargs.num_neighbours" if fewest > 2 else "")
            )
        dim = settings.proj_output_dim
        if settings.proj_output_whitening and cfg.optimizer.batch_size <= dim:
            raise ValueError(
                f"optimizer.batch_size={cfg.optimizer.batch_size} is too small to whiten {dim} "
                "dimensions: raise it above that, or lower method_kwargs.proj_output_dim"
            )
        return cfg

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The host's groups, the projector and, if there is one that learns, the predictor."""
        extra: list[dict[str, Any]] = [{"name": "projector", "params": self.projector.parameters()}]
        learned = [] if self.predictor is None else list(self.predictor.parameters())
        if learned:
            extra.append({"name": "predictor", "params": learned})
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
        """Return {"loss"} for the optimiser, with detached "terms", "z" and "feats" for callbacks.

        The loss is the objective's, over the samples of all processes, plus the online
        classifier's.
        """
        out = super().training_step(batch, batch_idx)
        terms = self.match(out["z"], self.targets(batch[1], out["z"]))
        class_loss = out["loss"]
        logged = {
            "train_ldm_loss": terms.loss.detach(),
            "train_log_prob": terms.log_prob.detach(),
            "train_entropy": terms.entropy.detach(),
        }
        schedule = self.objective.latent.schedule(out["z"][0].shape[1])
        moved = {f"train_{name}": value for name, value in schedule.items()}
        self.log_dict(
            {**logged, **moved},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=len(batch[0]),
        )
        return {
            "loss": terms.loss + class_loss,
            "terms": {**logged, "train_class_loss": class_loss.detach()},
            "z": [z.detach() for z in out["z"]],
            "feats": [feats.detach() for feats in out["feats"]],
        }

    def on_train_start(self) -> None:
        """Note the step that training starts or continues from."""
        super().on_train_start()
        self._averaged_step = self.trainer.global_step

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell the objective how far the training is."""
        super().on_train_batch_start(batch, batch_idx)
        self.objective.at(self._progress(), self.trainer.global_step)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the target network, once a step of the optimiser."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        step = self.trainer.global_step
        if self.target is not None and step > self._averaged_step:
            self.target.update(self._averaged(), self._progress())
            self._averaged_step = step

    def match(self, views: list[Tensor], targets: list[Tensor] | None = None) -> LDMTerms:
        """Gather the latents of all processes once and average the objective over pairs of views.

        Args:
            views: latents of each crop (B, D), large crops first. Each pair holds at least one
                large crop; with two crops there is one pair.
            targets: what is predicted of each crop (B, D); the views themselves if not given.
        """
        gathered = gather(torch.stack(views, dim=1)).unbind(dim=1)
        aims = None if targets is None else gather(torch.stack(targets, dim=1)).unbind(dim=1)
        predictions = [self._predict(z) for z in gathered]
        pairs = [
            self.objective(
                gathered[i],
                gathered[j],
                None if self.predictor is None else (predictions[i], predictions[j]),
                None if aims is None else (aims[i], aims[j]),
            )
            for i in range(self.num_large_crops)
            for j in range(i + 1, len(gathered))
        ]
        return LDMTerms(*(torch.stack(term).mean() for term in zip(*pairs, strict=True)))

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

    def _progress(self) -> float:
        return self.trainer.global_step / max(1, self.trainer.estimated_stepping_batches)

    def _averaged(self) -> dict[str, nn.Module]:
        return {"backbone": self.backbone, "projector": self.projector}

    def _predict(self, z: Tensor) -> Tensor:
        return z if self.predictor is None else self.objective.latent.prediction(self.predictor(z))


class LDM(LDMBody, BaseMethod):
    """Any cell of the grid on our host; `method_kwargs.latent` names the latent model."""
