"""The frames of a clip: decoded, made gray and resized one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from torch import Tensor

from predictive.data.video.clips import Source
from solo_ldm.data.sources.decoding import read_pixels
from solo_ldm.data.sources.pixels import BROKEN_FILE

# Shares of red, green and blue in gray: ITU-R BT.601, as Pillow has them.
_GRAY = (0.299, 0.587, 0.114)
# The last axis of an array is one of channels if it has so many.
_CHANNELS = (1, 3)
# Frames of an array that are made gray and resized at a time.
_AT_ONCE = 256


class Clip(NamedTuple):
    """Consecutive frames.

    Args:
        name: for messages.
        frames: (T, C, H, W), uint8, or float32 of what is deeper.
        rate: frames a second, if the file says so.
        leap: see `leap_in`.
    """

    name: str
    frames: Tensor
    rate: float | None = None
    leap: tuple[str, int] | None = None


def read_clips(source: Source, gray: bool, size: Sequence[int] | None) -> list[Clip]:
    """Read the clips of a source.

    Pixels of 8 bits are kept as they are, those of 16 bits are divided by 65,535, floats are taken
    as they are.

    Args:
        source: one clip; of an array of four axes or five, several.
        gray: whether to make one channel of three.
        size: rows and columns that frames are resized to, with antialiasing; None for their own.

    Raises:
        ValueError: in one line, with the file: one that cannot be read, frames of different sizes
            in a clip, no frames.
    """

    def prepared(frames: Tensor) -> Tensor:
        return _resized(_grayed(frames, source) if gray else frames, size)

    if source.kind == "array":
        return [
            Clip(name, torch.cat([prepared(part) for part in frames.split(_AT_ONCE)]))
            for name, frames in _of_array(source)
        ]
    rate = None
    if source.kind == "video":
        rate, frames = _of_video(source.files[0])
    elif source.kind == "pages":
        frames = _of_pages(source.files[0])
    else:
        frames = ((file, _pixels_of(file)) for file in source.files)
    found, first, shape = [], source.files[0], None
    for file, values in frames:
        tensor = _as_tensor(values, file)
        if shape not in (None, tuple(tensor.shape)):
            raise ValueError(
                f"{file}: expected a frame of {_spelt(shape)} as {first} has, got "
                f"{_spelt(tensor.shape)}; frames of a clip have one size"
            )
        shape = tuple(tensor.shape)
        found.append(prepared(tensor[None])[0])
    if not found:
        raise ValueError(f"{first}: expected frames, got none")
    return [Clip(source.name, torch.stack(found), rate)]


def _pixels_of(file: Path) -> NDArray[Any]:
    """Return the pixels of an image file, (H, W) or (H, W, C)."""
    try:
        pixels = read_pixels(file)
    except BROKEN_FILE as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{file}: expected a frame, got a file that cannot be read: {line}"
        ) from None
    if pixels.frames > 1:
        raise ValueError(
            f"{file}: expected one page, got {pixels.frames} of a kind that Pillow does not open; "
            "save the stack as an array (.npy)"
        )
    return _of_pillow(pixels.image) if pixels.values is None else pixels.values


def _of_pillow(image: Any) -> NDArray[Any]:
    """Return the pixels of an image: gray and deep ones as they are, others as RGB."""
    if image.mode == "L" or image.mode.startswith(("I", "F")):
        return np.asarray(image)
    return np.asarray(image.convert("L" if image.mode in ("1", "LA", "La") else "RGB"))


def _of_pages(file: Path) -> Iterator[tuple[Path, NDArray[Any]]]:
    try:
        with Image.open(file) as image:
            for page in ImageSequence.Iterator(image):
                yield file, _of_pillow(page)
    except BROKEN_FILE as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"{file}: expected frames, got a file that cannot be read: {line}"
        ) from None


def _of_video(file: Path) -> tuple[float | None, Iterator[tuple[Path, NDArray[Any]]]]:
    """Return the frame rate of a video file, and its frames one by one."""
    try:
        import av  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise ValueError(
            f"{file}: a video file needs PyAV: pip install 'solo-ldm[video]'; or give its frames "
            "as a folder of images"
        ) from None
    refused: Any = av.FFmpegError

    def decoded() -> Iterator[tuple[Path, NDArray[Any]]]:
        try:
            with av.open(str(file)) as container:
                for frame in container.decode(video=0):
                    yield file, frame.to_ndarray(format="rgb24")
        except (refused, OSError) as error:
            raise ValueError(f"{file}: expected a video, got {error}") from None

    try:
        with av.open(str(file)) as container:
            stream = container.streams.video[0]
            rate = stream.average_rate
    except (refused, OSError, IndexError) as error:
        raise ValueError(f"{file}: expected a video, got {error}") from None
    return None if not rate else float(rate), decoded()


def _of_array(source: Source) -> list[tuple[str, Tensor]]:
    """Return names and frames (T, C, H, W) of the clips of an array."""
    file = source.files[0]
    try:
        loaded: Any = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            names = loaded.files
            if "frames" not in names and len(names) != 1:
                raise ValueError(f"arrays named {', '.join(names) or 'nothing'}, none frames")
            loaded = loaded["frames" if "frames" in names else names[0]]
    except BROKEN_FILE as error:
        line = str(error).splitlines()[0]
        raise ValueError(f"{file}: expected an array of frames, got {line}") from None
    colour = loaded.ndim > 3 and loaded.shape[-1] in _CHANNELS
    many = loaded.ndim == (5 if colour else 4)
    if loaded.ndim not in (3, 4, 5) or (loaded.ndim == 5 and not colour) or 0 in loaded.shape:
        raise ValueError(
            f"{file}: expected frames (T, H, W), (T, H, W, C), (N, T, H, W) or (N, T, H, W, C), "
            f"C 1 or 3, got {loaded.shape}"
        )
    values = loaded if colour else loaded[..., None]
    clips = values if many else values[None]
    names = [f"{source.name}[{i}]" for i in range(len(clips))] if many else [source.name]
    return [
        (name, _as_tensor(np.moveaxis(one, -1, 1), file, channels_last=False))
        for name, one in zip(names, clips, strict=True)
    ]


def _as_tensor(values: NDArray[Any], file: Path, channels_last: bool = True) -> Tensor:
    """Return pixels as uint8 or float32, a single image (H, W[, C]) as (C, H, W)."""
    if channels_last:
        values = np.moveaxis(values.reshape(*values.shape[:2], -1), 2, 0)
    if values.dtype == np.bool_ or values.dtype.kind == "f":
        values = values.astype(np.float32)
    elif values.dtype.kind in "iu" and values.dtype != np.uint8:
        # Pillow has no other integers than of 32 bits for what a file holds in 16.
        if int(values.min()) < 0 or int(values.max()) > 65535:
            raise ValueError(
                f"{file}: expected pixels of 8 or 16 bits or floats, got {values.dtype} from "
                f"{values.min()} to {values.max()}; save them as floats"
            )
        values = values.astype(np.float32) / np.float32(65535.0)
    elif values.dtype != np.uint8:
        raise ValueError(f"{file}: expected numbers, got {values.dtype}")
    return torch.tensor(np.ascontiguousarray(values))


def _grayed(frames: Tensor, source: Source) -> Tensor:
    if frames.shape[1] == 1:
        return frames
    if frames.shape[1] != 3:
        raise ValueError(
            f"data.gray: expected false for {frames.shape[1]} channels of {source.name}, got true"
        )
    gray = torch.einsum("tchw,c->thw", frames.float(), torch.tensor(_GRAY))[:, None]
    return gray.round().to(torch.uint8) if frames.dtype == torch.uint8 else gray


def _resized(frames: Tensor, size: Sequence[int] | None) -> Tensor:
    if size is None or list(frames.shape[2:]) == list(size):
        return frames
    # Imported here: torchvision takes a second.
    from torchvision.transforms.v2 import functional

    resize: Callable[..., Tensor] = functional.resize
    return resize(frames, list(size), antialias=True)


def _spelt(shape: Sequence[int] | None) -> str:
    channels, rows, columns = shape or (0, 0, 0)
    return f"{rows} × {columns} pixels and {channels} channel{'s' if channels > 1 else ''}"
