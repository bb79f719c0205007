"""Help texts, listings, and what they cost."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command

import lune
from lune import listing
from lune.attacks import ATTACKS
from lune.cli import app, main
from lune.cli.config import resolve_invocation
from lune.cli.options import FORGET_SETTINGS, PANELS, flag, help_text
from lune.settings import ForgetSettings, NegativesStyle, allowed

FACT = {"prompt": "What is the capital of France?", "answer": "Paris"}
COMMANDS = ("demo", "forget", "evaluate", "attack", "negatives", "bench", "teach", "utility", "ls")
HEAVY = ("torch", "transformers", "peft", "accelerate", "datasets", "numpy")


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder that has one good request, with help texts 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    (tmp_path / "facts.jsonl").write_text(json.dumps(FACT) + "\n")


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(lune.__file__).parents[1])}


def help_page(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert main([*command, "--help"]) == 0
    return capsys.readouterr().out


def test_every_setting_is_a_flag_with_its_description_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    page = help_page(capsys, "forget")
    text = " ".join(re.sub("[│╭╮╰╯─]", " ", page).split())
    command = get_command(app).commands["forget"]  # type: ignore[attr-defined]
    flags = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for name, field in ForgetSettings.model_fields.items():
        assert flag(name) in flags
        assert (f"--no-{name.replace('_', '-')}" in flags) == (field.annotation is bool)
        assert flag(name) in text
        assert help_text(name).startswith(field.description or "?")
    assert flags - {flag(name) for name in FORGET_SETTINGS} >= {"--config", "--force", "--quiet"}


def test_help_names_the_allowed_values_and_the_recipes_defaults() -> None:
    assert help_text("learning_rate").endswith(f"Default: {ForgetSettings().learning_rate}; lune-paper: 0.0002.")
    assert help_text("out") == "Run folder to make; runs/REQUEST-NAME when not given, with -2, -3 ... where taken."
    assert "One of: " + ", ".join(NegativesStyle) in help_text("negatives_style")
    assert allowed("device") == ", ".join(get_args(ForgetSettings.model_fields["device"].annotation))
    assert allowed("alpha") == "a number above 0"
    assert allowed("out") == "a path"
    assert set(PANELS) <= set(FORGET_SETTINGS)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_fits_eighty_columns_and_ends_in_examples(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    page = help_page(capsys, *command)
    assert max(map(len, page.splitlines())) <= 80
    assert "…" not in page, "something was cut off"
    examples = [line.strip() for line in page.split("Examples:")[1].strip().splitlines()]
    assert examples
    for example in examples:
        words = shlex.split(example.rpartition("|")[2])
        assert words[0] == "lune"
        assert parses(words[1:]), f"not runnable: {example}"


def parses(words: Sequence[str]) -> bool:
    """Return whether every flag of a command line is known to its command."""
    command = get_command(app).commands.get(words[0])  # type: ignore[attr-defined]
    assert command is not None
    if "--help" in words:
        return True
    command.make_context(words[0], list(words[1:]))
    return True


def test_lune_alone_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    page = capsys.readouterr().out
    assert all(name in page for name in COMMANDS)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lune {lune.__version__}\n"


@pytest.mark.parametrize("kind", listing.KINDS)
def test_ls_lists_every_name_in_eighty_columns(capsys: pytest.CaptureFixture[str], kind: str) -> None:
    assert main(["ls", kind]) == 0
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 80
    for heading, rows in listing.groups(kind):
        assert " ".join(heading.split()) in " ".join(printed.split())
        assert all(next(iter(row.values())) in printed for row in rows)


def test_the_listed_methods_can_be_chosen_and_both_kinds_of_attacks_are_there() -> None:
    for row in listing.groups("methods")[0][1]:
        assert resolve_invocation({"method": row["method"]}).settings.method == row["method"]
        assert row["paper"].startswith("https://")
    (apr, probes), (further, runs) = listing.groups("attacks")
    assert "APR" in apr and len(probes) == 9
    assert "lune attack" in further and [row["attack"] for row in runs] == list(ATTACKS)


def test_every_score_of_a_run_is_listed_as_a_metric() -> None:
    from lune.metrics import Scores

    recorded = set(Scores.__annotations__) - {"counts", "intervals"}
    assert recorded == set(listing.RUN_SCORES)


def test_metrics_are_listed_by_the_names_of_tables() -> None:
    from lune.bench.table import _title
    from lune.benchmarks import BENCHMARKS

    names = {row["metric"] for _, rows in listing.groups("metrics") for row in rows}
    shown = ("usr", "apr", "refusal_rate", "mia_loss", "mia_loss_from_reference", "mia_loss_privleak")
    assert {_title(name).replace("loss", "ATTACK") for name in shown} <= names
    assert {text.split(":")[0] for text in listing.PROTOCOL_SCORES.values()} == set(BENCHMARKS)


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        ("--help", 0),
        ("forget --help", 0),
        ("ls metrics", 0),
        ("ls attacks", 0),
        ("forget facts.jsonl --rank 0", 2),
        ("forget no.jsonl", 2),
        ("forget facts.jsonl --out facts.jsonl", 2),
        ("evaluate m --probes facts.jsonl --adapter no", 2),
        ("attack --help", 0),
        ("attack no --with relearn", 2),
    ],
)
def test_help_and_bad_input_come_without_torch(arguments: str, status: int) -> None:
    code = (
        "import sys; from lune.cli import main; status = main(sys.argv[1:]); "
        f"sys.stderr.write('LOADED ' + ' '.join(sorted(set({HEAVY}) & set(sys.modules)))); sys.exit(status)"
    )
    command = [sys.executable, "-c", code, *arguments.split()]
    result = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert result.returncode == status
    assert result.stderr.endswith("LOADED ")


def test_help_takes_less_than_half_a_second_of_the_processor() -> None:
    def used() -> float:  # not the wall clock's time, which grows with whatever else runs on the machine
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    seconds = []
    while len(seconds) < 5 and min(seconds, default=1.0) >= 0.5:  # caches are cold the first time
        before = used()
        subprocess.run([sys.executable, "-m", "lune", "--help"], env=environment(), capture_output=True, check=True)
        seconds.append(used() - before)
    assert min(seconds) < 0.5
