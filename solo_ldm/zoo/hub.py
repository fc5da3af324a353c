"""Entries that somebody put on the Hugging Face hub: `hf-hub:OWNER/NAME`."""

from __future__ import annotations

from pathlib import Path

from solo_ldm.zoo.kinds import CONFIG, WEIGHTS, Kind, all_kinds, read_config

PREFIX = "hf-hub:"


def fetch_from_hub(name: str) -> tuple[Kind, Path]:
    """Return the kind and the folder of an entry on the hub, downloaded once.

    An entry's folder as `solo-ldm zoo publish` writes it is such a repository. Nothing says which
    content to expect: whoever owns the repository is trusted with the weights, but nothing in it is
    run or unpickled.

    Args:
        name: hf-hub:OWNER/NAME, or hf-hub:OWNER/NAME@REVISION.

    Raises:
        ValueError: in one line: no such repository or file, no connection, or one that
            `solo-ldm zoo publish` did not write.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = name.removeprefix(PREFIX).partition("@")
    paths = []
    for file in (CONFIG, WEIGHTS):
        try:
            paths.append(Path(hf_hub_download(repository, file, revision=revision or None)))
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ValueError(f"{name}: the hub does not give {file} ({reason})") from None
    folder = paths[0].parent
    config = read_config(folder)
    for kind in all_kinds().values():
        if kind.accepts(config):
            return kind, folder
    raise ValueError(
        f"{name}: its {CONFIG} is of no kind that the zoo knows; expected a repository that "
        "solo-ldm zoo publish wrote, or timm's: timm.create_model"
    )
