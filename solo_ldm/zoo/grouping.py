"""Many runs as entries of the zoo: those that differ only in the seed are one entry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from solo_ldm.weights.published.manifest import check_name
from solo_ldm.zoo.kinds import find_kind, kind_of
from solo_ldm.zoo.publishing import read_run


def grouped(runs: Sequence[str | Path], template: str) -> dict[str, list[Path]]:
    """Sort runs into entries, each with its runs in the order of their seeds.

    Args:
        runs: folders of finished runs.
        template: of the entries' names, with keys of results.json in braces, such as
            {latent}-{entropy}-{over}-{dataset}.

    Raises:
        ValueError: in one line: a key that results.json does not have, a name that is none or that
            runs which differ in more than the seed would share, or a run that is not finished.
    """
    found: dict[str, list[tuple[int, Path]]] = {}
    contents: dict[str, tuple[str, Path]] = {}
    for path in map(Path, runs):
        args, results = read_run(path)
        identity = find_kind(kind_of(args, path)).identity(args)
        content = json.dumps({**identity, "seed": None}, sort_keys=True)
        known = {key: one for key, one in results.items() if isinstance(one, (str, int))}
        try:
            name = template.format(**known)
        except (KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"--name: expected keys of results.json in braces ({', '.join(known)}), got "
                f"{template!r} ({path} lacks {error})"
            ) from None
        check_name(name)
        first = contents.setdefault(name, (content, path))
        if first[0] != content:
            raise ValueError(
                f"--name: {template!r} names {first[1]} and {path} {name!r}, which differ in more "
                f"than the seed; name more keys"
            )
        found.setdefault(name, []).append((identity["seed"], path))
    return {name: [path for _, path in sorted(group)] for name, group in sorted(found.items())}
