"""Settings from a YAML file: which win, and one clear message for every fault."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

import lune
from command_line import refused
from lune.cli import app
from lune.cli.config import resolve_invocation
from lune.cli.options import flag
from lune.errors import ConfigError
from lune.methods import METHODS
from lune.settings import RECIPES, ForgetSettings

pytestmark = pytest.mark.usefixtures("inside")


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
