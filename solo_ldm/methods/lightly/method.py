"""One training loop for every recipe on lightly's losses and heads."""

from __future__ import annotations

import copy
from importlib.metadata import version
from typing import Any, ClassVar

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_ldm.methods.base import BaseMethod, Description
from solo_ldm.methods.lightly.parts import Parts, Recipe, Views, without_advice
from solo_ldm.methods.lightly.settings import resolve

# What a crop selection of a recipe asks for, in words.
_CROPS = {
    "two": "two large crops and no small ones",
    "large": "two or more large crops and no small ones",
    "multi": "two large crops, and small ones or none",
}


class LightlyMethod(BaseMethod):
    """A backbone trained by a recipe; `solo_ldm.methods.lightly.find` gives the class of each.

    A moving average of backbone and projector, where a recipe has one, moves after each step of
    the optimiser: θ̄ ← m θ̄ + (1 − m) θ, with m on lightly's cosine schedule from base_tau to
    final_tau over all steps of the training.

    Everything that a step leaves for the next (queues, centres, covariances, the moving average)
    is in state_dict.
    """

    name: ClassVar[str]
    recipe: ClassVar[Recipe]

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        settings = self.settings(self.cfg)
        self.parts = Parts(self.recipe, self.features_dim, settings)
        self.average: nn.ModuleDict | None = None
        self.taus: tuple[float, float] | None = None
        if "base_tau" in settings:
            self.taus = (settings["base_tau"], settings["final_tau"])
            self.average = self._copied(settings)
        self._averaged_step = 0

    @classmethod
    def settings(cls, cfg: DictConfig) -> dict[str, Any]:
        """Return the complete method_kwargs.

        Raises:
            ValueError: see `solo_ldm.methods.lightly.settings.resolve`.
        """
        return resolve(cls.name, cls.recipe, cfg.method_kwargs, cfg.get("momentum") or {})

    @classmethod
    def describe(cls, cfg: DictConfig) -> Description:
        """Say what the method is.

        Raises:
            ValueError: see `solo_ldm.methods.lightly.settings.resolve`.
        """
        return Description(
            headline=f"lightly's {cls.recipe.loss}",
            terms=("train_ssl_loss",),
            axes=dict.fromkeys(("latent", "entropy", "over", "predictor", "target")),
            settings={
                **cls.settings(cfg),
                "loss": f"lightly.loss.{cls.recipe.loss}",
                "lightly": version("lightly"),
            },
            on_sphere=cls.recipe.on_sphere,
        )

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check method_kwargs, the batch and the crops.

        Raises:
            ValueError: in one line, what was expected and how to mend it.
        """
        cfg = super().add_and_assert_specific_cfg(cfg)
        settings, size = cls.settings(cfg), cfg.optimizer.batch_size
        if size < 2:
            raise ValueError(f"optimizer.batch_size={size} is too small: raise it to 2 or more")
        wrong = cls.recipe.check(settings, size) if cls.recipe.check else None
        if wrong:
            raise ValueError(wrong)
        large, small = cfg.data.num_large_crops, cfg.data.num_small_crops
        needed = cls.recipe.crops
        if large < 2 or (large > 2 and needed != "large") or (small and needed != "multi"):
            raise ValueError(
                f"lightly/{cls.name} takes {_CROPS[needed]}; the augmentations make {large} large "
                f"and {small} small: change num_crops in augmentations"
            )
        return cfg

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The host's groups, the projector and, if there are any, predictor and prototypes."""
        heads = {
            "projector": self.parts.projector,
            "predictor": self.parts.predictor,
            "prototypes": self.parts.prototypes,
        }
        extra: list[dict[str, Any]] = []
        for name, head in heads.items():
            learned = [] if head is None else [p for p in head.parameters() if p.requires_grad]
            extra += [{"name": name, "params": learned}] if learned else []
        return super().learnable_params + extra

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return {"loss"} for the optimiser, with detached "terms", "z" and "feats" for callbacks.

        The loss is lightly's plus the online classifier's.
        """
        out = super().training_step(batch, batch_idx)
        projections = [self.parts.projector(feats) for feats in out["feats"]]
        views = Views(
            z=projections,
            num_large=self.num_large_crops,
            target=lambda index: self._target(batch[1][index]),
            epoch=self.current_epoch,
        )
        loss = self.recipe.compare(self.parts, views)
        logged = {"train_ssl_loss": loss.detach()}
        self.log_dict(
            logged, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch[0])
        )
        detached = [z.detach() for z in projections]
        if self.recipe.on_sphere:
            detached = [nn.functional.normalize(z, dim=1) for z in detached]
        return {
            "loss": loss + out["loss"],
            "terms": {**logged, "train_class_loss": out["loss"].detach()},
            "z": detached,
            "feats": [feats.detach() for feats in out["feats"]],
        }

    def on_after_backward(self) -> None:
        """Keep what a recipe holds still in the first epochs from moving."""
        super().on_after_backward()
        if self.recipe.after_backward is not None:
            self.recipe.after_backward(self.parts, self.current_epoch)

    def on_train_start(self) -> None:
        """Note the step that training starts or continues from."""
        super().on_train_start()
        self._averaged_step = self.trainer.global_step

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the average, once a step of the optimiser."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        step = self.trainer.global_step
        if self.average is not None and step > self._averaged_step:
            self.move_average(step, int(self.trainer.estimated_stepping_batches))
            self._averaged_step = step

    def move_average(self, step: int, num_steps: int) -> None:
        """Move the average towards the network.

        Args:
            step: how many steps the optimiser has made.
            num_steps: how many it will make in all.
        """
        if self.average is None or self.taus is None:
            return
        m = cosine_schedule(step, num_steps, *self.taus)
        update_momentum(self.backbone, self.average["backbone"], m)
        update_momentum(self.parts.projector, self.average["projector"], m)

    def _copied(self, settings: dict[str, Any]) -> nn.ModuleDict:
        backbone = copy.deepcopy(self.backbone)
        if self.cfg.performance.compile:
            backbone.compile()
        # Built and filled rather than copied: torch copies no layer with normalised weights, as
        # DINO's last one is.
        with without_advice():
            projector = self.recipe.projector(self.features_dim, settings)
        projector.load_state_dict(self.parts.projector.state_dict())
        average = nn.ModuleDict({"backbone": backbone, "projector": projector})
        deactivate_requires_grad(average)
        return average

    @torch.no_grad()
    def _target(self, crop: Tensor) -> Tensor:
        if self.average is None:
            raise ValueError(f"lightly/{self.name} has no moving average: base_tau is no setting")
        if self.channels_last:
            crop = crop.to(memory_format=torch.channels_last)
        return self.average["projector"](self.average["backbone"](crop))
