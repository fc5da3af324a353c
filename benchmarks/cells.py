"""Train the twelve cells of the grid on digits and write the table and the picture of the docs.

    python benchmarks/cells.py [--seeds 3] [--jobs 2] [--write] [key=value ...]

The cells are those of scripts/compare/cells.yaml. Finished runs are not repeated: after an
interruption the command continues. --write puts the table into README.md and the picture into
docs/cells.png.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, Figures, parser, publish, wide_console
from hydra import compose, initialize_config_dir

from solo_ldm.commands.compare import compare
from solo_ldm.commands.compare.ranking import untrained_spreads
from solo_ldm.commands.compare.table import Comparison, spread_text

SCRIPTS = ROOT / "scripts" / "compare"


def table(comparison: Comparison) -> Figures:
    """Return the table."""
    heads = ["config", "latent", "entropy", "over", *comparison.protocols, "effective rank"]
    rows = []
    for one in sorted(
        comparison.standings, key=lambda one: list(comparison.cells).index(one.label)
    ):
        scores = [spread_text(one.scores.get(name)) for name in comparison.protocols]
        config, _ = comparison.configs[one.label]
        rows.append([config, *one.label.split(", "), *scores, f"{one.effective_rank:.1f}"])
    untrained = [untrained_spreads(comparison.standings, name) for name in comparison.protocols]
    bases = [spread_text(next(iter(one.values()), None)) for one in untrained]
    rows.append(["", "untrained", "", "", *bases, ""])
    one = comparison.finished[0].results
    about = (
        f"Top-1 in percent on the {one['num_val_images']} held-out digits, mean ± standard "
        f"deviation over {len(comparison.seeds)} seeds; {one['backbone']}, {one['epochs']} epochs, "
        f"batch {one['batch_size']}, {one['hardware']}, solo_ldm {one['versions']['solo_ldm']}, "
        f"torch {one['versions']['torch']}, {one['finished'][:10]}. Effective rank is that of the "
        f"latents (of {one['settings']['proj_output_dim']})."
    )
    return Figures(heads, rows, about)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, print the table and, with --write, update the docs."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--jobs", type=int, default=1, help="runs at a time, sharing the cores")
    options.add_argument("--write", action="store_true", help="update README.md and docs/")
    options.add_argument("overrides", nargs="*", help="key=value, for every run")
    args = options.parse_args(arguments)
    console = wide_console()
    own = [
        f"seeds={list(range(args.seeds))}",
        f"jobs={args.jobs}",
        "checkpoint.dir=trained_models/cells",
        "hydra.searchpath=[pkg://solo_ldm.configs]",
    ]
    with initialize_config_dir(str(SCRIPTS), version_base="1.3"):
        cfg = compose("cells", overrides=own)
    cfg.overrides += args.overrides
    comparison = compare(cfg, console)
    if comparison.failed:
        raise SystemExit(1)
    publish([table(comparison)], ROOT / "README.md", "cells", "cells.py", args, console)
    if args.write:
        shutil.copy(Path(cfg.output, "comparison.png"), ROOT / "docs" / "cells.png")
        console.print("wrote docs/cells.png")


if __name__ == "__main__":
    main()
