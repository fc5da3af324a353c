"""The graph of DALI operators that turns files or arrays into crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import nvidia.dali.fn
import nvidia.dali.types
import torch
from nvidia.dali.pipeline import Pipeline
from torch import Tensor

# DALI makes its operators and constants when it is imported, out of a type checker's sight.
fn: Any = nvidia.dali.fn
types: Any = nvidia.dali.types

Kind = Literal["files", "arrays"]
Inputs = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Crop:
    """How the pipeline makes one view's crop.

    Args:
        size: side in pixels.
        cut_first: whether the box, in whole pixels, is cut out before it is resized; otherwise
            the image is resized and the box cut out of that.
        affine: whether an affine map comes first.
    """

    size: int
    cut_first: bool
    affine: bool


def decodes_window(kind: Kind, crops: Sequence[Crop]) -> bool:
    """Whether only that part of each file is decoded which some crop shows."""
    return kind == "files" and all(crop.cut_first and not crop.affine for crop in crops)


def build_pipeline(
    kind: Kind,
    crops: Sequence[Crop],
    batch_size: int,
    num_threads: int,
    device: torch.device,
    prefetch: int,
    source: Callable[[], Inputs],
) -> Any:
    """Build a pipeline whose outputs are uint8 crops (B, size, size, 3), one an entry of `crops`.

    Args:
        kind: files (paths are fed) or arrays (pixels are fed).
        crops: the views.
        batch_size: the largest batch.
        num_threads: of DALI.
        device: a CPU or a GPU.
        prefetch: batches under way at a time.
        source: returns the inputs of the next batch by name: those of
            `solo_ldm.data.backends.dali.sources.Feed.inputs` and, for crop n with an affine map,
            `affine<n>` (B, 2, 3), output to source in pixels. Raises StopIteration after the last.
    """
    gpu = device.type == "cuda"
    specs = _input_specs(kind, crops)
    pipeline = Pipeline(
        batch_size=batch_size,
        num_threads=num_threads,
        device_id=(device.index or 0) if gpu else None,
        prefetch_queue_depth=prefetch,
    )

    def in_order() -> tuple[Any, ...]:
        fed = source()
        return tuple(np.ascontiguousarray(fed[name]) for name in specs)

    with pipeline:
        nodes: Any = fn.external_source(
            source=in_order,
            num_outputs=len(specs),
            batch=True,
            ndim=[ndim for ndim, _ in specs.values()],
            dtype=[dtype for _, dtype in specs.values()],
            layout=["HWC" if name == "pixels" else "" for name in specs],
        )
        inputs = dict(zip(specs, nodes, strict=True))
        images = _images(inputs, gpu)
        pipeline.set_outputs(
            *(_crop(images, number, crop, inputs) for number, crop in enumerate(crops))
        )
    pipeline.build()
    return pipeline


def _input_specs(kind: Kind, crops: Sequence[Crop]) -> dict[str, tuple[int, Any]]:
    """Return the dimensions and the type of each input, by name."""
    specs: dict[str, tuple[int, Any]] = (
        {"paths": (1, types.UINT8)} if kind == "files" else {"pixels": (3, types.UINT8)}
    )
    if decodes_window(kind, crops):
        specs["window_start"] = specs["window_shape"] = (1, types.INT32)
        if len(crops) == 1:
            return specs
    for number, crop in enumerate(crops):
        if crop.affine:
            specs[f"affine{number}"] = (2, types.FLOAT)
        if crop.cut_first:
            specs[f"start{number}"] = specs[f"shape{number}"] = (1, types.INT32)
        else:
            specs[f"start{number}"] = specs[f"end{number}"] = (1, types.FLOAT)
    return specs


def _images(inputs: dict[str, Any], gpu: bool) -> Any:
    if "pixels" in inputs:
        return inputs["pixels"].gpu() if gpu else inputs["pixels"]
    encoded = fn.io.file.read(inputs["paths"])
    # The pixels that Pillow decodes: nothing is to differ but the speed.
    as_pillow = {
        "device": "mixed" if gpu else "cpu",
        "output_type": types.RGB,
        "jpeg_fancy_upsampling": True,
        "adjust_orientation": False,
    }
    if "window_start" not in inputs:
        return fn.decoders.image(encoded, **as_pillow)
    start, shape = inputs["window_start"], inputs["window_shape"]
    return fn.decoders.image_slice(encoded, start=start, shape=shape, axes=[0, 1], **as_pillow)


def _crop(images: Any, number: int, crop: Crop, inputs: dict[str, Any]) -> Any:
    how = {"size": [crop.size, crop.size], "interp_type": types.INTERP_CUBIC, "antialias": True}
    if crop.affine:
        images = _affine(images, inputs[f"affine{number}"])
    start = inputs.get(f"start{number}")
    if crop.cut_first:
        if start is not None:
            images = fn.slice(images, start=start, shape=inputs[f"shape{number}"], axes=[0, 1])
        return fn.resize(images, **how)
    return fn.resize(images, roi_start=start, roi_end=inputs[f"end{number}"], **how)


def _affine(images: Any, matrix: Any) -> Any:
    """Warp as Pillow does: the border repeated inside the image, and black beyond it.

    DALI's own fill value blends into the border instead.
    """
    inside = fn.cast(images >= 0, dtype=types.UINT8)  # ones, on whatever device
    nearest = {"interp_type": types.INTERP_NN, "fill_value": 0.0}
    return fn.warp_affine(images, matrix=matrix) * fn.warp_affine(inside, matrix=matrix, **nearest)


def to_torch(crops: Any, device: torch.device) -> Tensor:
    """Return an output of a pipeline as a tensor (B, H, W, 3).

    On a CPU it shares DALI's memory, which holds until the next output is asked for.
    """
    dense = crops.as_tensor()
    if device.type != "cuda":
        return torch.from_dlpack(dense)
    from nvidia.dali.plugin.pytorch.torch_utils import feed_ndarray

    images = torch.empty(dense.shape(), dtype=torch.uint8, device=device)
    feed_ndarray(dense, images, cuda_stream=torch.cuda.current_stream(device))
    return images
