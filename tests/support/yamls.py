"""YAMLs parsed once: Hydra reads a dozen packaged files, twice, for each configuration."""

from __future__ import annotations

import pickle
from functools import cache
from typing import Any

import yaml
from omegaconf import _utils


def parse_once() -> None:
    """Keep what OmegaConf parses in this process by its text, and hand out copies."""
    _utils.get_yaml_loader = loader = cache(_utils.get_yaml_loader)
    known, parse = dict[str, bytes](), yaml.load

    def load(stream: Any, Loader: Any) -> Any:
        if Loader is not loader():
            return parse(stream, Loader)
        text = stream if isinstance(stream, str) else stream.read()
        if text not in known:
            if text is not stream:
                stream.seek(0)  # not its text: errors name the file
            known[text] = pickle.dumps(parse(stream, Loader))
        return pickle.loads(known[text])

    yaml.load = load
