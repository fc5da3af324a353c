"""What a command makes of an override: a line, a trace, or nothing."""

from __future__ import annotations

import contextlib
import io
from functools import cache
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from solo_ldm.backbones import create_backbone
from solo_ldm.run.hardware import resolve_hardware, single_device
from tests.support.overrides.drawn import Case, command_of, composed
from tests.support.overrides.senses import sense_of

# Older names, which a message gives as the present ones.
_ALIASES = {"run": "pretrained_feature_extractor", "folder": "output"}


class Tried(NamedTuple):
    """A case, whether it was accepted, and the line or the trace that came."""

    case: Case
    accepted: bool
    words: str


def accept(cfg: Any, console: Any = None, **besides: Any) -> None:
    """Stand for the work of a command: the configuration is complete and its work would begin."""
    if "devices" in cfg:
        resolve_hardware(cfg)
        if "method_kwargs" in cfg:
            _build_backbone(OmegaConf.to_yaml(cfg.backbone))
    elif "accelerator" in cfg:
        single_device(cfg.accelerator)
    raise AcceptedError


@cache
def _build_backbone(given: str) -> None:
    """Build a backbone, as a run does before its folder is made."""
    cfg = OmegaConf.create(given)
    create_backbone(cfg.name, 16, **cfg.kwargs)


class AcceptedError(Exception):
    """The work of a command would begin."""


def complete(case: Case) -> Tried:
    """Give the override to the command's completion, without a command line."""
    cfg = composed(case.base).copy()
    try:
        OmegaConf.update(cfg, case.key, case.parsed, merge=False, force_add=True)
        command_of(case.base.command)(cfg)
    except AcceptedError:
        return Tried(case, True, "")
    except (ValueError, FileNotFoundError) as error:
        return Tried(case, False, str(error))
    except Exception as error:
        return Tried(case, False, f"trace\n{type(error).__name__}: {error}")
    return Tried(case, False, "trace\nnothing came")


def command_line(case: Case) -> Tried:
    """Give the override to the command as on the command line."""
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            command_of(case.base.command).main(case.arguments)
    except AcceptedError:
        return Tried(case, True, "")
    except SystemExit as left:
        words = errors.getvalue().strip()
        return Tried(case, False, words if left.code == 2 else f"trace\ncode {left.code}: {words}")
    except Exception as error:
        return Tried(case, False, f"trace\n{type(error).__name__}: {error}")
    return Tried(case, False, "trace\nnothing came")


def fault(tried: Tried) -> str | None:
    """Say what is wrong with the outcome, None if nothing is."""
    case, words = tried.case, tried.words
    if tried.accepted:
        if case.meant is not None:
            return "a misspelt key is accepted"
        sense = sense_of(case.base.command, case.key)
        if sense is None:
            return "the meaning of the key is not known"
        return None if sense(case.parsed) else "accepted though senseless"
    if "\n" in words:
        return f"no single line: {words[:300]}"
    if words.startswith("error: ") and len(words) > 1000:
        return f"a line of {len(words)} characters"
    leaf = _ALIASES.get(case.key, case.key.split(".")[-1])
    if leaf not in words and (case.meant or case.key).split(".")[0] not in words:
        return f"the key is not named: {words}"
    return None


def summary(trials: list[Tried], faults: list[tuple[Tried, str]]) -> str:
    """Count outcomes, and list what is wrong."""
    accepted = sum(one.accepted for one in trials)
    lines = [
        f"{len(trials)} overrides: {len(trials) - accepted} refused, {accepted} accepted, "
        f"{len(faults)} at fault",
        *(f"  {one.case}: {what}" for one, what in faults),
    ]
    return "\n".join(lines)
