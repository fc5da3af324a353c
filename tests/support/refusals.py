"""What every command does with input that it cannot use."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from solo_ldm.cli import run_command


def assert_refused(
    command: str, cases: Sequence[tuple[list[str], str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Check that arguments of a command give exit code 2 and one line with a message."""
    for arguments, message in cases:
        with pytest.raises(SystemExit) as caught:
            run_command(command, arguments)
        lines = capsys.readouterr().err.strip().splitlines()
        assert caught.value.code == 2
        assert len(lines) == 1, (arguments, lines)
        assert message in lines[0], (arguments, lines)
