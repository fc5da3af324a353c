"""Methods of solo-learn as methods of ours: our backbone, optimiser, records and resume."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from solo_ldm.config.arguments import Bounds, check_keys, check_value
from solo_ldm.integrations.recipes import RECIPES, default_settings
from solo_ldm.methods.base import OFF_THE_GRID, Description
from solo_ldm.optim.optimizers import configured_optimizer

if TYPE_CHECKING:
    _Theirs: Any = pl.LightningModule
else:
    _Theirs = object

# Buffers that solo-learn only creates when training starts: a new module has none to load into.
_LATE_BUFFERS = ("queue", "local_memory_index", "local_memory_embeddings")

# Attention heads of solo-learn's MAE; timm's small vision transformers have fewer.
_TIMM_HEADS = {"vit_tiny": 3, "vit_small": 6}
_MAE_HEADS = {"vit_tiny": 12, "vit_small": 12, "vit_base": 12, "vit_large": 16}


def private_name(backbone: str) -> str:
    """Return the name in solo-learn of a backbone of ours; it changes ResNets of its own names."""
    return f"solo_ldm_{backbone}"


class NoClassifier(nn.Module):
    """The online classifier where there are no labels: it has no weights."""

    def forward(self, feats: Tensor) -> Tensor:
        """Return zeros (B, 1)."""
        return feats.new_zeros(len(feats), 1)


class PartlyLabelled(_Theirs):
    """The online classifier's loss where some or all images have no label (−1).

    solo-learn's is the mean over labelled images, which is NaN when there are none.
    """

    def base_training_step(self, X: Tensor, targets: Tensor) -> dict[str, Any]:  # noqa: N803
        """Return what solo-learn's returns, the loss 0 for a batch without labels."""
        out = super().base_training_step(X, targets)
        count = (targets != -1).sum().clamp_min(1)
        total = F.cross_entropy(out["logits"], targets, ignore_index=-1, reduction="sum")
        return {**out, "loss": total / count}


