"""The worker's own parts, outside of any wall."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

INSIDE = Path(__file__).parents[2] / "sandboxes" / "python"


def test_the_worker_refuses_to_work_without_a_wall() -> None:
    """It kills all processes that it can see."""
    command: list[str | Path] = [sys.executable, "-B", INSIDE / "worker.py"]
    result = subprocess.run(command, input="", capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "has to be PID 1" in result.stderr


def test_an_output_that_the_program_has_read_away_itself_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(INSIDE)
    import worker

    stream = worker.Stream(b"O", 10)
    assert stream.relay(), "more can come"
    os.close(stream.writer)
    assert not stream.relay()
    os.close(stream.reader)
