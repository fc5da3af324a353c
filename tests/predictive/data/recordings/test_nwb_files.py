"""NWB files as they are: what was invalid or unobserved, and objects in any container."""

from __future__ import annotations

from datetime import datetime, timezone

import numpy as np
import pytest

from predictive.data.recordings.nwb import read_nwb
from predictive.data.recordings.recording import recording
from predictive.data.recordings.segments import segments
from tests.support.predictive.spikes import place_at, spikes

pytest.importorskip("pynwb")
LOOKS = np.arange(3000) * 0.04


def write(path, fill, place=True):
    """Write an NWB file that `fill(nwb, module)` adds to."""
    import pynwb
    from pynwb.behavior import Position

    nwb = pynwb.NWBFile("a run", "rat", datetime(2020, 1, 1, tzinfo=timezone.utc))
    module = nwb.create_processing_module("behavior", "where the rat was")
    if place:
        module.add(Position(spatial_series=series("xy", place_at(LOOKS))))
    fill(nwb, module)
    with pynwb.NWBHDF5IO(path=path, mode="w") as file:
        file.write(nwb)
    return path


def series(name, data, unit="meters", **settings):
    from pynwb.behavior import SpatialSeries

    settings = {"timestamps": LOOKS} | settings
    return SpatialSeries(name=name, data=data, reference_frame="0", unit=unit, **settings)


def add_units(nwb, observed=None):
    for i, times in enumerate(spikes()):
        extra = {} if observed is None else {"obs_intervals": observed[i]}
        nwb.add_unit(spike_times=times, id=i, **extra)


def spans(path):
    found = segments(read_nwb(path), running_only=False)
    return [
        (round(s.start_seconds, 2), round(s.start_seconds + len(s.inputs) / 40, 2)) for s in found
    ]


def test_invalid_times_are_cut_out_and_it_is_said(tmp_path):
    def fill(nwb, module):
        add_units(nwb, [[[0.0, 118.0]]] * 3)
        nwb.add_invalid_time_interval(start_time=60.0, stop_time=80.0)
        nwb.add_invalid_time_interval(start_time=70.0, stop_time=90.0)

    path = write(tmp_path / "rat.nwb", fill)
    assert spans(path) == [(0.0, 60.0), (90.0, 118.0)]
    said = "rat: 2 invalid times cut out, 30 s"
    assert recording(path, running_only=False).description.endswith(said)


def test_invalid_times_are_cut_out_where_no_unit_says_when_it_was_observed(tmp_path):
    def fill(nwb, module):
        add_units(nwb)
        nwb.add_invalid_time_interval(start_time=60.0, stop_time=80.0)

    (_, end), (start, _) = spans(write(tmp_path / "rat.nwb", fill))
    assert 59.9 < end <= 60.0
    assert start == 80.0


def test_observed_intervals_that_differ_are_intersected_and_it_is_said(tmp_path):
    each = [[[0.0, 110.0]], [[10.0, 50.0], [60.0, 118.0]], [[0.0, 30.0], [30.0, 100.0]]]
    path = write(tmp_path / "rat.nwb", lambda nwb, module: add_units(nwb, each))
    assert spans(path) == [(10.0, 50.0), (60.0, 100.0)]
    said = "obs_intervals differ between units: 80 s that all share, of at most 110 s"
    assert recording(path, running_only=False).description.endswith(said)
    each[0] = [[52.0, 58.0]]
    with pytest.raises(ValueError, match="expected time in which all units were observed"):
        read_nwb(write(tmp_path / "none.nwb", lambda nwb, module: add_units(nwb, each)))


def test_units_are_found_in_a_processing_module_and_put_in_order(tmp_path):
    from pynwb.misc import Units

    def fill(nwb, module):
        units = Units(name="sorted", description="by hand")
        for times in spikes():
            units.add_unit(spike_times=times[::-1])
        nwb.create_processing_module("ecephys", "spikes").add(units)

    read = read_nwb(write(tmp_path / "rat.nwb", fill))
    for one, expected in zip(read.spike_times, spikes(), strict=True):
        assert np.array_equal(one, expected)
    assert read.notes == ("spike times of 3 cells put in order",)


def test_a_series_is_named_with_its_container_where_two_have_one_name(tmp_path):
    from pynwb.behavior import Position

    def fill(nwb, module):
        add_units(nwb)
        for i, name in enumerate(("left", "right")):
            module.add(Position(name=name, spatial_series=series("xy", place_at(LOOKS) + i)))

    path = write(tmp_path / "rat.nwb", fill, place=False)
    with pytest.raises(ValueError, match=r"expected one position, got 2 .*left/xy, right/xy"):
        read_nwb(path)
    read = read_nwb(path, position_series="right/xy")
    np.testing.assert_allclose(read.position[:, 0], place_at(LOOKS) + 1)


def test_trials_are_sequences_of_their_own_without_what_is_invalid(tmp_path):
    def fill(nwb, module):
        add_units(nwb)
        for start, stop in ((5.0, 10.0), (10.0, 20.0), (30.0, 40.0)):
            nwb.add_trial(start_time=start, stop_time=stop)
        nwb.add_invalid_time_interval(start_time=32.0, stop_time=35.0)

    path = write(tmp_path / "rat.nwb", fill)
    found = segments(read_nwb(path, trials=True), running_only=False)
    lengths = [(s.start_seconds, len(s.inputs)) for s in found]
    assert lengths == [(5.0, 200), (10.0, 400), (30.0, 80), (35.0, 200)]
    bare = write(tmp_path / "bare.nwb", lambda nwb, module: add_units(nwb))
    with pytest.raises(ValueError, match=r"data\.trials: expected a table of trials, got none"):
        read_nwb(bare, trials=True)


def test_trials_without_an_end_and_other_tables_of_units_are_said(tmp_path):
    from pynwb.misc import Units

    def fill(nwb, module):
        add_units(nwb)
        other = Units(name="more", description="of another probe")
        other.add_unit(spike_times=[1.0, 2.0])
        module.add(other)
        nwb.add_trial(start_time=50.0, stop_time=90.0)
        nwb.add_trial(start_time=1.0, stop_time=np.nan)
        nwb.add_trial(start_time=5.0, stop_time=20.0)

    read = read_nwb(write(tmp_path / "rat.nwb", fill), trials=True)
    assert read.notes == (
        "without the units of behavior/more",
        "1 of 3 trials without a start or an end",
    )
    np.testing.assert_array_equal(read.intervals, [[5.0, 20.0], [50.0, 90.0]])


@pytest.mark.parametrize("table", ["trials", "obs_intervals"])
def test_the_table_of_wrong_intervals_is_named(tmp_path, table):
    def fill(nwb, module):
        add_units(nwb, [[[10.0, 5.0]]] * 3 if table == "obs_intervals" else None)
        nwb.add_trial(start_time=1.0, stop_time=9.0)
        nwb.add_trial(start_time=5.0, stop_time=20.0)

    said = {"trials": "5 to 20 s in row 1 after 9 s; correct", "obs_intervals": "10 to 5 s in row"}
    path = write(tmp_path / "rat.nwb", fill)
    with pytest.raises(ValueError, match=f"{table}: expected intervals.* got {said[table]}"):
        read_nwb(path, trials=table == "trials")
