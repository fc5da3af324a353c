"""Show what the defaults for recordings were chosen by: how well states tell other spikes.

    python benchmarks/choices.py [--linear-track FILE] [--seeds 3] [--jobs 2] [--write]

No position is used, and nothing of the fold that is held out. Of the training sequences every
fourth is set aside, and every fourth cell: `KalmanSSL` is fitted to the others. A ridge from its
filter's state foretells the counts of the next second, one from its smoother's state tells the
counts of the cells that it has not seen (co-smoothing). Each row changes one thing of the first.
--write updates docs/recordings.md.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from common import ROOT, Figures, configuration, parser, publish, spread, wide_console, workers
from rich.progress import track
from torch import Tensor

from predictive import KalmanSSL
from predictive.configuration import complete_predictive
from predictive.data.sequences import Sequences
from predictive.decoding.bins import sums_of_squares
from predictive.decoding.fit import fit_linear
from predictive.training import build_data

SECONDS = 1.0
# States are compared at times this far apart, whatever the bins.
_APART_SECONDS = 0.25
_EVERY = 4
FILTER_RATE = "optimizer.multipliers.filter"


@dataclass(frozen=True)
class Choice:
    """A row: what differs from the defaults.

    Args:
        name: of the row.
        bin_seconds: duration of the bins; None for that of the configuration.
        parameters: of KalmanSSL.
        settings: further keys of the configuration.
    """

    name: str
    bin_seconds: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


CHOICES = (
    Choice("as it is"),
    Choice("history 0", parameters={"history": 0.0}),
    Choice("history 2 bins", parameters={"history": 2.0}),
    Choice("history 4 bins", parameters={"history": 4.0}),
    Choice("bins of 0.5 s", 0.5, {"window": 30}),
    Choice("bins of 0.25 s", 0.25),
    Choice("bins of 0.1 s", 0.1),
    Choice("bins of 0.025 s", 0.025),
    Choice("no feature dropout", parameters={"feature_dropout": 0.0}),
    Choice("feature dropout 0.5", parameters={"feature_dropout": 0.5}),
    Choice("12 latents", parameters={"latent_dim": 12}),
    Choice("states of twice as many dimensions", parameters={"state_dim": 48}),
    Choice("a linear encoder", settings={"encoder.num_hidden_layers": 0}),
    Choice("a filter that learns at a quarter of the rate", settings={FILTER_RATE: 0.25}),
    Choice("a filter that learns at 4 times the rate", settings={FILTER_RATE: 4.0}),
    Choice("a filter that learns at 16 times the rate", settings={FILTER_RATE: 16.0}),
    Choice("states that begin at a tenth of the time constant", parameters={"time_constant": 5.0}),
    Choice("a fifth of the training", parameters={"max_epochs": 10}),
)


def scores(choice: Choice, name: str, overrides: list[str], seed: int) -> tuple[float, float]:
    """Return R² of all cells' next second from the filter, and of unseen cells from the smoother.

    Both of counts, pooled over cells.
    """
    own = [] if choice.bin_seconds is None else [f"data.bin_seconds={choice.bin_seconds}"]
    cfg = complete_predictive(configuration(name, [*overrides, *own], "predictive.configs"))
    train = build_data(cfg).train
    aside = torch.arange(len(train)) % _EVERY == _EVERY - 1
    unseen = np.arange(train.inputs.shape[2]) % _EVERY == _EVERY - 1
    parts = [_arrays(train.select(which)) for which in (~aside, aside)]
    model = KalmanSSL(
        bin_seconds=train.step_seconds,
        decoder="linear",
        device="cpu",
        random_state=seed,
        settings=dict(choice.settings),
        **choice.parameters,
    )
    seen = [[one[:, ~unseen] for one in part] for part in parts]
    with warnings.catch_warnings():
        # Narrow bins, which some rows are about.
        warnings.filterwarnings("ignore", message=".*bins hold .* spikes")
        model.fit(seen[0])
    span = max(1, round(SECONDS / train.step_seconds))
    every = max(1, round(_APART_SECONDS / train.step_seconds))

    def from_states(states: Any, counts: list[list[Any]], first: int) -> float:
        """Return R² of counts over `span` bins, the first of them `first` after the state's."""
        pairs = [
            [_pairs(*both, span, first, every) for both in zip(states(own), of, strict=True)]
            for own, of in zip(seen, counts, strict=True)
        ]
        groups = [torch.full((len(one),), i) for i, (one, _) in enumerate(pairs[0])]
        (x, y), (x_aside, y_aside) = (
            [torch.cat(one) for one in zip(*part, strict=True)] for part in pairs
        )
        decoder = fit_linear(x, y, groups=torch.cat(groups), together=True)
        residual, total = sums_of_squares(y_aside, decoder.predict(x_aside))
        return float(1.0 - residual.sum() / total.sum())

    hidden = [[one[:, unseen] for one in part] for part in parts]
    return (
        from_states(model.transform, parts, 1),
        from_states(lambda own: model.smooth(own).mean, hidden, -((span - 1) // 2)),
    )


def _arrays(sequences: Sequences) -> list[Any]:
    pairs = zip(sequences.inputs, sequences.lengths.tolist(), strict=True)
    return [one[:length].numpy() for one, length in pairs]


def _pairs(states: Any, counts: Any, span: int, first: int, every: int) -> tuple[Tensor, Tensor]:
    """Return states and the square roots of the counts of a span that begins `first` bins later."""
    sums = torch.from_numpy(counts).unfold(0, span, 1).sum(dim=2).sqrt()
    x = torch.from_numpy(states)
    x, sums = (x, sums[first:]) if first > 0 else (x[-first:], sums)
    return x[: len(sums)][::every], sums[: len(x)][::every]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit the rows, print their table and, with --write, update the page."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--jobs", type=int, default=1, help="processes, of a thread each")
    options.add_argument("--linear-track", help="linear_track.npz of github.com/nelpy/example-data")
    options.add_argument("--write", action="store_true", help="update docs/recordings.md")
    options.add_argument("overrides", nargs="*", help="key=value, for every data set")
    args = options.parse_args(arguments)
    console = wide_console()
    data = {"place cells, simulated": ("place_cells", list(args.overrides))}
    if args.linear_track is not None:
        path = [f"data.path={args.linear_track}", *args.overrides]
        data = {"rat on a linear track": ("recording", path), **data}
    cells = list(itertools.product(CHOICES, data.values(), range(args.seeds)))
    with workers(args.jobs, 1) as pool:
        futures = [pool.submit(scores, choice, *of, seed) for choice, of, seed in cells]
        found = [one.result() for one in track(futures, "fits", console=console)]
    each = iter(found)
    rows = []
    for choice in CHOICES:
        row = [choice.name]
        for _ in data:
            both = zip(*itertools.islice(each, args.seeds), strict=True)
            row += [spread(list(values), 3) for values in both]
        rows.append(row)
    heads = [f"{name}, {what}" for name in data for what in ("foretold", "filled in")]
    about = (
        f"Foretold: R² of the square roots of all cells' counts of the next {SECONDS:g} s, from "
        "the filter's state by ridge. Filled in: of the counts of the cells that the model has not "
        f"seen, over {SECONDS:g} s around the bin, from the smoother's state. Pooled over cells, "
        "on every fourth of fold 0's training sequences, which was set aside; mean ± standard "
        f"deviation over {args.seeds} seeds. No position is used. What each row does not name is "
        "chosen by the rules of `KalmanSSL`."
    )
    table = Figures(["", *heads], rows, about)
    publish([table], ROOT / "docs" / "recordings.md", "choices", "choices.py", args, console)


if __name__ == "__main__":
    main()
