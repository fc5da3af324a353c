"""Training on labels: the upper bound beside methods that learn without."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig
from torch import Tensor

from solo_ldm.config.arguments import check_keys
from solo_ldm.methods.base import OFF_THE_GRID, BaseMethod, Description, finish_step


class Supervised(BaseMethod):
    """Train the backbone and its classifier on labels, on the views of every other method.

    With x_v the views of an image, f the backbone, W and b the classifier, y the label,

        loss = mean over images and views of −log softmax(W f(x_v) + b)_y

    Images without a label are left out. "z" in the health of a run are the features.

    Args:
        cfg: the completed configuration.

    Raises:
        ValueError: in one line: method_kwargs or `momentum`, which have no meaning here; pairs of
            images; or images without labels.
    """

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__(cfg)
        if self.classifier is None:
            raise ValueError(
                f"data: expected labelled images for method=supervised, got none in "
                f"{cfg.data.dataset}; give class folders (data.train_path) with "
                "data.no_labels=false, or choose another method"
            )

    @classmethod
    def describe(cls, cfg: DictConfig) -> Description:
        """Describe the method; raises a ValueError as the class does."""
        for key in ("method_kwargs", "momentum"):
            check_keys(key, cfg.get(key) or {}, ())
        if cfg.data.pair_match is not None:
            raise ValueError(
                "data.pair_match: expected null for method=supervised, which takes the labels "
                f"themselves, got {cfg.data.pair_match}; leave it out"
            )
        return Description("labels", ("train_cross_entropy",), OFF_THE_GRID, {}, False)

    def forward(self, X: Tensor) -> dict[str, Any]:  # noqa: N803
        """Return {"feats": (B, F), "logits": (B, classes)}; gradients reach the backbone."""
        out = super().forward(X)
        return {**out, "logits": None if self.classifier is None else self.classifier(out["feats"])}

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:  # noqa: N803
        """Return the same of small crops, which count as much as large ones."""
        return self.forward(X)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return the cross-entropy of all views; see `finish_step`."""
        out = super().training_step(batch, batch_idx)
        loss = out["loss"]
        # The classifier's loss is the whole loss: it is not added a second time.
        out["loss"] = loss.new_zeros(())
        return finish_step(self, {"train_cross_entropy": loss}, out["feats"], out, len(batch[0]))
