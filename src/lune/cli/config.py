"""Settings from flags and a YAML file: flags win over the file, the file over the recipe, that over the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lune.cli.options import FORGET_SETTINGS, allowed, choices, flag
from lune.errors import ConfigError, did_you_mean, unknown_name
from lune.methods import METHODS
from lune.settings import ForgetSettings, resolve

SWITCHES = ("force", "quiet")


@dataclass(frozen=True)
class Invocation:
    """What a command was asked to do.

    Attributes:
        settings: Every setting of the run.
        force: Whether an output that is there may be replaced.
        quiet: Whether nothing but the result's place is printed.
    """

    settings: ForgetSettings
    force: bool
    quiet: bool


@dataclass(frozen=True)
class _Given:
    """A value and where it came from, as messages name it: ``--rank`` or ``settings.yaml:3: rank``."""

    value: object
    origin: str


def resolve_invocation(
    flags: Mapping[str, object], *, config: Path | None = None, force: bool = False, quiet: bool = False
) -> Invocation:
    """Return the settings and switches of a command.

    Args:
        flags: Setting name to value, only those given on the command line.
        config: A YAML file of settings.
        force: The switch ``--force``.
        quiet: The switch ``--quiet``.

    Raises:
        ConfigError: When anything is unknown or not allowed; ``problems`` names everything.
    """
    given, problems = _read_config(config) if config is not None else ({}, [])
    given |= {name: _Given(value, flag(name)) for name, value in flags.items()}
    switches = {name: given.pop(name) for name in SWITCHES if name in given}
    problems += [
        f"{each.origin}: got {_show(each.value)}; allowed: true or false"
        for each in switches.values()
        if not isinstance(each.value, bool)
    ]
    method = given.get("method")
    if method is not None and isinstance(method.value, str) and method.value not in METHODS:
        problems.append(f"{method.origin}: {unknown_name('method', method.value, list(METHODS))}")
    try:
        settings = resolve({name: each.value for name, each in given.items()})
    except ValidationError as error:
        raise _refused(problems + [_setting_problem(details, given) for details in error.errors()]) from error
    if problems:
        raise _refused(problems)
    on = {name for name, each in switches.items() if each.value is True}
    return Invocation(settings=settings, force=force or "force" in on, quiet=quiet or "quiet" in on)


def _refused(problems: Sequence[str]) -> ConfigError:
    summary = problems[0] if len(problems) == 1 else f"{len(problems)} settings are not valid; nothing was run."
    return ConfigError(summary, problems=problems)


def _setting_problem(details: ErrorDetails, given: Mapping[str, _Given]) -> str:
    """Return one of pydantic's findings with the flag or line it came from, and what is allowed."""
    if not details["loc"]:  # a check of several settings together
        return details["msg"].removeprefix("Value error, ")
    name = str(details["loc"][0])
    origin = given[name].origin if name in given else flag(name)
    text = f"{origin}: got {_show(details['input'])}; allowed: {allowed(name)}."
    if details["type"] in ("value_error", "assertion_error"):
        text = f"{origin}: got {_show(details['input'])}; {details['msg'].removeprefix('Value error, ')}"
    if isinstance(details["input"], str):
        text += did_you_mean(details["input"], choices(name))
    return text


def _show(value: object) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def _read_config(path: Path) -> tuple[dict[str, _Given], list[str]]:
    """Return the settings of a YAML file, and its unknown and repeated keys.

    Raises:
        ConfigError: When it is not a YAML mapping.
    """
    text = _read_text(path)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(_yaml_message(path, error), hint="mend the file; one `key: value` a line") from error
    if node is None:
        return {}, []
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path} must hold `key: value` lines.", hint="one setting a line, such as `passes: 8`")
    lines = [(str(key.value), key.start_mark.line + 1) for key, _ in node.value]
    named = {str(key): value for key, value in values.items()}
    names = (*FORGET_SETTINGS, *SWITCHES)
    given: dict[str, _Given] = {}
    problems: list[str] = []
    for key, line in lines:
        name = key.replace("-", "_")
        place = f"{path}:{line}"
        if name not in names:
            kebab = [flag(each).removeprefix("--") for each in names]
            problems.append(f"{place}: unknown key '{key}'.{did_you_mean(name.replace('_', '-'), kebab)}")
        elif name in given:
            problems.append(f"{place}: {key} is there twice")
        else:
            given[name] = _Given(named[key], f"{place}: {key}")
    return given, problems


def _read_text(path: Path) -> str:
    hint = "check the path given by --config"
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"There is no file {path}.", hint=hint) from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path} is a folder, not a file.", hint=hint) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text.", hint="save the file as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", hint=hint) from error


def _yaml_message(path: Path, error: Exception) -> str:
    """Return what is wrong with a YAML file, with the line where it is known."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"{path}:{mark.line + 1}: not valid YAML: {error.problem} (column {mark.column + 1})."
    return f"{path}: not valid YAML: {error}."
