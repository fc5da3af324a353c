"""Networks for encoders, heads, noises and decoders: small ones, and those that see frames."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from solo_ldm.config.arguments import Bounds, Count, checked
from solo_ldm.config.memory import check_layers

Activation = Literal["relu", "gelu", "elu", "tanh"]

Pooling = Literal["own"]

# Frames that are seen at once where no gradient is needed, which bounds the memory.
_AT_ONCE = 1024
# What messages of images are about, and the keys that it is here.
_KEYS = (
    ("backbone.name", "encoder.backbone"),
    ("backbone.kwargs", "encoder.backbone_kwargs"),
    ("crop_size", "data.frame_size"),
)

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "tanh": nn.Tanh,
}


@checked
def mlp(
    input_dim: Count,
    hidden_dim: Count,
    output_dim: Count,
    num_hidden_layers: Annotated[int, Bounds(0)] = 1,
    activation: Activation = "relu",
) -> nn.Sequential:
    """Return a multi-layer perceptron; with no hidden layers it is linear.

    Args:
        input_dim: features in.
        hidden_dim: units of each hidden layer.
        output_dim: features out.
        num_hidden_layers: from 0.
        activation: relu, gelu, elu or tanh, after each hidden layer.

    Raises:
        ValueError: an unknown activation or a size below one.
    """
    sizes = [input_dim, *[hidden_dim] * num_hidden_layers, output_dim]
    check_layers(sizes)
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layers += [nn.Linear(wide, narrow), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class VarianceNetwork(nn.Module):
    """Variance of an observation from how far its features lie from their mean.

    d_i = (w_i x_i − mean_j w_j x_j)²,  v = relu(|V| relu(|U| d + a) + c)

    A network of squared deviations reads how noisy an input is, and little of its content. The
    initial weights are uniform: v is then the variance over the features.

    Args:
        input_dim: features of an observation.
        output_dim: variances to return.

    Source:
        The authors' code of Mikulasch & Zenke, arXiv 2605.03517.
    """

    def __init__(self, input_dim: int, output_dim: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(input_dim))
        self.inner = nn.Parameter(torch.full((input_dim, input_dim), 1.0 / input_dim))
        self.inner_bias = nn.Parameter(torch.zeros(input_dim))
        self.outer = nn.Parameter(torch.full((output_dim, input_dim), 1.0 / input_dim))
        self.outer_bias = nn.Parameter(torch.zeros(output_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return variances (…, output_dim), at least zero, of observations (…, input_dim)."""
        scaled = self.scale * x
        deviation = (scaled - scaled.mean(dim=-1, keepdim=True)).square()
        hidden = torch.relu(nn.functional.linear(deviation, self.inner.abs(), self.inner_bias))
        return torch.relu(nn.functional.linear(hidden, self.outer.abs(), self.outer_bias))


class FrameBackbone(nn.Module):
    """Features (…, num_features) of rows of pixels (…, k·C·H·W), frames (C, H, W) k times over.

    Without pooling they are the network's maps (or tokens) laid side by side, which tell where
    something is; pooled over a frame they tell what is there.

    In training, batch normalisation sees the frames of all bins of a batch together.

    Args:
        name: of a backbone; see `solo_ldm.backbones.create_backbone`.
        input_dim: pixels of a frame, of all channels.
        frame_shape: C, H and W.
        copies: k, frames seen together, as further channels.
        kwargs: of the network.
        pooling: "own" is that of the network; None for none.

    Raises:
        ValueError: in one line: no frames, or a network that does not take them.
    """

    frame_shape: Tensor

    def __init__(
        self,
        name: str,
        input_dim: int,
        frame_shape: Sequence[int] | None,
        copies: int,
        kwargs: Mapping[str, Any],
        pooling: Pooling | None = None,
    ) -> None:
        from solo_ldm.backbones import create_backbone

        super().__init__()
        if frame_shape is None or len(frame_shape) != 3 or math.prod(frame_shape) != input_dim:
            got = frame_shape if frame_shape is None else list(frame_shape)
            raise ValueError(
                f"encoder.frame_shape: expected [channels, rows, columns] of {input_dim} pixels "
                f"for encoder.backbone={name}, got {got}"
            )
        if "in_chans" in kwargs:
            raise ValueError(
                f"encoder.backbone_kwargs.in_chans: expected none, as the frames have "
                f"{frame_shape[0]} channels, got {kwargs['in_chans']}; leave it out"
            )
        channels, rows, columns = frame_shape
        self.shape = (copies * channels, rows, columns)
        # Kept with the weights, so that they can be read without the data.
        self.register_buffer("frame_shape", torch.tensor(list(frame_shape)))
        with _about_frames():
            self.network = create_backbone(
                name, min(rows, columns), in_chans=self.shape[0], **kwargs
            )
        self.pooling = pooling
        self.num_features = self._measured(name)

    def forward(self, pixels: Tensor, there: Tensor | None = None) -> Tensor:
        """Return the features; zero where there is no frame, which the network does not see.

        Args:
            pixels: (…, k·C·H·W).
            there: (…), true where there is a frame; None for all.
        """
        rows = pixels.flatten(0, -2) if there is None else pixels[there]
        frames = rows.unflatten(1, self.shape)
        if self.training or torch.is_grad_enabled() or len(frames) <= _AT_ONCE:
            features = self._features(frames)
        else:
            features = torch.cat([self._features(part) for part in frames.split(_AT_ONCE)])
        if there is None:
            return features.unflatten(0, pixels.shape[:-1])
        found = features.new_zeros(*pixels.shape[:-1], self.num_features)
        found[there] = features
        return found

    def _features(self, frames: Tensor) -> Tensor:
        network: Any = self.network
        return network(frames) if self.pooling else network.forward_features(frames).flatten(1)

    @torch.no_grad()
    def _measured(self, name: str) -> int:
        """Return how many features a frame has."""
        was = self.network.training
        try:
            self.network.eval()
            return int(self._features(torch.zeros(1, *self.shape)).shape[1])
        except Exception as error:  # of any model: what a forward pass may raise
            line = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
            raise ValueError(
                f"encoder.backbone={name}: expected a network that takes frames of "
                f"{self.shape[1]} × {self.shape[2]} pixels, got {line}; make them square, or set "
                "encoder.pooling=own"
            ) from error
        finally:
            self.network.train(was)


def check_backbone(encoder: Mapping[str, Any]) -> None:
    """Raise a one-line ValueError for a backbone that is not known, or what belongs to none."""
    if (name := encoder.get("backbone")) is not None:
        # Imported here: most encoders have no backbone, and timm takes seconds.
        from solo_ldm.backbones import known_name

        with _about_frames():
            known_name(name)
        return
    for key in ("backbone_kwargs", "pooling", "frame_shape"):
        if encoder.get(key) not in (None, {}):
            raise ValueError(
                f"encoder.{key}: expected null without encoder.backbone, got {encoder[key]}"
            )


@contextmanager
def _about_frames() -> Iterator[None]:
    """Raise errors that name keys of images anew, with those of frames."""
    try:
        yield
    except ValueError as error:
        line = str(error)
        for theirs, ours in _KEYS:
            line = line.replace(theirs, ours)
        raise ValueError(line) from error
