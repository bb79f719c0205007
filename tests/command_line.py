"""Running a command that must be refused, in an empty folder with one good request."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import lune
from lune.cli import main

SOURCE = str(Path(lune.__file__).parents[1])
FACT = {"prompt": "What is the capital of France?", "answer": "Paris"}


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": SOURCE}


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """Run a command that must be refused as bad input; return the lines it prints, all of them to standard error."""
    before = sorted(Path.cwd().rglob("*"))
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert sorted(Path.cwd().rglob("*")) == before, "something was left behind"
    lines = printed.err.splitlines()
    assert lines[0].startswith("error[bad-")
    assert lines[-1].startswith("next: ")
    return lines
