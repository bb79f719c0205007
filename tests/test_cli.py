"""The command line: flags, YAML, help, and one clear message with the right exit status for every bad input."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from command_line import environment, refused
from lune.cli import main
from lune.cli.failures import exit_status
from lune.errors import ConfigError, LuneError, ModelError, RequestError, RunError

# Bad input: each ends with status 2, says what came and what to do, and leaves nothing.

pytestmark = pytest.mark.usefixtures("inside")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("forget fact.jsonl", "error[bad-request]: There is no file fact.jsonl. Did you mean: facts.jsonl?"),
        ("forget .", "error[bad-request]: . is a folder, not a file."),
        ("forget facts.jsonl --rnak 8", "error[bad-config]: Unknown flag '--rnak'. Did you mean: --rank?"),
        (
            "forget facts.jsonl --learning_rate 1",
            "error[bad-config]: Unknown flag '--learning_rate'. Did you mean: --l",
        ),
        ("forget facts.jsonl --xyzzy", "error[bad-config]: Unknown flag '--xyzzy'."),
        ("forget facts.jsonl --rank", "error[bad-config]: Option '--rank' requires an argument."),
        ("forget", "error[bad-config]: Missing argument 'REQUEST'."),
        ("forget facts.jsonl more", "error[bad-config]: Got unexpected extra argument"),
        ("forgt facts.jsonl", "error[bad-config]: Unknown command 'forgt'. Did you mean: forget?"),
        (
            "forget facts.jsonl --rank 0",
            "error[bad-config]: --rank: got '0'; allowed: a whole number of at least 1 and",
        ),
        (
            "forget facts.jsonl --rank 1.5",
            "error[bad-config]: --rank: got '1.5'; allowed: a whole number of at least 1",
        ),
        (
            "forget facts.jsonl --dropout 1",
            "error[bad-config]: --dropout: got '1'; allowed: a number of at least 0 and",
        ),
        ("forget facts.jsonl --device cdua", "error[bad-config]: --device: got 'cdua'; allowed: auto, cpu, cuda, mps."),
        (
            "forget facts.jsonl --negatives-style refuse",
            "error[bad-config]: --negatives-style: got 'refuse'; allowed: contradiction, alternative, refusal, "
            "irrelevant, random. Did you mean: refusal?",
        ),
        (
            "forget facts.jsonl --method lunes",
            "error[bad-config]: --method: Unknown method 'lunes'. Did you mean: lune?",
        ),
        ("forget facts.jsonl --config no.yaml", "error[bad-config]: There is no file no.yaml."),
        ("forget facts.jsonl --config .", "error[bad-config]: . is a folder, not a file."),
        ("forget facts.jsonl --out /proc/run", "error[bad-output]: /proc/run cannot be written: "),
        ("forget facts.jsonl --out facts.jsonl", "error[bad-output]: The output folder facts.jsonl exists already."),
        ("forget facts.jsonl --out . --force", "error[bad-output]: --out is empty or the current folder"),
        (
            "demo --recipe luna",
            "error[bad-config]: --recipe: got 'luna'; allowed: lune, lune-paper. Did you mean: lune",
        ),
        ("demo --out facts.jsonl", "error[bad-output]: The output folder facts.jsonl exists already."),
        ("negatives fact.jsonl", "error[bad-request]: There is no file fact.jsonl."),
        ("negatives facts.jsonl --rank 3", "error[bad-config]: Unknown flag '--rank'."),
        ("negatives facts.jsonl --out facts.jsonl", "error[bad-output]: facts.jsonl exists already."),
        ("negatives facts.jsonl --out no/a.jsonl", "error[bad-output]: no/a.jsonl: there is no folder no."),
        ("evaluate smollm2-135m", "error[bad-config]: Missing option '--probes'."),
        ("evaluate smollm2-135m --probes no.jsonl", "error[bad-request]: There is no file no.jsonl."),
        (
            "evaluate smollm2-135m --probes facts.jsonl --seed -1",
            "error[bad-config]: --seed: got '-1'; allowed: a whole",
        ),
        (
            "evaluate m --probes facts.jsonl --adapter no",
            "error[bad-model]: no is not a folder, so it is no PEFT adapter.",
        ),
        (
            "evaluate m --probes facts.jsonl --adapter .",
            "error[bad-model]: . has no adapter_config.json, so it is no PEFT",
        ),
        ("evaluate m --probes facts.jsonl --out facts.jsonl", "error[bad-output]: facts.jsonl exists already."),
        ("ls", "error[bad-config]: Missing argument 'KIND'."),
        (
            "ls methodz",
            "error[bad-config]: Unknown kind 'methodz'. Did you mean: methods? Available: methods,",
        ),
    ],
)
def test_bad_input_is_refused_with_one_clear_message(
    capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    lines = refused(capsys, *shlex.split(arguments))
    assert lines[0].startswith(message)
    assert len(lines) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "facts.jsonl is empty."),
        ("{bad\n", "facts.jsonl:1: not valid JSON: "),
        ('{"prompt": "Who?"}', "facts.jsonl:1: answer: is missing"),
        (
            '{"prompt": "Is Paris the capital?", "answer": "Paris"}',
            "facts.jsonl:1: prompt: contains the answer 'Paris'",
        ),
    ],
)
def test_a_bad_request_is_refused(capsys: pytest.CaptureFixture[str], text: str, message: str) -> None:
    Path("facts.jsonl").write_text(text)
    assert refused(capsys, "forget", "facts.jsonl")[0].startswith(f"error[bad-request]: {message}")


def test_many_problems_are_listed_up_to_twenty(capsys: pytest.CaptureFixture[str]) -> None:
    Path("facts.jsonl").write_text('{"prompt": "Who?"}\n' * 25)
    lines = refused(capsys, "forget", "facts.jsonl")
    assert lines[0] == "error[bad-request]: facts.jsonl has 25 problems; nothing was run."
    assert lines[1:21] == [f"  - facts.jsonl:{line}: answer: is missing" for line in range(1, 21)]
    assert lines[21] == "  ... and 5 more"


def test_a_control_character_or_line_end_in_the_input_does_not_break_the_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(refused(capsys, "forget", "facts.jsonl", "--device", "c\npu")) == 2


def test_a_run_folder_given_as_the_adapter_is_pointed_out(capsys: pytest.CaptureFixture[str]) -> None:
    adapter = Path("run/adapter")
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    lines = refused(capsys, "evaluate", "m", "--probes", "facts.jsonl", "--adapter", "run")
    assert lines == [
        "error[bad-model]: run is a run folder, not an adapter.",
        "next: --adapter run/adapter",
    ]


def test_an_existing_run_folder_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/run.json").write_text("{}")
    lines = refused(capsys, "forget", "facts.jsonl", "--out", "runs/mine")
    assert lines == [
        "error[bad-output]: The output folder runs/mine exists already.",
        "next: name another --out, or add --force to replace it",
    ]


# How other failures end


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (RunError("diverged at step 3", hint="lower it"), 3, "error[run-failed]: diverged at step 3\nnext: lower it\n"),
        (ModelError("no such model"), 2, "error[bad-model]: no such model\n"),
        (RequestError("x", problems=["x"]), 2, "error[bad-request]: x\n"),
        (ConfigError("x", problems=["a\nb", "c"]), 2, "error[bad-config]: x\n  - a b\n  - c\nnext: lune demo --help\n"),
        (LuneError("x"), 3, "error[lune-error]: x\n"),
        (
            OSError(28, "No space left on device", "a/b"),
            2,
            "error[bad-output]: a/b: the disk is full.\nnext: free some space or name another place with --out\n",
        ),
        (
            PermissionError(13, "Permission denied", "a"),
            2,
            "error[bad-output]: a: permission denied.\nnext: name another place with --out\n",
        ),
        (
            ZeroDivisionError("division\nby zero"),
            3,
            "unexpected error: ZeroDivisionError: division by zero; run again with LUNE_DEBUG=1 for the traceback\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted; nothing half-written was left\n"),
    ],
)
def test_a_failure_is_told_in_few_words(
    capsys: pytest.CaptureFixture[str], error: BaseException, status: int, message: str
) -> None:
    assert exit_status(error, ["demo", "--seed", "1"]) == status
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert printed.out == ""


def test_negatives_that_nobody_would_see_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["negatives", "facts.jsonl", "--quiet"]) == 2
    assert "--quiet without --out would show nothing" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--layers 99", "--layers: got '99'; allowed: all, auto, top:K or A-B"),
        ("--learning-rate 0", "allowed: a number above 0."),
        ("--learning-rate 1e38", "allowed: a number above 0 and at most 1e+37."),
    ],
)
def test_what_a_setting_takes_is_said_as_far_as_it_helps(
    capsys: pytest.CaptureFixture[str], flags: str, said: str
) -> None:
    assert main(["forget", "facts.jsonl", *flags.split()]) == 2
    assert said in capsys.readouterr().err


def test_the_traceback_is_shown_when_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNE_DEBUG", "1")
    assert main(["forget", "no.jsonl"]) == 2
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_with_its_status_and_leaves_nothing(number: signal.Signals, status: int) -> None:
    command = [sys.executable, "-m", "lune", "forget", "-"]
    # A child inherits ignored signals, and what runs in the background of a shell ignores SIGINT.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    finally:
        signal.signal(signal.SIGINT, inherited)
    assert process.stdin is not None
    # Where /proc tells, the command is ready when it has a handler for SIGTERM; elsewhere some seconds are enough.
    handled = Path(f"/proc/{process.pid}/status")
    for _ in range(400 if handled.exists() and "SigCgt" in handled.read_text() else 50):
        time.sleep(0.05)
        caught = re.search(r"SigCgt:\s*(\w+)", handled.read_text()) if handled.exists() else None
        if caught and int(caught[1], 16) >> (signal.SIGTERM - 1) & 1:
            break
    time.sleep(0.2)
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert process.returncode == status
    assert out == ""
    assert err == ("interrupted; nothing half-written was left\n" if number == signal.SIGINT else "")
    assert sorted(path.name for path in Path().iterdir()) == ["facts.jsonl"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_standard_output_is_one_clear_error() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "lune", "ls", "methods"]
        result = subprocess.run(command, env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.startswith("error[bad-output]: The output: the disk is full.\n")
