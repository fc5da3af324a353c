"""What every command does with input that it cannot use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from solo_ldm.cli import run_command


def assert_refused(
    command: str, cases: Sequence[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Check that arguments of a command give exit code 2 and one line with the messages."""
    for arguments, *messages in cases:
        with pytest.raises(SystemExit) as caught:
            run_command(command, arguments)
        lines = capsys.readouterr().err.strip().splitlines()
        assert caught.value.code == 2
        assert len(lines) == 1, (arguments, lines)
        for message in messages:
            assert message in lines[0], (arguments, lines)
