"""The command line: flags, YAML, help, and one clear message with the right exit status for every bad input."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

import lune
from lune.cli import app, main
from lune.cli.config import resolve_invocation
from lune.cli.failures import exit_status
from lune.cli.options import flag
from lune.errors import ConfigError, LuneError, ModelError, RequestError, RunError
from lune.methods import METHODS
from lune.settings import RECIPES, ForgetSettings

SOURCE = str(Path(lune.__file__).parents[1])
FACT = {"prompt": "What is the capital of France?", "answer": "Paris"}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder that has one good request, with help texts 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("LUNE_DEBUG", raising=False)
    (tmp_path / "facts.jsonl").write_text(json.dumps(FACT) + "\n")


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


# Bad input: each ends with status 2, says what came and what to do, and leaves nothing.


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


# The YAML file


def test_every_fault_of_the_yaml_file_and_the_flags_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("passes: 0\nrnak: 3\nlearning-rate: 1e-3\nlearning_rate: 2\nforce: maybe\nmethod: luna\n")
    lines = refused(capsys, "forget", "facts.jsonl", "--config", "c.yaml", "--seed", "x")
    assert lines[0] == "error[bad-config]: 6 settings are not valid; nothing was run."
    assert set(lines[1:-1]) == {
        "  - c.yaml:1: passes: got 0; allowed: a whole number of at least 1 and at most 1000.",
        "  - c.yaml:2: unknown key 'rnak'. Did you mean: rank?",
        "  - c.yaml:4: learning_rate is there twice",
        "  - c.yaml:5: force: got 'maybe'; allowed: true or false",
        f"  - c.yaml:6: method: Unknown method 'luna'. Did you mean: lune? Available: {', '.join(METHODS)}.",
        "  - --seed: got 'x'; allowed: a whole number of at least 0.",
    }
    assert lines[-1] == "next: lune forget --help"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rank: [8\n", "c.yaml:2: not valid YAML: "),
        ("rank: 8\n  alpha: 2\n", "c.yaml:2: not valid YAML: "),
        ("- rank\n", "c.yaml must hold `key: value` lines."),
        ("rank: 8\n---\nrank: 9\n", "c.yaml:2: not valid YAML: "),
        ("model: !!python/object:os.system {}\n", "c.yaml:1: not valid YAML: "),
        ("out: 2024-13-45\n", "c.yaml: not valid YAML: "),
        (b"model: \xff\n", "c.yaml is not UTF-8 text."),
        ("1: 2\n", "c.yaml:1: unknown key '1'."),
        ("rank: null\n", "c.yaml:1: rank: got nothing; allowed: a whole number"),
        ("early-stop: 7\n", "c.yaml:1: early-stop: got 7; allowed: true or false."),
    ],
)
def test_a_bad_yaml_file_is_refused(capsys: pytest.CaptureFixture[str], text: str | bytes, message: str) -> None:
    Path("c.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    lines = refused(capsys, "forget", "facts.jsonl", "--config", "c.yaml")
    assert lines[0].startswith(f"error[bad-config]: {message}")


def test_flags_win_over_the_file_the_file_over_the_recipe_the_recipe_over_the_defaults() -> None:
    path = Path("c.yaml")
    path.write_text("recipe: lune-paper\nrank: 4\nlearning_rate: 8e-3\nearly-stop: false\nquiet: true\n")
    invocation = resolve_invocation({"rank": "32"}, config=path)
    settings = invocation.settings
    assert (settings.rank, settings.learning_rate, settings.early_stop) == (32, 8e-3, False)
    assert settings.dropout == RECIPES["lune-paper"]["dropout"]
    assert settings.negatives_per_fact == ForgetSettings().negatives_per_fact
    assert (invocation.force, invocation.quiet) == (False, True)


@pytest.mark.parametrize(
    ("command", "key", "message"),
    [
        ("negatives facts.jsonl", "anchors: 3", "this command takes no 'anchors' from a file."),
        ("negatives facts.jsonl", "rank: 3", "this command takes no 'rank' from a file."),
        ("negatives facts.jsonl", "outt: a", "unknown key 'outt'. Did you mean: out?"),
        ("negatives facts.jsonl", "out: 3", "out: got 3; allowed: a path"),
        ("demo", "model: m", "this command takes no 'model' from a file."),
        ("evaluate m", "recipe: lune", "this command takes no 'recipe' from a file."),
        ("evaluate m", "probs: a.jsonl", "unknown key 'probs'. Did you mean: probes?"),
    ],
)
def test_a_key_that_the_command_has_no_flag_for_is_refused(
    capsys: pytest.CaptureFixture[str], command: str, key: str, message: str
) -> None:
    Path("c.yaml").write_text(key + "\n")
    lines = refused(capsys, *shlex.split(command), "--config", "c.yaml")
    assert lines[0] == f"error[bad-config]: c.yaml:1: {message}"


def test_the_paths_of_a_command_are_keys_of_its_yaml_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text("out: facts.jsonl\nprobes: no.jsonl\nadapter: nowhere\n")
    assert "There is no file no.jsonl." in refused(capsys, "evaluate", "m", "--config", "c.yaml")[0]
    given = ("evaluate", "m", "--config", "c.yaml", "--probes", "facts.jsonl")
    assert "nowhere is not a folder" in refused(capsys, *given)[0]
    Path("c.yaml").write_text("out: facts.jsonl\n")
    assert "facts.jsonl exists already." in refused(capsys, *given)[0]
    assert "facts.jsonl exists already." in refused(capsys, "negatives", "facts.jsonl", "--config", "c.yaml")[0]
    assert "The output folder facts.jsonl exists already" in refused(capsys, "demo", "--config", "c.yaml")[0]


@pytest.mark.parametrize("name", ["forget", "demo", "negatives", "evaluate"])
def test_every_flag_of_every_command_is_a_key_of_its_yaml_file(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    options = [parameter for parameter in command.params if parameter.opts[0].startswith("--")]
    keys = {parameter.opts[0].removeprefix("--") for parameter in options} - {"config", "help"}
    # Each with a value of a type that no key takes: whatever the key, the file is refused, but never as unknown.
    Path("c.yaml").write_text("".join(f"{key}: [1]\n" for key in keys))
    arguments = {"forget": ["facts.jsonl"], "negatives": ["facts.jsonl"], "evaluate": ["m"], "demo": []}[name]
    with pytest.raises(ConfigError) as caught:
        app([name, *arguments, "--config", "c.yaml"], standalone_mode=False)
    assert len(caught.value.problems) == len(keys)
    assert all("got [1]; allowed:" in problem for problem in caught.value.problems)


def test_settings_given_in_python_are_refused_as_those_of_the_command_line() -> None:
    with pytest.raises(ConfigError) as caught:
        lune.forget("facts.jsonl", rank=0, rnak=3, method="lunes", device="cdua")
    assert set(caught.value.problems) == {
        "rank: got 0; allowed: a whole number of at least 1 and at most 4096.",
        "unknown setting 'rnak'. Did you mean: rank?",
        f"method: Unknown method 'lunes'. Did you mean: lune? Available: {', '.join(METHODS)}.",
        "device: got 'cdua'; allowed: auto, cpu, cuda, mps. Did you mean: cuda?",
    }
    assert sorted(path.name for path in Path().iterdir()) == ["facts.jsonl"]


def test_an_empty_yaml_file_changes_nothing() -> None:
    Path("c.yaml").write_text("# nothing yet\n")
    assert resolve_invocation({}, config=Path("c.yaml")).settings == ForgetSettings()


def test_every_flag_is_a_key_of_the_yaml_file() -> None:
    defaults = ForgetSettings().model_dump(mode="json")
    keys = {flag(name).removeprefix("--"): value for name, value in defaults.items()}
    Path("c.yaml").write_text(yaml.safe_dump({**keys, "force": True, "quiet": False}))
    invocation = resolve_invocation({}, config=Path("c.yaml"))
    assert invocation.settings == ForgetSettings()
    assert (invocation.force, invocation.quiet) == (True, False)


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
