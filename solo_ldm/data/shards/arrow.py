"""Arrow and Parquet files, by pyarrow: where the bytes of their values lie."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt


class NotInFileError(Exception):
    """Images whose bytes are not in the file as they are, as it is compressed."""


def need_pyarrow() -> None:
    """Raise a one-line ValueError unless pyarrow is installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(
            "data=hf: expected pyarrow, which is not installed; pip install 'solo-ldm[hf]'"
        )


def ranges(content: Any, base: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first byte in the file and the size of each of some values."""
    offsets, data = content.buffers()[1:] if content.null_count < len(content) else (None, None)
    if offsets is None or data is None:
        return np.zeros((2, len(content)), np.int64)[0], np.zeros(len(content), np.int64)
    large = arrow().types.is_large_binary(content.type)
    edges = np.frombuffer(offsets, np.int64 if large else np.int32).astype(np.int64)
    edges = edges[content.offset : content.offset + len(content) + 1]
    return data.address - base + edges[:-1], np.diff(edges)


def schema_of(path: Path) -> Any:
    """Return the schema of a file."""
    if path.suffix == ".parquet":
        return arrow("parquet").read_schema(path)
    with batches(path) as (schema, _, _):
        return schema


@contextmanager
def batches(path: Path) -> Iterator[tuple[Any, Iterator[Any], int]]:
    """Map an Arrow file to memory; yield its schema, its batches and the address of its start."""
    pa = arrow()
    with pa.memory_map(str(path)) as mapped:
        head = mapped.read_buffer(6)
        mapped.seek(0)
        if bytes(head) == b"ARROW1":
            reader = pa.ipc.open_file(mapped)
            found = map(reader.get_batch, range(reader.num_record_batches))
        else:
            reader = pa.ipc.open_stream(mapped)
            found = iter(reader)
        yield reader.schema, found, head.address


def unpack(path: Path, target: Path, columns: Sequence[str], key: str) -> None:
    """Write columns of a file to an Arrow file without compression.

    The rows of a damaged group of a Parquet file become rows without a value.

    Raises:
        ValueError: in one line: there is no room for it.
    """
    needed, free = _size(path), shutil.disk_usage(target.parent).free
    if needed > free:
        raise ValueError(
            f"{key}: {path} is unpacked in {target.parent}, which needs {needed / 1e9:.3g} GB and "
            f"has {free / 1e9:.3g}; name another folder in SOLO_LDM_CACHE, or save the data by "
            f".save_to_disk of the library datasets, which is read as it is"
        )
    pa, known = arrow(), schema_of(path)
    schema = pa.schema([known.field(name).with_nullable(True) for name in columns])
    with pa.OSFile(str(target), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for table in _tables(path, schema):
            writer.write_table(table.select(list(columns)).cast(schema))


def _size(path: Path) -> int:
    """Return about how many bytes the values of a file need."""
    if path.suffix != ".parquet":
        return path.stat().st_size
    about = arrow("parquet").read_metadata(path)
    return sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))


def _tables(path: Path, schema: Any) -> Iterator[Any]:
    pa = arrow()
    if path.suffix != ".parquet":
        with batches(path) as (_, found, _):
            yield from (pa.Table.from_batches([one]) for one in found)
        return
    file = arrow("parquet").ParquetFile(path)
    for number in range(file.num_row_groups):
        try:
            yield file.read_row_group(number, columns=schema.names)
        except broken():
            count = file.metadata.row_group(number).num_rows
            yield pa.table([pa.nulls(count, one.type) for one in schema], schema=schema)


def arrow(part: str = "") -> ModuleType:
    """Return pyarrow, or a part of it: it is not imported where it is not used."""
    return importlib.import_module(f"pyarrow.{part}" if part else "pyarrow")


def broken() -> tuple[type[Exception], ...]:
    """Return what pyarrow raises for a file that it cannot read."""
    return (arrow().ArrowException, OSError)