class HostedMethod(_Theirs):
    """What makes a class of solo-learn fulfil the contract of `solo_ldm.methods.base.BaseMethod`.

    The loss and the heads are solo-learn's. Backbone, optimiser and schedule are ours, so that
    methods differ in nothing else. solo-learn logs accuracies in per cent at each step; here they
    are shares, once an epoch.
    """

    solo_name: ClassVar[str]
    add_backbone: ClassVar[Callable[[str, int], None]]

    def __init__(self, cfg: DictConfig, settings: dict[str, Any] | None = None) -> None:
        self._check_data(cfg)
        completed = OmegaConf.create(OmegaConf.to_container(cfg))
        completed.method = self.solo_name
        completed.method_kwargs = settings or _settings(self.solo_name, cfg)
        if RECIPES[self.solo_name].momentum is not None:
            completed.momentum = _momentum(self.solo_name, cfg)
        completed.data.num_classes = max(1, cfg.data.num_classes)
        if self.solo_name != "mae":
            name = private_name(cfg.backbone.name)
            type(self).add_backbone(name, cfg.data.image_size)
            ours = {"name": cfg.backbone.name, "image_size": cfg.data.image_size}
            completed.backbone = {"name": name, "kwargs": {**cfg.backbone.kwargs, **ours}}
        else:
            own = {key: value for key, value in cfg.backbone.kwargs.items() if key != "num_heads"}
            completed.backbone.kwargs = {"img_size": cfg.data.image_size, **own}
        super().__init__(completed)  # pyright: ignore[reportCallIssue]
        if not cfg.data.num_classes:
            self.classifier = NoClassifier()
        self._captured: list[dict[str, Any]] = []
        self._late: dict[str, Tensor] = {}
        if not cfg.performance.disable_channel_last:
            self.to(memory_format=torch.channels_last)
        if cfg.performance.compile:
            self.backbone.compile()

    @classmethod
    def describe(cls, cfg: DictConfig) -> Description:
        """Describe the method.

        Raises:
            ValueError: in one line: an unknown key, or a value that cannot work.
        """
        settings = _settings(cls.solo_name, cfg)
        _momentum(cls.solo_name, cfg)
        _check_batch(cls.solo_name, settings, cfg)
        if cls.solo_name == "mae":
            _check_mae(cfg)
        return Description(
            headline=f"solo-learn's {cls.solo_name}",
            terms=("train_ssl_loss",),
            axes=OFF_THE_GRID,
            settings=settings,
            on_sphere=RECIPES[cls.solo_name].on_sphere,
            built_with={"settings": settings},
        )

    def use_images(self, images: Any) -> None:
        """Take nothing: batches hold all that solo-learn's methods learn from."""

    def _check_data(self, cfg: DictConfig) -> None:
        name = f"method=solo/{self.solo_name}"
        if cfg.data.num_large_crops != 2 and self.solo_name not in ("wmse", "mae"):
            raise ValueError(
                f"augmentations: expected two large crops for {name}, got "
                f"{cfg.data.num_large_crops}"
            )
        if cfg.data.num_small_crops and "multicrop_forward" not in vars(type(self).__bases__[-1]):
            raise ValueError(f"augmentations: expected one crop_size for {name}, got small crops")
        if self.solo_name == "supcon" and not cfg.data.num_classes:
            raise ValueError(f"data: expected labels for {name}, got none")

    def configure_optimizers(self) -> Any:
        """Return our optimiser and schedule for solo-learn's parameter groups."""
        groups = [{"name": "other", **group} for group in self.learnable_params]
        return configured_optimizer(self, groups, self.lr, self.cfg.accumulate_grad_batches)

    def base_training_step(self, X: Tensor, targets: Tensor) -> dict[str, Any]:  # noqa: N803
        """Keep the outputs of a crop."""
        out = super().base_training_step(X, targets)
        self._captured.append(out)
        return out

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:  # noqa: N803
        """Keep the outputs of a small crop."""
        out = super().multicrop_forward(X)
        self._captured.append(out)
        return out

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return solo-learn's loss, and detached "terms", "z" and "feats" for callbacks."""
        self._captured = []
        total = super().training_step(batch, batch_idx)
        crops, self._captured = self._captured, []
        classes: Any = sum(one["loss"] for one in crops if "loss" in one) / self.num_large_crops
        if self.solo_name == "deepclusterv2" and self.current_epoch == 0:
            # Nothing is assigned to a cluster yet: solo-learn's mean over nothing is NaN.
            total = classes + 0.0 * sum(one["z"].sum() for one in crops)
        class_loss = classes.detach()
        ssl_loss = total.detach() - class_loss
        latents = [one.get("z", one["feats"]).detach() for one in crops]
        if RECIPES[self.solo_name].on_sphere:
            latents = [F.normalize(z.float(), dim=1) for z in latents]
        self.log("train_ssl_loss", ssl_loss, sync_dist=True)
        return {
            "loss": total,
            "terms": {"train_ssl_loss": ssl_loss, "train_class_loss": class_loss},
            "z": latents,
            "feats": [one["feats"].detach() for one in crops],
        }

    def log(self, name: str, value: Any, **how: Any) -> None:
        """Log once an epoch, in our names and units."""
        if "acc" in name:
            value = value / 100  # solo-learn's are percentages
        name = "val_class_loss" if name == "val_loss" else name
        super().log(name, value, **{**how, "on_step": False, "on_epoch": True})

    def log_dict(self, dictionary: Any, **how: Any) -> None:
        """Log each as `log` does."""
        for name, value in dictionary.items():
            self.log(name, value, **how)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Set aside buffers that exist only once training has started."""
        state, own = checkpoint["state_dict"], self.state_dict()
        late = [key for key in _LATE_BUFFERS if key in state and key not in own]
        self._late = {key: state.pop(key) for key in late}

    def on_train_start(self) -> None:
        """Restore queues, memories and the moving average of a checkpoint."""
        if self.solo_name == "deepclusterv2" and not hasattr(
            self.trainer.train_dataloader, "dataset"
        ):
            raise ValueError(
                "data.format: expected torchvision for method=solo/deepclusterv2, got DALI"
            )
        super().on_train_start()
        for key, value in self._late.items():
            getattr(self, key).copy_(value)
        self._late = {}
        if hasattr(self, "momentum_updater"):
            self.last_step = step = self.trainer.global_step
            self.momentum_updater.update_tau(step, self.trainer.estimated_stepping_batches)


def _settings(name: str, cfg: DictConfig) -> dict[str, Any]:
    """Check method_kwargs and complete them."""
    recipe = RECIPES[name]
    settings = default_settings(name, cfg.data.dataset)
    # Null is the default, so that solo.yaml can list the keys of all methods.
    given = {key: value for key, value in cfg.method_kwargs.items() if value is not None}
    check_keys("method_kwargs", given, [*settings, *recipe.without_effect])
    for key, default in settings.items():
        # solo-learn itself takes whole numbers for others, and one number for several.
        number = isinstance(default, (int, float)) and not isinstance(default, bool)
        if key in given and (number or isinstance(default, bool)):
            check_value(f"method_kwargs.{key}", given[key], float if number else bool)
    known = {key: value for key, value in given.items() if key in settings}
    return OmegaConf.to_container(OmegaConf.create({**settings, **known}))  # pyright: ignore


def _momentum(name: str, cfg: DictConfig) -> dict[str, Any]:
    """Check `momentum` and complete it; methods without a moving average do not read it."""
    base, final = RECIPES[name].momentum or (0.99, 1.0)
    settings: dict[str, Any] = {"base_tau": base, "final_tau": final, "classifier": False}
    given = cfg.get("momentum") or {}
    check_keys("momentum", given, settings)
    settings |= {key: value for key, value in given.items() if value is not None}
    for key, low in (("base_tau", 0.0), ("final_tau", settings["base_tau"])):
        check_value(f"momentum.{key}", settings[key], Annotated[float, Bounds(low, 1)])
    if settings["classifier"]:
        raise ValueError("momentum.classifier: expected false, as one backbone is scored, got true")
    return settings


def _check_batch(name: str, settings: dict[str, Any], cfg: DictConfig) -> None:
    batch = cfg.optimizer.batch_size
    queue, part = settings.get("queue_size", 0), settings.get("whitening_size")
    if name != "swav" and queue % batch:
        raise ValueError(
            f"method_kwargs.queue_size: expected a multiple of optimizer.batch_size={batch}, got "
            f"{queue}"
        )
    if part and batch % part:
        raise ValueError(
            f"optimizer.batch_size: expected a multiple of method_kwargs.whitening_size={part}, "
            f"got {batch}"
        )
    if part and part <= settings["proj_output_dim"]:
        raise ValueError(
            f"method_kwargs.whitening_size: expected more than proj_output_dim="
            f"{settings['proj_output_dim']}, as the covariance of fewer samples has no inverse, "
            f"got {part}"
        )


def _check_mae(cfg: DictConfig) -> None:
    name = cfg.backbone.name
    check_value("backbone.name", name, Literal[(*_MAE_HEADS,)])
    heads = _MAE_HEADS[name]
    if cfg.backbone.kwargs.get("num_heads", _TIMM_HEADS.get(name, heads)) != heads:
        raise ValueError(
            f"backbone.kwargs.num_heads: expected the {heads} of solo-learn's {name}, so that the "
            f"same network is evaluated; set +backbone.kwargs.num_heads={heads}"
        )
