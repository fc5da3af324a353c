"""R² of decoders as bars."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from solo_ldm.plotting.page import Panel, Rows
from solo_ldm.plotting.scores import Bar, draw_scores


def score_rows(bars: Sequence[Bar], compact: bool = False) -> Rows:
    """Show R² of every decoder, those of the same features together, with folds and null.

    Args:
        bars: R² of a decoder each, in the order to be shown; the group is what was decoded from.
        compact: the same in a report.

    Returns:
        Rows of one panel.
    """
    finite = [bar.value for bar in bars if np.isfinite(bar.value)]
    title = f"Decoders, R² up to {max(finite):.3f}" if finite else "Decoders"
    height = 0.7 + 0.55 * len(bars) + 0.45 * len({bar.group for bar in bars})
    return [
        [
            Panel(
                "scores",
                lambda axes: draw_scores(axes[0], bars, title, xlabel="R² on held-out time"),
                height=min(max(height, 2.7), 8.7),
            )
        ]
    ]
