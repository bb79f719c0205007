"""Settings from flags and a YAML file: flags win over the file, the file over the recipe, that over the defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from lune.cli.options import FORGET_SETTINGS, flag
from lune.errors import ConfigError, did_you_mean
from lune.settings import ForgetSettings, resolve, shown

SWITCHES = ("force", "quiet")


@dataclass(frozen=True)
class Invocation:
    """What a command was asked to do.

    Attributes:
        settings: Every setting of the run.
        force: Whether an output that is there may be replaced.
        quiet: Whether nothing but the result's place is printed.
        paths: The command's own flags that name a file or folder; None for those not given.
    """

    settings: ForgetSettings
    force: bool
    quiet: bool
    paths: Mapping[str, Path | None]


@dataclass(frozen=True)
class _Given:
    """A value and where it came from, as messages name it: ``--rank`` or ``settings.yaml:3: rank``."""

    value: object
    origin: str


def resolve_invocation(
    flags: Mapping[str, object],
    *,
    config: Path | None = None,
    settings: Sequence[str] = FORGET_SETTINGS,
    switches: Sequence[str] = SWITCHES,
    paths: Mapping[str, Path | None] | None = None,
    force: bool = False,
    quiet: bool = False,
) -> Invocation:
    """Return the settings, switches and paths of a command: every flag of it is a key of the file as well.

    Args:
        flags: Setting name to value, only those given on the command line.
        config: A YAML file of settings.
        settings: The settings that the file may hold.
        switches: Those of ``SWITCHES`` that the file may hold.
        paths: The command's own flags that name a file or folder, as given on the command line.
        force: The switch ``--force``.
        quiet: The switch ``--quiet``.

    Raises:
        ConfigError: When anything is unknown or not allowed; ``problems`` names everything.
    """
    own = dict(paths or {})
    given, problems = _read_config(config, (*settings, *own, *switches)) if config is not None else ({}, [])
    turned = {name: given.pop(name) for name in SWITCHES if name in given}
    problems += [
        f"{each.origin}: got {shown(each.value)}; allowed: true or false"
        for each in turned.values()
        if not isinstance(each.value, bool)
    ]
    for name, each in [(name, given.pop(name)) for name in own if name in given]:
        if not isinstance(each.value, str):
            problems.append(f"{each.origin}: got {shown(each.value)}; allowed: a path")
        else:
            own[name] = own[name] or Path(each.value)
    given |= {name: _Given(value, flag(name)) for name, value in flags.items()}
    resolved = resolve(
        {name: each.value for name, each in given.items()},
        origins={name: each.origin for name, each in given.items()},
        problems=problems,
    )
    on = {name for name, each in turned.items() if each.value is True}
    return Invocation(settings=resolved, force=force or "force" in on, quiet=quiet or "quiet" in on, paths=own)


def _read_config(path: Path, names: Sequence[str]) -> tuple[dict[str, _Given], list[str]]:
    """Return the values of a YAML file, and its repeated keys and those that are not among ``names``.

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
    given: dict[str, _Given] = {}
    problems: list[str] = []
    for key, line in lines:
        name = key.replace("-", "_")
        place = f"{path}:{line}"
        if name not in names:
            kebab = [flag(each).removeprefix("--") for each in names]
            elsewhere = name in (*FORGET_SETTINGS, *SWITCHES)
            what = f"this command takes no '{key}' from a file." if elsewhere else f"unknown key '{key}'."
            allowed = "" if elsewhere else f" Allowed: {', '.join(kebab)}."
            near = "" if elsewhere else did_you_mean(name.replace("_", "-"), kebab)
            problems.append(f"{place}: {what}{near or allowed}")
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
