"""Where the data of published models are on this machine: what follows --data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from solo_ldm.weights.published.download import fetch
from solo_ldm.weights.published.entry import CONFIG, Entry
from solo_ldm.weights.published.manifest import read_yaml
from solo_ldm.zoo.kinds import in_folder, lacking


class Places:
    """The data that the command line names, for each of some entries.

    Args:
        given: a FOLDER of the one data set that entries lack, or DATASET=FOLDER, or KEY=VALUE of
            data.*.
        entries: that are verified.
        named: whether the entries were named one by one; a key is then given to each of them, else
            to those whose published configuration lacks it.

    Raises:
        ValueError: in one line: neither of these, or one folder for several data sets.
        FileNotFoundError: in one line: a folder that is not there.
    """

    def __init__(self, given: Sequence[str], entries: Sequence[Entry], named: bool) -> None:
        self._named = named
        self._lacking = {one.name: _lacking(one) for one in entries}
        datasets = [one.dataset for one in entries if self._lacking[one.name]]
        datasets = list(dict.fromkeys(datasets))
        self._folders: dict[str, str] = {}
        pairs = []
        for one in given:
            key, equals, value = one.partition("=")
            if Path(one).expanduser().exists():
                if not datasets:
                    which = " and ".join(entry.name for entry in entries[:3])
                    more = " and others" if len(entries) > 3 else ""
                    raise ValueError(
                        f"--data: expected none, as the data of {which}{more} come with the "
                        f"models, got {one}; leave --data out"
                    )
                if len(datasets) != 1:
                    known = ", ".join(datasets)
                    raise ValueError(
                        f"--data: expected DATASET=FOLDER, as the data sets that do not come with "
                        f"the models are {known}, got {one}"
                    )
                self._folders[datasets[0]] = str(Path(one).expanduser())
            elif equals and key in datasets:
                if not Path(value).expanduser().exists():
                    raise FileNotFoundError(f"--data: no {value}, the folder of {key}")
                self._folders[key] = str(Path(value).expanduser())
            else:
                pairs.append(one)
        self._keys = keys_of_data(pairs)

    def of(self, entry: Entry) -> dict[str, str]:
        """Return the keys of data.* that are given for an entry."""
        wanted = self._lacking[entry.name]
        keys = {key: one for key, one in self._keys.items() if self._named or key in wanted}
        if wanted and (folder := self._folders.get(entry.dataset)):
            return {**in_folder(read_yaml(fetch(entry, CONFIG)), folder), **keys}
        return keys


def keys_of_data(pairs: Sequence[str]) -> dict[str, str]:
    """Return the keys of data.* that were given as KEY=VALUE."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(
                f"--data: expected a folder that is there, or KEY=VALUE, e.g. train_path=FOLDER, "
                f"got {pair!r}"
            )
    return dict(pair.split("=", 1) for pair in pairs)


def _lacking(entry: Entry) -> list[str]:
    with suppress(ValueError, KeyError, AttributeError):  # damage is told when it is verified
        return lacking(read_yaml(fetch(entry, CONFIG)))
    return []
