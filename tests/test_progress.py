"""What a run shows while it works, in a log and in a terminal."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console

from lune import progress
from lune.batching import batches
from lune.chat import Encoded
from lune.progress import Display


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "BEAT", 0.0)


def read(texts: int, size: int) -> None:
    rows = [Encoded((1, 2), (3,)) for _ in range(texts)]
    for _ in batches(rows, size, 0, torch.device("cpu")):
        pass


def log() -> tuple[Display, io.StringIO]:
    file = io.StringIO()
    return Display(Console(file=file)), file


@pytest.mark.usefixtures("at_once")
def test_a_log_gets_a_plain_line_a_stage_and_how_far_it_is() -> None:
    display, file = log()
    with display.stage("asking every test probe"):
        read(5, 2)
    read(5, 2)
    assert file.getvalue().splitlines() == [
        "asking every test probe ...",
        "asking every test probe: 2 of 5 texts",
        "asking every test probe: 4 of 5 texts",
        "asking every test probe: 5 of 5 texts",
    ]


@pytest.mark.usefixtures("at_once")
def test_stages_and_training_within_a_stage_are_indented_and_other_lines_left_out_where_asked() -> None:
    display, file = log()
    with display.stage("[1 of 2] cell"), display.only_stages():
        display.line("the machine")
        with display.training(40, "training") as line:
            line.update({"step": 4, "pass": 1, "loss": 0.5})
            line.update({"step": 4, "pass": 1, "dev_usr": 1.0})
            line.update({"step": 5, "pass": 2, "loss": 0.25})
    display.line("done")
    assert file.getvalue().splitlines() == [
        "[1 of 2] cell ...",
        "  training ...",
        "  training: pass 1, step 4 of at most 40, loss 0.50",
        "  training: pass 2, step 5 of at most 40, loss 0.25  dev USR 1.00  APR n/a  neighbours n/a  general n/a",
        "done",
    ]


def test_a_log_is_told_no_more_than_one_line_in_a_while() -> None:
    display, file = log()
    with display.stage("asking"):
        for _ in range(50):
            read(10, 2)
    assert file.getvalue().splitlines() == ["asking ..."]


def test_only_a_terminal_gets_escape_codes_and_one_spinner_serves_stages_within_each_other() -> None:
    file = io.StringIO()
    display = Display(Console(file=file, force_terminal=True, width=100))
    with display.stage("outer"), display.stage("inner"), display.training(4, "training") as line:
        line.update({"step": 1, "pass": 1, "loss": 0.5})
        shown = str(display._status.status) if display._status else ""
    assert shown == "outer · inner · training · pass 1, step 1 of at most 4, loss 0.50 ..."
    assert display._status is None and "\x1b" in file.getvalue()
    plain, text = log()
    with plain.stage("outer"), plain.training(4, "training"):
        plain.line("a line", style="bold red")
    assert not {"\x1b", "\r"} & set(text.getvalue())
