"""The graph of DALI operators that turns files or arrays into crops, and what it is fed."""

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

Inputs = dict[str, Any]
FedKind = Literal["paths", "encoded", "pixels"]


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
    cut_first: bool = False
    affine: bool = False


class Graph:
    """From images to uint8 crops (B, size, size, C), one an entry of `crops`.

    Args:
        kind: what is fed: paths of files, their bytes (encoded) or pixels.
        crops: the views.
        raw: whether the files hold the bytes of pixels (H, W, C) alone, and the shapes are fed.
    """

    def __init__(self, kind: FedKind, crops: Sequence[Crop], raw: bool = False) -> None:
        self._crops = list(crops)
        # Whether only that part of each file is decoded which some crop shows.
        self._window = kind != "pixels" and not raw
        self._window = self._window and all(one.cut_first and not one.affine for one in crops)
        self._names: list[str] = [kind]
        if raw:
            self._names.append("shapes")
        if self._window:
            self._names += ["window_start", "window_end"]
        for number, crop in enumerate(self._crops):
            self._names += [f"start{number}", f"end{number}"]
            self._names += [f"affine{number}"] if crop.affine else []

    def inputs(
        self,
        images: npt.NDArray[Any] | list[npt.NDArray[Any]],
        boxes: Sequence[npt.NDArray[np.float64]],
        affines: Sequence[npt.NDArray[np.float64] | None] = (),
        shapes: npt.NDArray[np.int32] | None = None,
    ) -> Inputs:
        """Return what the pipeline is fed for a batch, by name.

        Args:
            images: paths as bytes, zero-padded (B, longest), the bytes of each file, or pixels
                (B, H, W, C).
            boxes: for each crop, (B, 4) left, top, width and height in pixels of the image.
            affines: for each crop with an affine map, (B, 6) from output to source in pixels.
            shapes: (B, 3) height, width and channels, of raw files.
        """
        fed: Inputs = {self._names[0]: images}
        if shapes is not None:
            fed["shapes"] = shapes
        # DALI counts from the top, rows before columns.
        starts = [box[:, [1, 0]] for box in boxes]
        ends = [box[:, [1, 0]] + box[:, [3, 2]] for box in boxes]
        origin = np.zeros((len(images), 2))
        if self._window:
            origin, corner = np.minimum.reduce(starts), np.maximum.reduce(ends)
            fed["window_start"], fed["window_end"] = origin.astype("i4"), corner.astype("i4")
        for number, crop in enumerate(self._crops):
            kind = np.int32 if crop.cut_first else np.float32
            fed[f"start{number}"] = (starts[number] - origin).astype(kind)
            fed[f"end{number}"] = (ends[number] - origin).astype(kind)
        for number, affine in enumerate(affines):
            if affine is not None:
                fed[f"affine{number}"] = affine.astype(np.float32).reshape(-1, 2, 3)
        return fed

    def build(
        self,
        source: Callable[[], Inputs],
        batch_size: int,
        num_threads: int,
        device: torch.device,
        prefetch: int,
    ) -> Any:
        """Build the pipeline.

        Args:
            source: returns the `inputs` of the next batch; raises StopIteration after the last.
            batch_size: the largest batch.
            num_threads: of DALI.
            device: a CPU or a GPU.
            prefetch: batches under way at a time.
        """
        gpu, names = device.type == "cuda", self._names
        pipeline = Pipeline(
            batch_size=batch_size,
            num_threads=num_threads,
            device_id=(device.index or 0) if gpu else None,
            prefetch_queue_depth=prefetch,
        )

        def in_order() -> tuple[Any, ...]:
            fed = source()
            return tuple(_contiguous(fed[name]) for name in names)

        with pipeline:
            nodes: Any = fn.external_source(
                source=in_order,
                num_outputs=len(names),
                batch=True,
                layout=["HWC" if name == "pixels" else "" for name in names],
            )
            fed = dict(zip(names, nodes, strict=True))
            images = _images(fed, gpu)
            crops = (_crop(images, number, crop, fed) for number, crop in enumerate(self._crops))
            pipeline.set_outputs(*crops)
        pipeline.build()
        return pipeline


def _contiguous(values: Any) -> Any:
    return values if isinstance(values, list) else np.ascontiguousarray(values)


def _images(fed: dict[str, Any], gpu: bool) -> Any:
    if "pixels" in fed:
        return fed["pixels"].gpu() if gpu else fed["pixels"]
    encoded = fed["encoded"] if "encoded" in fed else fn.io.file.read(fed["paths"])
    if "shapes" in fed:
        images = fn.reshape(encoded, shape=fed["shapes"], layout="HWC")
        return images.gpu() if gpu else images
    # The pixels that Pillow decodes: nothing is to differ but the speed.
    as_pillow = {
        "device": "mixed" if gpu else "cpu",
        "output_type": types.RGB,
        "jpeg_fancy_upsampling": True,
        "adjust_orientation": False,
    }
    if "window_start" not in fed:
        return fn.decoders.image(encoded, **as_pillow)
    start, end = fed["window_start"], fed["window_end"]
    return fn.decoders.image_slice(encoded, start=start, end=end, axes=[0, 1], **as_pillow)


def _crop(images: Any, number: int, crop: Crop, fed: dict[str, Any]) -> Any:
    how = {"size": [crop.size, crop.size], "interp_type": types.INTERP_CUBIC, "antialias": True}
    if crop.affine:
        images = _affine(images, fed[f"affine{number}"])
    start, end = fed[f"start{number}"], fed[f"end{number}"]
    if crop.cut_first:
        return fn.resize(fn.slice(images, start=start, end=end, axes=[0, 1]), **how)
    return fn.resize(images, roi_start=start, roi_end=end, **how)


def _affine(images: Any, matrix: Any) -> Any:
    """Warp as Pillow does: the border repeated inside the image, and black beyond it.

    DALI's own fill value blends into the border instead.
    """
    inside = fn.cast(images >= 0, dtype=types.UINT8)  # ones, on whatever device
    nearest = {"interp_type": types.INTERP_NN, "fill_value": 0.0}
    return fn.warp_affine(images, matrix=matrix) * fn.warp_affine(inside, matrix=matrix, **nearest)


def to_torch(crops: Any, device: torch.device) -> Tensor:
    """Return an output of a pipeline as a tensor (B, H, W, C).

    On a CPU it shares DALI's memory, which holds until the next output is asked for.
    """
    dense = crops.as_tensor()
    if device.type != "cuda":
        return torch.from_dlpack(dense)
    from nvidia.dali.plugin.pytorch.torch_utils import feed_ndarray

    images = torch.empty(dense.shape(), dtype=torch.uint8, device=device)
    feed_ndarray(dense, images, cuda_stream=torch.cuda.current_stream(device))
    return images
