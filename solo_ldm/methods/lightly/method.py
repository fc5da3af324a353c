"""One training loop for every recipe on lightly's losses and heads."""

from __future__ import annotations

import copy
from importlib.metadata import version
from typing import Annotated, Any, ClassVar

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_ldm.config.arguments import Bounds, check_keys, check_value
from solo_ldm.methods.base import OFF_THE_GRID, BaseMethod, Description, finish_step
from solo_ldm.methods.lightly.parts import Parts, Recipe, Views

# Bounds of settings other than "0 or more". Numbers whose names end in _dim count units: 1 or more.
_BOUNDS = {
    **dict.fromkeys(("alpha", "base_tau", "beta", "center_momentum"), Bounds(0, 1)),
    **dict.fromkeys(("final_tau", "lambda_param", "whitening_eps"), Bounds(0, 1)),
    **dict.fromkeys(("num_slices", "sigreg_num_vectors", "sk_iters", "whitening_iters"), Bounds(1)),
    **dict.fromkeys(("sigma", "sk_epsilon"), Bounds(above=0)),
    "num_prototypes": Bounds(2),
}

# `Recipe.crops` in words.
_CROPS = {
    "two": "two large crops and no small ones",
    "large": "two or more large crops and no small ones",
    "multi": "two large crops, and small ones or none",
}


class LightlyMethod(BaseMethod):
    """A backbone trained by a recipe; `solo_ldm.methods.lightly.find` gives the class of each.

    A moving average of backbone and projector, where a recipe has one, is updated after each step
    of the optimiser: θ̄ ← m θ̄ + (1 − m) θ, with m on lightly's cosine schedule from base_tau to
    final_tau over all steps of the training.

    Everything that a step leaves for the next (queues, centres, covariances, the moving average)
    is in state_dict.
    """

    name: ClassVar[str]
    recipe: ClassVar[Recipe]

    def __init__(self, cfg: DictConfig, settings: dict[str, Any] | None = None) -> None:
        super().__init__(cfg)
        settings = settings or self.settings(self.cfg)
        self.parts = Parts(self.recipe, self.features_dim, settings)
        self.average: nn.ModuleDict | None = None
        if "base_tau" in settings:
            self.average = self._copied(settings)

    @classmethod
    def settings(cls, cfg: DictConfig) -> dict[str, Any]:
        """Return the complete method_kwargs; base_tau and final_tau may also be in `momentum`.

        Raises:
            ValueError: in one line: an unknown key, a value of another type or out of its bounds,
                or a batch that does not fit.
        """
        defaults = cls.recipe.settings
        settings, size = dict(defaults), cfg.optimizer.batch_size
        taus = [key for key in defaults if key in ("base_tau", "final_tau")]
        for block, known in (("momentum", taus), ("method_kwargs", list(defaults))):
            given = cfg.get(block) or {}
            check_keys(block, given, known)
            for key, value in given.items():
                if value is not None:
                    check_value(f"{block}.{key}", value, _hint(key, defaults[key]))
                    settings[key] = float(value) if isinstance(defaults[key], float) else value
        if size < 2:
            raise ValueError(f"optimizer.batch_size: expected at least 2, got {size}")
        wrong = cls.recipe.check(settings, size) if cls.recipe.check else None
        if wrong:
            raise ValueError(wrong)
        return settings

    @classmethod
    def describe(cls, cfg: DictConfig) -> Description:
        """Describe the method; raises what `settings` raises."""
        settings = cls.settings(cfg)
        loss = {"loss": f"lightly.loss.{cls.recipe.loss}", "lightly": version("lightly")}
        return Description(
            headline=f"lightly's {cls.recipe.loss}",
            terms=("train_ssl_loss",),
            axes=OFF_THE_GRID,
            settings={**settings, **loss},
            on_sphere=cls.recipe.on_sphere,
            built_with={"settings": settings},
        )

    @classmethod
    def add_and_assert_specific_cfg(cls, cfg: DictConfig) -> DictConfig:
        """Check the crops before anything is built."""
        large, small = cfg.data.num_large_crops, cfg.data.num_small_crops
        needed = cls.recipe.crops
        if large < 2 or (large > 2 and needed != "large") or (small and needed != "multi"):
            raise ValueError(
                f"augmentations: expected {_CROPS[needed]} for lightly/{cls.name}, got {large} "
                f"large and {small} small; change num_crops"
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
        """Return lightly's loss; see `finish_step`."""
        out = super().training_step(batch, batch_idx)
        z = [self.parts.projector(feats) for feats in out["feats"]]
        views = Views(
            z=z,
            num_large=self.num_large_crops,
            target=lambda index: self._target(batch[1][index]),
            epoch=self.current_epoch,
        )
        loss = self.recipe.compare(self.parts, views)
        if self.recipe.on_sphere:
            z = [nn.functional.normalize(one.detach(), dim=1) for one in z]
        return finish_step(self, {"train_ssl_loss": loss}, z, out, len(batch[0]))

    def on_after_backward(self) -> None:
        """Keep fixed what a recipe does not train in the first epochs."""
        super().on_after_backward()
        if self.recipe.after_backward is not None:
            self.recipe.after_backward(self.parts, self.current_epoch)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and update the moving average after it."""
        super().optimizer_step(*args, **kwargs)
        steps = int(self.trainer.estimated_stepping_batches)
        self.move_average(self.trainer.global_step + 1, steps)

    def move_average(self, step: int, num_steps: int) -> None:
        """Update the moving average, if there is one.

        Args:
            step: steps that the optimiser has made.
            num_steps: steps of the whole training.
        """
        if self.average is None:
            return
        settings = self.parts.settings
        m = cosine_schedule(step, num_steps, settings["base_tau"], settings["final_tau"])
        update_momentum(self.backbone, self.average["backbone"], m)
        update_momentum(self.parts.projector, self.average["projector"], m)

    def _copied(self, settings: dict[str, Any]) -> nn.ModuleDict:
        backbone = copy.deepcopy(self.backbone)
        if self.cfg.performance.compile:
            backbone.compile()
        # Built and loaded: torch cannot copy layers with normalised weights, as DINO's last one.
        projector = self.recipe.build_projector(self.features_dim, settings)
        projector.load_state_dict(self.parts.projector.state_dict())
        average = nn.ModuleDict({"backbone": backbone, "projector": projector})
        deactivate_requires_grad(average)
        return average

    @torch.no_grad()
    def _target(self, crop: Tensor) -> Tensor:
        if self.average is None:
            raise ValueError(f"lightly/{self.name} has no moving average (no base_tau)")
        if self.channels_last:
            crop = crop.to(memory_format=torch.channels_last)
        return self.average["projector"](self.average["backbone"](crop))


def _hint(key: str, default: Any) -> Any:
    """Return the type of a setting with its bounds."""
    if isinstance(default, bool):
        return bool
    # Without a queue SwAV is itself; the others that have one are nothing.
    counts = key.endswith("_dim") or (key == "queue_size" and default > 0)
    bounds = Bounds(above=0) if key.endswith("temperature") else Bounds(1 if counts else 0)
    return Annotated[type(default), _BOUNDS.get(key, bounds)]
