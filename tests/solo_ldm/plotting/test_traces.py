"""Stretches of time: where they end, and which are shown."""

from __future__ import annotations

import numpy as np

from solo_ldm.plotting.traces import choose, split


def test_a_jump_of_time_within_a_sequence_ends_a_stretch():
    seconds = np.array([[0.0, 1.0, 2.0, 10.0, 11.0, 3.0, 4.0]])
    known = np.ones((1, 7), dtype=bool)
    assert split(seconds, known) == [(0, 0, 3), (0, 3, 5), (0, 5, 7)]
    known[0, 1] = False
    assert split(seconds, known) == [(0, 0, 1), (0, 2, 3), (0, 3, 5), (0, 5, 7)]


def test_stretches_are_chosen_over_the_whole_held_out_time():
    seconds = np.arange(100) + 1000.0 * np.arange(20)[:, None]
    shown = choose(seconds, np.ones((20, 100), dtype=bool), max_bins=90, max_stretches=3)
    assert (shown.num_shown, shown.num_all) == (3, 20)
    drawn = ~np.isnan(shown.positions)
    assert drawn.sum() == 90
    rows = shown.sequence[drawn]
    assert rows.min() == 0
    assert rows.max() == 19
    assert (np.diff(shown.positions[drawn]) > 0).all()
