"""Targets beyond positions: any number, continuous, circular and categorical; signals as inputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from predictive.data.recordings.recording import recording
from predictive.data.targets import TargetKind, kind_of
from predictive.decoding.score import combine_folds, decode
from tests.predictive.data.recordings.test_nwb_files import LOOKS, add_units, series, write
from tests.support.predictive.spikes import BIN, counted_fields, place_at

STILL = {"running_only": False, "block_seconds": 10.0}
SECONDS = 60.0


def saved(folder, name="rat.npz", **changes):
    fields = counted_fields(SECONDS) | changes
    np.savez(folder / name, **{key: one for key, one in fields.items() if one is not None})
    return folder / name


def times():
    return (np.arange(round(SECONDS / BIN)) + 0.5) * BIN


def rows(data, name):
    """The target of all bins in the order of time."""
    both = [
        (part.start_seconds, part.targets[name], part.lengths)
        for part in (data.train, data.held_out)
    ]
    pieces = [
        (float(start), one[:n])
        for starts, values, lengths in both
        for start, one, n in zip(starts, values, lengths, strict=True)
    ]
    return torch.cat([one for _, one in sorted(pieces, key=lambda piece: piece[0])])


def refused(message, make, *args, **settings):
    with pytest.raises(ValueError, match=message) as error:
        make(*args, **settings)
    assert "\n" not in str(error.value)


def test_any_number_of_targets_is_read_each_at_its_own_times(tmp_path):
    looks = np.arange(0.0, SECONDS, 0.1)
    path = saved(
        tmp_path,
        lick=np.sin(times()),
        pupil=np.column_stack([looks, 2 * looks, -looks]),
        pupil_times=looks,
        cue=np.where(times() < 30, "left", "right"),
    )
    targets = {"lick": "continuous", "pupil": "continuous", "cue": "categorical"}
    data = recording(path, targets=targets, **STILL)
    assert set(data.units) == set(data.train.targets)
    np.testing.assert_allclose(rows(data, "lick")[:, 0], np.sin(times()), atol=1e-6)
    known = times() < looks[-1]
    np.testing.assert_allclose(rows(data, "pupil")[known, 1], 2 * times()[known], rtol=1e-5)
    assert rows(data, "pupil")[~known].isnan().all()
    assert data.kinds == {"cue": TargetKind("categorical", categories=("left", "right"))}
    assert rows(data, "cue").argmax(dim=1).tolist() == (times() >= 30).tolist()
    without = recording(
        saved(tmp_path, position=None, lick=times()), targets={"lick": 1.0}, **STILL
    )
    assert list(without.train.targets) == ["lick"]


@pytest.mark.parametrize(
    ("unit", "period"), [("radians", 2 * np.pi), ("degrees", 360.0), (8.5, 8.5)]
)
def test_an_angle_is_its_cosine_and_sine_and_is_never_interpolated_across_the_wrap(
    tmp_path, unit, period
):
    looks = np.arange(0.0, SECONDS + 0.1, 0.1)  # four bins between two samples, a turn in 7 s
    path = saved(tmp_path, head=looks / 7 % 1 * period, head_times=looks)
    data = recording(path, targets={"head": unit}, **STILL)
    columns, expected = rows(data, "head"), times() / 7 * 2 * np.pi
    np.testing.assert_allclose(columns.norm(dim=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(columns[:, 0], np.cos(expected), atol=1e-4)
    np.testing.assert_allclose(columns[:, 1], np.sin(expected), atol=1e-4)
    assert data.kinds["head"].period == period


def test_a_position_that_wraps_is_refused_until_it_is_said_what_it_is(tmp_path):
    path = saved(tmp_path, position=times() / 7 % 1 * 90)
    refused("jump over nearly their range .*position: PERIOD", recording, path, **STILL)
    data = recording(path, targets={"position": 90.0}, **STILL)
    angle = data.kinds["position"].value(rows(data, "position").double())[:, 0]
    np.testing.assert_allclose(angle, times() / 7 % 1 * 90, atol=1e-3)
    np.testing.assert_allclose(rows(data, "speed")[:, 0], 90 / 7, rtol=1e-3)
    assert (rows(data, "direction") == 1.0).all()
    place = recording(path, targets={"position": "continuous"}, **STILL)
    np.testing.assert_allclose(rows(place, "position")[:, 0], times() / 7 % 1 * 90, rtol=1e-4)
    recording(saved(tmp_path, position=place_at(times())), **STILL)


def test_positions_in_three_dimensions_are_three_columns(tmp_path):
    path = saved(tmp_path, position=np.random.default_rng(0).normal(size=(len(times()), 3)))
    assert rows(recording(path, linear=False, **STILL), "position").shape[1] == 3


def test_sessions_share_the_categories_of_all_of_them(tmp_path):
    paths = [
        saved(tmp_path, f"{i}.npz", odour=np.where(times() < 30, a, b))
        for i, (a, b) in enumerate([(1, 10), (2, 1)])
    ]
    data = recording(paths, targets={"odour": "categorical"}, **STILL)
    assert data.kinds["odour"].categories == ("1", "2", "10")
    assert data.train.targets["odour"].shape[2] == 3


def test_targets_that_cannot_be_used_are_one_line(tmp_path):
    path = saved(tmp_path, lick=np.zeros(7), cue=np.arange(len(times())))
    for targets, message in (
        ({"lick": "angle"}, "data.targets.lick: expected continuous, radians, .* got 'angle'"),
        ({"lick": -1.0}, "a period above 0, got -1.0"),
        ({"lick": "continuous"}, r"lick: expected lick_times, .* got \(7,\)"),
        ({"nose": "continuous"}, "without nose"),
        ({"cue": "categorical"}, "cue: expected 2 to 100 categories, got 2400"),
        ({"speed": "continuous"}, "expected other names than speed"),
    ):
        refused(message, recording, path, targets=targets, **STILL)
    nowhere = saved(tmp_path, lick=times(), position=None)
    wanted = {"lick": "continuous"}
    refused("expected data.running_only=false for", recording, nowhere, targets=wanted)


# --- NWB ---


def test_head_directions_and_series_of_any_container_are_targets_of_an_nwb_file(tmp_path):
    from pynwb import TimeSeries
    from pynwb.behavior import BehavioralTimeSeries, CompassDirection

    turn = LOOKS / 7 % 1 * 360

    def fill(nwb, module):
        add_units(nwb)
        module.add(CompassDirection(spatial_series=series("head", turn, "degrees")))
        lick = TimeSeries(name="lick", data=LOOKS, unit="n", conversion=2.0, timestamps=LOOKS)
        module.add(BehavioralTimeSeries(time_series=lick))
        nwb.add_acquisition(TimeSeries(name="lick", data=-LOOKS, unit="n", timestamps=LOOKS))

    path = write(tmp_path / "rat.nwb", fill, place=False)
    wanted = {"BehavioralTimeSeries/lick": "continuous"}
    data = recording(path, targets=wanted, **STILL)
    assert list(data.train.targets) == ["lick", "head"]
    assert data.kinds == {"head": kind_of("", "degrees")}
    assert data.units == {"lick": "n", "head": "degrees"}
    at = data.train.seconds[data.train.mask].numpy()
    lick = data.train.targets["lick"][data.train.mask][:, 0].numpy()
    known = np.isfinite(lick)
    np.testing.assert_allclose(lick[known], 2 * at[known], rtol=1e-5)
    head = data.train.targets["head"][data.train.mask].numpy()
    np.testing.assert_allclose(head[known, 0], np.cos(at[known] / 7 * 2 * np.pi), atol=1e-4)
    refused("expected one of .*, got 2 named lick", recording, path, targets={"lick": 1.0}, **STILL)


def test_fluorescence_of_an_nwb_file_is_read_where_it_has_no_units(tmp_path):
    from pynwb.ophys import DfOverF, ImageSegmentation, OpticalChannel

    frames = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
    frames[100:110] = np.nan

    def fill(nwb, module):
        device = nwb.create_device(name="scope")
        channel = OpticalChannel(name="green", description="", emission_lambda=500.0)
        plane = nwb.create_imaging_plane(
            name="plane", optical_channel=channel, description="", device=device,
            excitation_lambda=600.0, indicator="GCaMP", location="CA1",
        )  # fmt: skip
        ophys = nwb.create_processing_module("ophys", "fluorescence")
        cells = ImageSegmentation()
        table = cells.create_plane_segmentation(name="cells", description="", imaging_plane=plane)
        for _ in range(4):
            table.add_roi(image_mask=np.ones((2, 2)))
        ophys.add(cells)
        rois = table.create_roi_table_region(region=list(range(4)), description="all")
        dff = DfOverF()
        ophys.add(dff)
        dff.create_roi_response_series(
            name="dff", data=frames, rois=rois, unit="n.a.", timestamps=LOOKS
        )
        nwb.add_invalid_time_interval(start_time=60.0, stop_time=70.0)

    path = write(tmp_path / "mouse.nwb", fill)
    data = recording(path, bin_seconds=None, **STILL)
    assert data.kind == "signals"
    assert data.train.step_seconds == pytest.approx(0.04)
    assert int(data.train.lengths.sum() + data.held_out.lengths.sum()) == pytest.approx(2750, abs=2)
    assert "10 bins with missing signals" in data.description
    named = recording(path, bin_seconds=None, signal_series="DfOverF/dff", **STILL)
    np.testing.assert_array_equal(named.held_out.inputs, data.held_out.inputs)
    refused("data.signal_series: expected one of", recording, path, signal_series="f", **STILL)


def test_a_plain_series_of_an_nwb_file_is_signals_in_its_unit_though_there_are_units(tmp_path):
    from pynwb import TimeSeries

    raw = np.random.default_rng(0).integers(-999, 999, (2400, 3)).astype(np.int16)

    def fill(nwb, module):
        add_units(nwb)
        band = TimeSeries(
            name="theta", data=raw, unit="V", conversion=0.01, offset=2.0, rate=25.0,
            starting_time=10.0,
        )  # fmt: skip
        nwb.add_acquisition(band)
        module.add(TimeSeries(name="one", data=raw[:, 0].astype(float), unit="V", rate=25.0))

    path = write(tmp_path / "rat.nwb", fill)
    data = recording(path, bin_seconds=None, signal_series="theta", stamp="start", **STILL)
    assert data.kind == "signals"
    assert data.train.step_seconds == pytest.approx(0.04)
    parts = (data.train, data.held_out)
    seconds = np.concatenate([part.seconds[part.mask] for part in parts])
    inputs = np.concatenate([part.inputs[part.mask] for part in parts])
    frame = np.rint((seconds - 10.02) / 0.04).astype(int)
    assert np.array_equal(np.sort(frame), np.arange(len(raw)))
    np.testing.assert_allclose(inputs, 0.01 * raw[frame] + 2.0, rtol=1e-5, atol=1e-5)
    alone = recording(path, bin_seconds=None, signal_series="one", **STILL)
    assert alone.train.inputs.shape[2] == 1
    assert recording(path, **STILL).kind == "spikes"


# --- signals ---


def test_signals_are_real_numbers_averaged_to_coarser_bins_over_what_is_known(tmp_path):
    values = np.random.default_rng(0).normal(size=(len(times()), 3))
    values[:, 2] = 5.0
    values[4, 0] = np.nan
    values[100:104, 1] = np.inf
    path = saved(tmp_path, counts=None, signals=values)
    data = recording(path, bin_seconds=0.05, **STILL)
    assert data.kind == "signals"
    assert "2 signals, without constant or missing 2;" in data.description
    assert data.description.endswith("; 2 bins with missing signals")
    first = data.held_out.inputs[0]
    assert first[2, 0] == pytest.approx(values[5, 0])
    assert first[0, 0] == pytest.approx(values[:2, 0].mean())
    assert first[50:52, 1].isnan().all()
    path = saved(tmp_path, counts=None, signals=np.ones((len(times()), 3)))
    refused("got 3 constant or missing", recording, path, **STILL)


# --- scores ---


def test_angles_are_scored_along_the_circle_and_categories_by_how_many_are_right():
    generator = torch.Generator().manual_seed(0)
    angle = torch.rand(400, 1, generator=generator) * 360
    columns = torch.tensor(kind_of("", "degrees").encoded(angle.double().numpy()))
    kind = kind_of("", "degrees")
    assert kind.distance(columns, columns.roll(0, 0)).max() == 0
    ahead = torch.tensor(kind.encoded((angle.double() + 350).numpy()))
    np.testing.assert_allclose(kind.distance(columns, ahead), 10.0, atol=1e-6)
    parts = (columns[:200], columns[200:])
    (one,) = decode({"angle": parts}, parts, ("linear",), target=kind)
    assert one.median_absolute_error < 1e-3
    assert one.category is None
    cue = TargetKind("categorical", categories=("a", "b", "c"))
    labels = np.array(list("aabc"))[torch.randint(4, (400,), generator=generator).numpy()]
    codes = torch.tensor(cue.encoded(labels[:, None]))
    parts = (codes[:200], codes[200:])
    (one,) = decode({"code": parts}, parts, ("linear",), target=cue)
    assert one.category.accuracy == 1.0
    assert one.category.chance_accuracy == pytest.approx(0.5, abs=0.1)
    assert one.category.log_loss < 0.01 < 1.0 < one.category.chance_log_loss < np.log(3)
    assert combine_folds([[one], [one]])[0].category.accuracy == 1.0
