"""A backbone as one safetensors file: timm's keys, and how to rebuild it in the metadata."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from solo_ldm.backbones import load_backbone
from solo_ldm.files import write_atomically
from solo_ldm.weights.pretrained import load_pretrained

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def write_backbone(
    path: Path,
    backbone: nn.Module,
    built_by: Mapping[str, Any],
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    about: Mapping[str, Any] | None = None,
    dtype: str | None = None,
    pixel_range: Sequence[float] | None = None,
) -> None:
    """Write a backbone's weights, and in the metadata what `load_backbone` needs to rebuild it.

    Args:
        path: of the safetensors file, written atomically.
        backbone: the network.
        built_by: the arguments of `create_backbone` that made it.
        mean: of the channels that normalise its images; None where not known.
        std: of the channels.
        about: further metadata: method, epoch; None where not known.
        dtype: of the stored floating point weights, a key of `DTYPES`; None keeps theirs.
        pixel_range: what was black and white in images deeper than 8 bits; None for no such.
    """
    stored_as = None if dtype is None else DTYPES[dtype]
    weights = {}
    for key, value in backbone.state_dict().items():
        value = value.detach().contiguous().cpu()
        weights[key] = value.to(stored_as) if value.is_floating_point() else value
    metadata = {"backbone": json.dumps(dict(built_by))}
    if mean is not None and std is not None:
        normalisation = {"mean": list(mean), "std": list(std)}
        if pixel_range is not None:
            normalisation["range"] = list(pixel_range)
        metadata["normalisation"] = json.dumps(normalisation)
    known = {key: value for key, value in (about or {}).items() if value is not None}
    if known:
        metadata["about"] = json.dumps(known)
    write_safetensors(path, weights, metadata)


def write_safetensors(
    path: Path, weights: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write a safetensors file atomically, the same bytes for the same weights and metadata.

    safetensors itself writes the metadata in a random order, which would change a published hash.
    """
    written = save(dict(weights), dict(metadata))
    length = int.from_bytes(written[:8], "little")
    header = json.dumps(json.loads(written[8 : 8 + length]), sort_keys=True, separators=(",", ":"))
    padded = header.encode()
    padded += b" " * (-len(padded) % 8)  # tensors start at a multiple of 8 bytes, as in its format
    content = len(padded).to_bytes(8, "little") + padded + written[8 + length :]
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def weights_digest(*parts: nn.Module) -> str:
    """Return the SHA-256 of the names, shapes and bytes of all weights, whatever their file."""
    digest = hashlib.sha256()
    for part in parts:
        for key, value in sorted(part.state_dict().items()):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1)
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def export_backbone(
    source: str | Path,
    path: str | Path,
    dtype: str | None = None,
    *,
    backbone_name: str | None = None,
) -> Path:
    """Write the backbone of any source of weights as a safetensors file with timm's keys.

    The file is read back and loaded before this returns.

    Args:
        source: anything that `load_pretrained` reads.
        path: of the file to write; ends in .safetensors.
        dtype: float32, float16 or bfloat16; None keeps that of the source.
        backbone_name: for a checkpoint that does not say its own.

    Returns:
        The path.

    Raises:
        ValueError: in one line: another ending, an unknown dtype, a source that cannot be read.
        FileNotFoundError: in one line: no such source.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path: expected a name that ends in .safetensors, got {path.name!r}")
    if dtype is not None and dtype not in DTYPES:
        raise ValueError(f"dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
    pretrained = load_pretrained(source, backbone_name=backbone_name)
    about = {"method": pretrained.method, "epoch": pretrained.epoch, "source": pretrained.source}
    write_backbone(
        path,
        pretrained.backbone,
        pretrained.built_by,
        pretrained.mean,
        pretrained.std,
        about,
        dtype,
        pretrained.pixel_range,
    )
    load_backbone(path)
    return path
