"""Image and text as two views of one thing: an encoder each, and latents that are matched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from solo_ldm.distributed import by_rows, gather
from solo_ldm.methods.averaging import MovingAverage, progress
from solo_ldm.methods.base import BaseMethod, Description, finish_step
from solo_ldm.methods.cross.captions import Captions
from solo_ldm.methods.cross.settings import CrossSettings, resolve
from solo_ldm.methods.cross.text import TextEncoder
from solo_ldm.methods.ldm.heads import predictor_of, projector_of
from solo_ldm.methods.ldm.method_kwargs import check_run
from solo_ldm.methods.ldm.settings import TERMS
from solo_ldm.objective import LDMTerms

_TOKENS = "._extra_state"
# Images whose captions are measured before the training.
_LOOKED_AT = 10_000


class Cross(BaseMethod):
    """Match the latents of images and of their captions, by any cell of the grid.

    loss = −E[log p(z_image, z_text)] − w · H[q(z_image, z_text)]

    The backbone encodes images, `text` captions; each has a projector and, where the cell has a
    predictor, one of its own: of the text from the image, and back. Batches name their images by
    index, and captions are drawn by (seed, epoch, index). With several views of an image the loss
    is the mean over them. The features that are evaluated and exported are the backbone's.

    Args:
        cfg: the completed configuration.
        settings: what `settings` returned for it, if that was asked before.

    Raises:
        ValueError: in one line: a setting, or pairs of images.

    Source:
        CLIP, arXiv 2103.00020, and SigLIP, arXiv 2303.15343, are cells: see docs/cross.md.
    """

    protocols = ("zero-shot", "retrieval")

    def __init__(self, cfg: DictConfig, settings: CrossSettings | None = None) -> None:
        super().__init__(cfg)
        self.settings = settings or self.read_settings(self.cfg)
        cell = self.settings.cell
        self.objective = cell.build_objective()
        self.text = TextEncoder(self.settings.text)
        self.projector = projector_of(cell, self.features_dim)
        self.text_projector = projector_of(cell, self.text.num_features)
        outputs = self.objective.latent.prediction_dim(cell.proj_output_dim)
        predictors = [predictor_of(cell, outputs) for _ in range(2)]
        self.predictors = nn.ModuleList(one for one in predictors if one is not None)
        self.averages: nn.ModuleList | None = None
        if cell.target == "moving_average":
            taus = cell.base_tau, cell.final_tau
            self.averages = nn.ModuleList(MovingAverage(one, *taus) for one in self._averaged())
        self.detach_target = cell.target == "detached"
        self._texts: Sequence[Sequence[str]] | None = None
        self._captions: Captions | None = None

    @classmethod
    def read_settings(cls, cfg: DictConfig) -> CrossSettings:
        """Return the complete settings of a configuration.

        Raises:
            ValueError: see `solo_ldm.methods.cross.settings.resolve` and, for the rest of the
                configuration, `solo_ldm.methods.ldm.method_kwargs.check_run`.
        """
        settings = resolve(cfg.method_kwargs)
        check_run(cfg, settings.cell)
        if cfg.data.get("pair_match") is not None:
            raise ValueError(
                "data.pair_match: expected null for method=cross, where an image is paired with "
                f"its caption, got {cfg.data.pair_match}"
            )
        return settings

    @classmethod
    def describe(cls, cfg: DictConfig) -> Description:
        """Describe the method; raises what `read_settings` raises."""
        settings = cls.read_settings(cfg)
        return Description(
            headline=f"image and text, {settings.cell.headline}",
            terms=TERMS,
            axes=settings.cell.axes,
            settings=settings.as_dict(),
            on_sphere=settings.cell.support in ("sphere", "simplex"),
            built_with={"settings": settings},
        )

    @property
    def learnable_params(self) -> list[dict[str, Any]]:
        """The host's groups, the encoder of text, all heads and, if it learns, the objective."""
        groups = super().learnable_params
        for name in ("projector", "text", "text_projector", "predictors"):
            if own := list(getattr(self, name).parameters()):
                groups.append({"name": name, "params": own})
        if own := list(self.objective.parameters()):
            groups.append({"name": "objective", "params": own, "weight_decay": 0.0})
        return groups

    def use_images(self, images: Any) -> None:
        """Keep the captions of the training images, and learn the tokens of them.

        Raises:
            ValueError: in one line: the images have none, or other classes than are named.
        """
        captions = images.source("train").captions
        if captions is None:
            raise ValueError(
                f"data: expected images with captions for method=cross, got none in "
                f"data={images.data.dataset}; data=captions reads a table (CSV), data.caption_key "
                "names those of shards (webdataset, hf), data.class_captions makes sentences of "
                "classes, data=digits_captions needs nothing"
            )
        names = self.settings.class_names
        if names is not None and images.num_classes not in (0, len(names)):
            raise ValueError(
                f"method_kwargs.class_names: expected {images.num_classes}, one a class of the "
                f"data, got {len(names)}; correct them, or leave them out"
            )
        self._texts, self._captions = captions, None
        self.text.learn(text for own in captions for text in own)
        line = self.text.cut([text for own in captions[:_LOOKED_AT] for text in own])
        if line and line not in images.notices:
            images.notices.append(line)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the tokens of the checkpoint, which its weights are of, and the host's hook."""
        super().on_load_checkpoint(checkpoint)
        for key, value in checkpoint["state_dict"].items():
            if key.endswith(_TOKENS):
                self.get_submodule(key.removesuffix(_TOKENS)).set_extra_state(value)
        self._captions = None

    def forward(self, X: Tensor) -> dict[str, Any]:  # noqa: N803
        """Return the host's outputs and "z" (B, D), latents on the support of the model."""
        out = super().forward(X)
        return {**out, "z": self.objective.latent.project(self.projector(out["feats"]))}

    def multicrop_forward(self, X: Tensor) -> dict[str, Any]:  # noqa: N803
        """Return the host's outputs for small crops and their latents "z" (B, D)."""
        out = super().multicrop_forward(X)
        return {**out, "z": self.objective.latent.project(self.projector(out["feats"]))}

    def encode(self, tokens: Tensor) -> Tensor:
        """Return the latents (N, D) of tokens (N, L)."""
        return self.objective.latent.project(self.text_projector(self.text(tokens)))

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Return the latents (N, D) of texts, on the CPU; in evaluation mode, if that is set.

        Raises:
            ValueError: in one line: no list of texts, or an empty one.
        """
        if isinstance(texts, str) or not len(texts) or not all(isinstance(t, str) for t in texts):
            raise ValueError(f"texts: expected a list of one text or more, got {texts!r:.80}")
        starts = range(0, len(texts), batch_size)
        parts = (self.text.tokenise(texts[start : start + batch_size]) for start in starts)
        return torch.cat([self.encode(one.to(self.device)).float().cpu() for one in parts])

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return the objective over the pairs of all processes; see `finish_step`.

        "z" holds the latents of the first view and of the captions.
        """
        indexes, crops, _ = batch
        crops = [crops] if isinstance(crops, Tensor) else crops
        out = super().training_step(batch, batch_idx)
        tokens = self.draw_captions(indexes)
        z = self.encode(tokens)
        terms = self.match(out["z"], z, self._targets(crops, tokens, [*out["z"], z]))
        schedule = self.objective.latent.schedule(z.shape[1])
        moved = {f"train_{name}": value for name, value in schedule.items()}
        logged = dict(zip(TERMS, terms, strict=True))
        return finish_step(self, logged, [out["z"][0], z], out, len(z), moved)

    def draw_captions(self, indexes: Tensor) -> Tensor:
        """Return the tokens (B, L) of a caption of each image of a batch."""
        if self._captions is None:
            assert self._texts is not None, "use_images was called"
            self._captions = Captions(self._texts, self.text.tokenise)
        drawn = self._captions.draw(self.cfg.seed, self.current_epoch, indexes.cpu().numpy())
        return drawn.to(self.device)

    def match(
        self, images: list[Tensor], texts: Tensor, targets: list[Tensor] | None = None
    ) -> LDMTerms:
        """Gather the latents of all processes and average the objective over the views of images.

        Args:
            images: latents (B, D) of each view.
            texts: latents (B, D) of the captions.
            targets: what is predicted of each view and, last, of the captions; the latents
                themselves if not given.
        """
        *images, texts = gather(torch.stack([*images, texts], dim=1)).unbind(dim=1)
        if targets is not None:
            targets = list(gather(torch.stack(targets, dim=1)).unbind(dim=1))
        back = self._predict(texts, 1)
        predictions = [self._predict(z, 0) for z in images]
        with by_rows():
            pairs = [
                self.objective(
                    z,
                    texts,
                    (predictions[i], back) if self.predictors else None,
                    None if targets is None else (targets[i], targets[-1]),
                )
                for i, z in enumerate(images)
            ]
        return LDMTerms(*(torch.stack(term).mean() for term in zip(*pairs, strict=True)))

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Tell the objective how far the training is."""
        super().on_train_batch_start(batch, batch_idx)
        self.objective.at(progress(self.trainer), self.trainer.global_step)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Step, and move the target networks after it."""
        super().optimizer_step(*args, **kwargs)
        for average, networks in zip(self.averages or (), self._averaged(), strict=False):
            average.update(networks, progress(self.trainer, steps_more=1))  # pyright: ignore

    def _targets(self, crops: list[Tensor], tokens: Tensor, z: list[Tensor]) -> list[Tensor] | None:
        """Return what is to be predicted of each view and of the captions, without gradients."""
        if self.averages is None:
            return [one.detach() for one in z] if self.detach_target else None
        of_image, of_text = self.averages
        return [*map(self.objective.latent.project, [*map(of_image, crops), of_text(tokens)])]

    def _averaged(self) -> tuple[Mapping[str, nn.Module], Mapping[str, nn.Module]]:
        image = {"backbone": self.backbone, "projector": self.projector}
        return image, {"text": self.text, "text_projector": self.text_projector}

    def _predict(self, z: Tensor, direction: int) -> Tensor:
        if not self.predictors:
            return z
        return self.objective.latent.prediction(self.predictors[direction](z))
