"""Latent distribution matching as a method: one body for every host and every latent model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from solo_ldm.distributed import gather
from solo_ldm.latents import Support
from solo_ldm.objective import LDMTerms
from solo_ldm.settings import LDMSettings, resolve

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from solo_ldm.methods.base import BaseMethod as _Host
else:
    _Host = object


class LDMBody(_Host):
    """Projector, objective and training step, to be combined with a host's BaseMethod.

    `class GaussProb(GaussProbBody, BaseMethod)` trains on our host; the same body with
    solo-learn's BaseMethod trains there. Only hooks and attributes that both share are used:
    cfg, features_dim, learnable_params, forward, multicrop_forward, training_step, log_dict.
    """

    support: ClassVar[Support]

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        settings = self.settings(self.cfg)
        self.objective = settings.build_objective()
        self.projector = nn.Sequential(
            nn.Linear(self.features_dim, settings.proj_hidden_dim),
            *([nn.BatchNorm1d(settings.proj_hidden_dim)] if settings.proj_batch_norm else []),
            nn.ReLU(),
            nn.Linear(settings.proj_hidden_dim, settings.proj_output_dim),
        )
        self.predictor: nn.Module | None = None
        if settings.predictor == "linear":
            self.predictor = nn.Linear(settings.proj_output_dim, settings.proj_output_dim)

    @classmethod
    def settings(cls, cfg: DictConfig) -> LDMSettings:
        """Return the cell of the grid that a configuration names.

        Raises:
            ValueError: see `solo_ldm.settings.resolve`.
        """
        return resolve(cfg.method_kwargs, cls.support)

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check method_kwargs, and that a batch holds the samples the estimator needs.

        Raises:
            ValueError: in one line, what was expected and how to mend it.
        """
        cfg = super().add_and_assert_specific_cfg(cfg)
        settings = cls.settings(cfg)
        fewest = settings.build_objective().entropy.fewest_samples
        if cfg.optimizer.batch_size < fewest:
            raise ValueError(
                f"optimizer.batch_size={cfg.optimizer.batch_size} is too small: entropy="
                f"{settings.entropy} needs at least {fewest} samples; raise optimizer.batch_size"
                + (" or lower method_kwargs.num_neighbours" if fewest > 2 else "")
            )
        return cfg

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The host's groups, the projector and, if there is one, the predictor."""
        extra: list[dict[str, Any]] = [{"name": "projector", "params": self.projector.parameters()}]
        if self.predictor is not None:
            extra.append({"name": "predictor", "params": self.predictor.parameters()})
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
        terms = self.match(out["z"])
        class_loss = out["loss"]
        logged = {
            "train_ldm_loss": terms.loss.detach(),
            "train_log_prob": terms.log_prob.detach(),
            "train_entropy": terms.entropy.detach(),
        }
        self.log_dict(
            logged, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch[0])
        )
        return {
            "loss": terms.loss + class_loss,
            "terms": {**logged, "train_class_loss": class_loss.detach()},
            "z": [z.detach() for z in out["z"]],
            "feats": [feats.detach() for feats in out["feats"]],
        }

    def match(self, views: list[Tensor]) -> LDMTerms:
        """Gather the latents of all processes once and average the objective over pairs of views.

        Args:
            views: latents of each crop (B, D), large crops first. Each pair holds at least one
                large crop; with two crops there is one pair.
        """
        gathered = gather(torch.stack(views, dim=1)).unbind(dim=1)
        predictions = [self._predict(z) for z in gathered]
        pairs = [
            self.objective(
                gathered[i],
                gathered[j],
                None if self.predictor is None else (predictions[i], predictions[j]),
            )
            for i in range(self.num_large_crops)
            for j in range(i + 1, len(gathered))
        ]
        return LDMTerms(*(torch.stack(term).mean() for term in zip(*pairs, strict=True)))

    def _predict(self, z: Tensor) -> Tensor:
        return z if self.predictor is None else self.objective.latent.project(self.predictor(z))
