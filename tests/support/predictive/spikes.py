"""Small recordings of spikes, and the file formats that they are written in."""

from pathlib import Path

import numpy as np
import pytest
import scipy.io

BIN = 0.025


def place_at(times):
    """Place on a track of 1.6 m, up and down once in 8 s."""
    return 1.6 * (1 - np.abs((np.asarray(times) / 4) % 2 - 1))


def spikes(cells=3, seconds=120.0, start=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return [np.sort(rng.uniform(start, start + seconds, 300 + 50 * i)) for i in range(cells)]


def flat(times):
    """Spike times of all cells in the order of time, and the cell of each."""
    cells = np.repeat(np.arange(len(times)), [len(one) for one in times])
    order = np.argsort(np.concatenate(times))
    return np.concatenate(times)[order], cells[order]


def counted_fields(seconds=120.0, silent=(), seed=0):
    times = (np.arange(round(seconds / BIN)) + 0.5) * BIN
    counts = np.random.default_rng(seed).poisson(0.3, (len(times), 4)).astype(np.uint8)
    counts[:, list(silent)] = 0
    return {"counts": counts, "times": times, "position": place_at(times), "bin_seconds": BIN}


def timed_fields():
    looks = np.arange(0, 120, 0.04)
    x = place_at(looks)
    times, cells = flat(spikes())
    return {
        "spike_times": times,
        "spike_cells": cells,
        "position_times": looks,
        "xy": np.column_stack([x, 0.1 * x]),
    }


def write_v73(path, tree):
    """Write a file as MATLAB 7.3 does: HDF5 after a block of 512 bytes, matrices transposed."""
    h5py = pytest.importorskip("h5py")

    def put(group, name, value):
        if isinstance(value, dict):
            inner = group.create_group(name)
            inner.attrs["MATLAB_class"] = np.bytes_("struct")
            for key, one in value.items():
                put(inner, key, one)
        elif isinstance(value, str):
            codes = np.array([[ord(c)] for c in value], dtype=np.uint16)
            group.create_dataset(name, data=codes)
            group[name].attrs["MATLAB_class"] = np.bytes_("char")
        elif isinstance(value, list):
            held = group.file.require_group("#refs#")
            names = [f"{name}{i}" for i in range(len(value))]
            for key, one in zip(names, value, strict=True):
                put(held, key, one)
            references = np.array([[held[key].ref] for key in names], dtype=h5py.ref_dtype)
            group.create_dataset(name, data=references, dtype=h5py.ref_dtype)
            group[name].attrs["MATLAB_class"] = np.bytes_("cell")
        elif np.size(value) == 0:
            group.create_dataset(name, data=np.array([0, 0], dtype=np.uint64))
            group[name].attrs["MATLAB_empty"] = np.uint8(1)
        else:
            group.create_dataset(name, data=np.atleast_2d(value).T)
            group[name].attrs["MATLAB_class"] = np.bytes_("double")

    with h5py.File(path, "w", userblock_size=512) as file:
        for key, value in tree.items():
            put(file, key, value)
    head = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM"
    with open(path, "r+b") as file:
        file.write(head)


def write_mat(path, tree, version):
    if version == 7.3:
        write_v73(path, tree)
        return

    def as_cells(value):
        if isinstance(value, dict):
            return {key: as_cells(one) for key, one in value.items()}
        if isinstance(value, list):
            cells = np.empty((1, len(value)), dtype=object)
            cells[0, :] = value
            return cells
        return value

    scipy.io.savemat(path, as_cells(tree), do_compression=version == 7)


def same(one, other):
    assert np.array_equal(one.position_times, other.position_times)
    np.testing.assert_array_equal(one.position, other.position)
    assert (one.place is None) == (other.place is None)
    assert one.cell_names == other.cell_names
    if other.counts is not None:
        assert np.array_equal(one.counts, other.counts)
        assert np.array_equal(one.count_starts, other.count_starts)
    else:
        for a, b in zip(one.spike_times, other.spike_times, strict=True):
            assert np.array_equal(a, b)


def write_recording(path: Path, **changes: object) -> Path:
    """Write a minute of 12 place cells of an animal that runs up and down a track of 1.6 m."""
    generator = np.random.default_rng(0)
    times = (np.arange(2400) + 0.5) * 0.025
    position = np.abs((0.4 * times) % 3.2 - 1.6)
    centres = np.linspace(0.0, 1.6, 12)
    rates = 0.5 + 20.0 * np.exp(-(((position[:, None] - centres) / 0.15) ** 2) / 2)
    fields = {
        "counts": generator.poisson(rates * 0.025),
        "times": times,
        "position": position[:, None],
        **changes,
    }
    np.savez(path, **{key: np.asarray(value) for key, value in fields.items()})  # pyright: ignore
    return path
