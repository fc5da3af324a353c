"""Shards of toy images, for tests of data."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from solo_ldm.data import DataConfig, ImageSource, load_source


def png(number: int, size: int = 8) -> bytes:
    """Return an image file, another one for each number."""
    pixels = np.random.default_rng(number).integers(0, 255, (size, size, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def samples(numbers: Sequence[int], classes: int = 2) -> dict[str, bytes]:
    """Return the members of samples: an image each and its class."""
    members = {}
    for number in numbers:
        members |= {f"{number:04}.cls": b"%d" % (number % classes), f"{number:04}.png": png(number)}
    return members


def tars_of(folder: Path, count: int, each: int, name: str = "train") -> str:
    """Write shards of so many samples each, and return their pattern."""
    for shard in range(count):
        numbers = range(shard * each, (shard + 1) * each)
        tar_of(folder / f"{name}-{shard:04}.tar", samples(numbers))
    return str(folder / f"{name}-{{0000..{count - 1:04}}}.tar")


def tars_of_folder(folder: Path, target: Path, each: int) -> str:
    """Write the images of class folders to shards, in the order in which folders are read."""
    members, shard = {}, 0
    paths = sorted(folder.glob("*/*"))
    for number, path in enumerate(paths):
        key = f"{path.parent.name}_{path.stem}"
        members |= {f"{key}{path.suffix}": path.read_bytes()}
        members |= {f"{key}.cls": path.parent.name.encode()}
        if (number + 1) % each == 0 or path == paths[-1]:
            tar_of(target / f"train-{shard:04}.tar", members)
            members, shard = {}, shard + 1
    return str(target / f"train-{{0000..{shard - 1:04}}}.tar")


def table_of(
    images: Sequence[bytes | None], labels: Sequence[Any] | None = None, names: Any = None
) -> Any:
    """Return a table with the columns and the metadata that the library datasets writes."""
    pa = pytest.importorskip("pyarrow")
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array([{"bytes": one, "path": None} for one in images], kind)}
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if labels is not None:
        columns["label"] = pa.array(labels)
    if names is not None:
        features["label"] = {"names": list(names), "_type": "ClassLabel"}
    about = json.dumps({"info": {"features": features}})
    return pa.table(columns).replace_schema_metadata({"huggingface": about})


def arrow_of(path: Path, table: Any, **options: Any) -> Path:
    """Write a table as datasets does, in batches of ten rows."""
    pa = pytest.importorskip("pyarrow")
    path.parent.mkdir(parents=True, exist_ok=True)
    how = pa.ipc.IpcWriteOptions(**options)
    with (
        pa.OSFile(str(path), "wb") as sink,
        pa.ipc.new_stream(sink, table.schema, options=how) as out,
    ):
        out.write_table(table, max_chunksize=10)
    return path


def saved(folder: Path, *tables: Any) -> Path:
    """Write tables as datasets.Dataset.save_to_disk does."""
    names = [f"data-{n:05}-of-{len(tables):05}.arrow" for n in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        arrow_of(folder / name, table)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0"}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def parquet_of(path: Path, table: Any, rows: int = 10) -> Path:
    """Write a table with so many rows a group."""
    parquet = pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, row_group_size=rows)
    return path


def contents(source: ImageSource | None) -> list[bytes]:
    """Return the pixels of all images of a source."""
    assert source is not None
    return [np.asarray(source.load(index)).tobytes() for index in range(len(source))]


def pixels_of(numbers: Sequence[int]) -> list[bytes]:
    """Return the pixels of `png` of some numbers."""
    return [np.asarray(Image.open(io.BytesIO(png(one)))).tobytes() for one in numbers]


def source_of(dataset: str, place: Path | str, split: Any = "train", **keys: Any) -> Any:
    keys = {"val_fraction": 0.0, **keys}
    return load_source(DataConfig(dataset=dataset, train_path=str(place), **keys), split)
