"""Features are found by their names, and times of rows, of X and of y, are looked at."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from predictive import KalmanSSL
from tests.predictive.estimator.conftest import SMALL

CELLS = [f"c{i}" for i in range(12)]
TIMES = np.arange(600) * 0.025


@pytest.fixture(scope="module")
def named(recording) -> KalmanSSL:
    """An estimator fitted to a table with names of cells, of unknown times."""
    return KalmanSSL(**SMALL).fit(pd.DataFrame(recording[0], columns=CELLS))


@pytest.fixture(scope="module")
def timed(recording) -> KalmanSSL:
    """An estimator fitted to a table with times, whose columns are numbered."""
    return KalmanSSL(**SMALL).fit(pd.DataFrame(recording[0], index=TIMES), recording[1])


def labelled(values, names):
    xarray = pytest.importorskip("xarray")
    coords = {"time": TIMES[: len(values)], "cell": names}
    return xarray.DataArray(values, coords=coords, dims=["time", "cell"])


def framed(values, names):
    nap = pytest.importorskip("pynapple")
    return nap.TsdFrame(t=TIMES[: len(values)], d=values, columns=names)


KINDS = {
    "table": lambda values, names: pd.DataFrame(values, columns=names),
    "xarray": labelled,
    "pynapple": framed,
}


@pytest.mark.parametrize("kind", KINDS)
def test_cells_in_another_order_are_the_same_cells(recording, named, kind):
    make, counts = KINDS[kind], recording[0][:50]
    expected = named.transform(make(counts, CELLS))
    assert named.feature_names_in_.tolist() == CELLS
    order = [3, 1, 2, 0, *range(11, 3, -1)]
    found = named.transform(make(counts[:, order], [CELLS[i] for i in order]))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    with pytest.raises(ValueError, match="different names, got c1 2 times"):
        named.transform(make(counts, ["c1", *CELLS[1:]]))
    unnamed = make(counts, range(12))  # the numbers that tables have by default
    np.testing.assert_array_equal(np.asarray(named.transform(unnamed)), np.asarray(expected))
    with pytest.warns(UserWarning, match="X: has no names of features"):
        named.transform(counts)


@pytest.mark.parametrize("kind", KINDS)
def test_an_absent_cell_is_missing_a_silent_one_is_silent_and_others_are_ignored(
    recording, named, kind
):
    make, counts = KINDS[kind], recording[0][:50].copy()
    counts[:, 2] = 0.0
    silent = np.asarray(named.transform(make(counts, CELLS)))
    lost = counts.copy()
    lost[:, 4] = named.method_.encoder.neutral[4]
    expected = np.asarray(named.transform(make(lost, CELLS)))
    assert np.abs(expected - silent).max() > 1e-3
    order = [11, *range(4), *range(5, 11)]
    more = np.column_stack([counts[:, order], counts[:, :2]])
    said = r"X: 1 of the 12 features of fit are missing \(c4\), 2 others are ignored \(x, y\)"
    with pytest.warns(UserWarning, match=said), pytest.warns(UserWarning, match="their means"):
        found = named.transform(make(more, [*(CELLS[i] for i in order), "x", "y"]))
    np.testing.assert_array_equal(np.asarray(found), expected)
    with pytest.raises(ValueError, match=r"fit \(c0, c1, c2, …\), got 12 without c0, .* rename"):
        named.transform(make(counts, [f"d{i}" for i in range(12)]))
    with pytest.raises(ValueError, match=r"fit \(c0, c1, c2, …\), got 11 without c11"):
        named.partial_fit(make(counts[:, :11], CELLS[:11]))
    with pytest.raises(ValueError, match=r"expecting 12 .*: those of fit are c0, c1, .*, …$"):
        named.transform(counts[:, :5])


def test_cells_of_other_numbers_are_refused_and_files_keep_names(recording, tmp_path):
    counts, units = recording[0][:, :3], [3, 5, 8]
    model = KalmanSSL(**SMALL).fit(pd.DataFrame(counts, columns=units))
    assert not hasattr(model, "feature_names_in_")
    swapped = pd.DataFrame(counts[:, [2, 0, 1]], columns=[8, 3, 5])
    kept = KalmanSSL.load(model.save(tmp_path / "model.safetensors"))
    for one in (model, kept):
        np.testing.assert_array_equal(one.transform(swapped), one.transform(counts))
        np.testing.assert_array_equal(
            one.transform(swapped.set_axis(["8", "3", "5"], axis=1)), one.transform(counts)
        )
        with pytest.raises(ValueError, match=r"fit \(3, 5, 8\), got 3 without 3, 5, 8 and with 4"):
            one.transform(pd.DataFrame(counts, columns=[4, 6, 7]))
        # Numbers from 0 are no names: which of them is missing cannot be told.
        with pytest.raises(ValueError, match="got 6 without 8 and with 0, 1, 2, 4"):
            one.transform(pd.DataFrame(np.zeros((9, 6)), columns=range(6)))
        with pytest.warns(UserWarning, match=r"X: 6 others are ignored \(0, 1, 2, 4, 6, …\)"):
            one.transform(pd.DataFrame(np.zeros((9, 9)), columns=range(9)))
        one.transform(pd.DataFrame(counts, columns=list("abc")).set_axis(range(3), axis=1).values)
    with pytest.raises(ValueError, match=r"X\[1\]: expected the 3 features of fit"):
        one.transform([swapped, pd.DataFrame(counts, columns=[1, 2, 4])])


def test_units_of_a_group_are_known_by_their_keys(recording):
    nap = pytest.importorskip("pynapple")
    draw = np.random.default_rng(1)
    times = [nap.Ts(np.sort(draw.uniform(0, 20, 80))) for _ in range(3)]
    model = KalmanSSL(**SMALL, bin_seconds=0.1).fit(nap.TsGroup(dict(enumerate(times))))
    model.transform(nap.TsGroup({0: times[2], 1: times[1], 2: times[0]}))
    with pytest.raises(ValueError, match=r"fit \(0, 1, 2\), got 3 without 0, 1, 2 and with 5, 6"):
        model.transform(nap.TsGroup({5 + i: one for i, one in enumerate(times)}))


def test_a_bin_with_names_is_put_in_order(recording, named):
    one = pd.Series(recording[0][0], index=CELLS)
    expected = named.reset().step(recording[0][0]).mean
    np.testing.assert_array_equal(named.reset().step(one[::-1]).mean, expected)
    with pytest.raises(ValueError, match="x: expected the 12 features of fit"):
        named.step(one.rename({"c4": "d4"}))
    hidden = named.reset().step(np.ma.masked_all(12)).mean
    np.testing.assert_array_equal(hidden, named.reset().step(np.full(12, np.nan)).mean)


def test_the_dimension_of_time_is_told_by_its_name_or_its_coordinates(recording, timed):
    xarray = pytest.importorskip("xarray")
    counts = recording[0]
    expected = timed.transform(counts)
    whole = labelled(counts, range(12))
    dates = whole.assign_coords(time=np.datetime64("2020-01-01") + (TIMES * 1e9).astype("m8[ns]"))
    for given in (whole.T, whole.T.rename(time="k"), dates.T.rename(time="k")):
        found = timed.transform(given)
        assert found.shape == (600, 3)
        assert found.dims[0] == given.dims[1]
        np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match="dimension named time, got a and b; name it"):
        timed.transform(xarray.DataArray(counts, dims=["a", "b"]))
    with pytest.raises(ValueError, match="got a DataArray of the dimensions trial, time, cell"):
        timed.transform(whole.expand_dims("trial"))


def test_objects_of_pynapple_that_are_no_table_are_refused(recording, kalman):
    nap = pytest.importorskip("pynapple")
    tensor = nap.TsdTensor(t=TIMES, d=recording[0][:, :, None])
    for given, said in (
        (tensor, r"got a TsdTensor \(600, 12, 1\); flatten it"),
        (nap.Tsd(t=TIMES, d=recording[1]), r"got a Tsd; take X\[:, None\]"),
        ([nap.Tsd(t=TIMES, d=recording[1])], "got a Tsd;"),
        (nap.Ts(TIMES), "expected a TsGroup, got a Ts"),
    ):
        with pytest.raises(ValueError, match=said) as refused:
            kalman.transform(given)
        assert "\n" not in str(refused.value)


def test_y_at_other_times_than_x_is_refused(recording, timed):
    counts, place = recording
    table = pd.DataFrame(counts, index=TIMES)
    score = timed.score(table, place)
    assert timed.score(table, pd.Series(place, index=TIMES + 0.012)) == score
    assert timed.score(table, pd.Series(place)) == score
    for given in (
        pd.Series(place, index=TIMES + 0.025),
        pd.Series(place, index=TIMES[::-1]),
    ):
        with pytest.raises(ValueError, match=r"y: expected values at the times of X, got .* in ro"):
            timed.score(table, given)
    dates = pd.Timestamp("2020-01-01") + pd.to_timedelta(TIMES, unit="s")
    with pytest.raises(ValueError, match=r"such of 600\); interpolate y"):
        timed.score(table.set_axis(dates), pd.Series(place, index=dates + pd.Timedelta(hours=1)))
    nap = pytest.importorskip("pynapple")
    frame = nap.TsdFrame(t=TIMES, d=counts)
    fine = nap.Tsd(t=np.linspace(0, 15, 2000), d=np.zeros(2000))
    with pytest.raises(ValueError, match=r"at the 600 times of X, got 2000 times; .*value_from"):
        timed.score(frame, fine)
    assert len(frame.value_from(fine)) == 600


def test_row_numbers_count_bins(recording, kalman):
    counts = recording[0][:60]
    table = pd.DataFrame(counts, index=np.arange(100, 160))
    cut = table.drop(index=range(120, 130))
    parts = kalman.transform([counts[:20], counts[30:]])
    found = kalman.transform(cut)
    np.testing.assert_array_equal(found, np.concatenate(parts))
    assert kalman.forecast(cut, 2).mean.index.tolist() == [160, 161]
    for index, said in (
        (np.arange(60)[::-1], "increasing row numbers, got 58 after 59 in row 1"),
        (np.arange(60) * 100, "count bins, got steps of 100; give times in seconds"),
    ):
        with pytest.raises(ValueError, match=said):
            kalman.transform(table.set_axis(index))
    texts = pd.Index([f"{i}" for i in range(60)])
    levels = pd.MultiIndex.from_arrays([range(60)] * 2)
    for index, kind in ((texts, "of"), (levels, "of several levels")):
        with pytest.warns(UserWarning, match=f"X: an index {kind}.* is no time"):
            kalman.transform(table.set_axis(index))


def test_negative_values_for_square_roots_are_counted(recording, kalman):
    counts = recording[0][:50].copy()
    counts[:2, 3] = -1.0
    with pytest.warns(UserWarning, match="X: 2 of 600 values are negative and cut off at 0"):
        kalman.transform(counts)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kalman.transform(counts.clip(0))
