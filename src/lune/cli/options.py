"""Flags made from the settings model, so that the two can never disagree."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lune.settings import RECIPES, ForgetSettings, choices, kind_of

FORGET_SETTINGS = tuple(ForgetSettings.model_fields)
DEFAULT_RECIPE = "lune"

# The help page groups the flags: a panel begins at each of these settings.
PANELS = {"model": "Run", "negatives_style": "Negatives", "adapter": "Adapter", "learning_rate": "Training"}
_WIDEST_CHOICES = 24
_METAVARS = {int: "N", float: "X", str: "TEXT", Path: "PATH"}

Command = Callable[..., None]

RequestArgument = Annotated[
    str, typer.Argument(metavar="REQUEST", help="The facts to forget: a .jsonl, .json or .csv file, or - for stdin.")
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.yaml", help="Settings from a YAML file; its keys are these flags."),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Print nothing but where the result is.")]


def flag(name: str) -> str:
    """Return the flag of a setting."""
    return "--" + name.replace("_", "-")


def with_settings(*names: str, described: Mapping[str, str] | None = None) -> Callable[[Command], Command]:
    """Return a decorator that adds the flags of ``names`` to a command.

    The command gets them in its parameter ``given``: only those that were given, as typed (a text, or a bool
    for switches), by the settings' names. Checking them is ``lune.cli.config``'s.

    Args:
        *names: The settings.
        described: Setting name to the help of its flag, where the command differs from the setting's description.
    """

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def command(**arguments: Any) -> None:
            flags = {name: arguments.pop(name) for name in names}
            function(**arguments, given={name: value for name, value in flags.items() if value is not None})

        own = inspect.signature(function, eval_str=True).parameters.values()
        parameters = [parameter for parameter in own if parameter.name != "given"]
        parameters += [_parameter(name, (described or {}).get(name) or help_text(name)) for name in names]
        signature = inspect.Signature([each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in parameters])
        command.__annotations__ = {each.name: each.annotation for each in parameters}
        setattr(command, "__signature__", signature)  # noqa: B010 - typer reads it; functions do not declare it
        return command

    return decorate


def _parameter(name: str, described: str) -> inspect.Parameter:
    """Return the command's parameter for a setting. Its default is None, so that what was given can be told."""
    switch = ForgetSettings.model_fields[name].annotation is bool
    negated = f"/--no-{name.replace('_', '-')}" if switch else ""
    option = typer.Option(
        flag(name) + negated,
        metavar=None if switch else _metavar(name),
        help=described.replace("[", r"\["),
        rich_help_panel=_panel(name),
        show_default=False,
    )
    kind = bool | None if switch else str | None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def help_text(name: str) -> str:
    """Return a flag's help: the setting's description, its choices where the flag has no room, its defaults."""
    field = ForgetSettings.model_fields[name]
    text = field.description or ""
    if len("|".join(choices(name))) > _WIDEST_CHOICES:
        text += f" One of: {', '.join(choices(name))}."
    default = RECIPES[DEFAULT_RECIPE].get(name, field.default)
    others = {recipe: values[name] for recipe, values in RECIPES.items() if values.get(name, default) != default}
    shown = [] if default is None else [_show(default)]
    shown += [f"{recipe}: {_show(value)}" for recipe, value in others.items()]
    return f"{text} Default: {'; '.join(shown)}." if shown else text


def _show(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _panel(name: str) -> str:
    """Return the title of the panel that a setting's flag stands in."""
    so_far = FORGET_SETTINGS[: FORGET_SETTINGS.index(name) + 1]
    return next(PANELS[each] for each in reversed(so_far) if each in PANELS)


def _metavar(name: str) -> str:
    joined = "|".join(choices(name))
    if joined:
        return joined if len(joined) <= _WIDEST_CHOICES else "CHOICE"
    return _METAVARS[kind_of(ForgetSettings.model_fields[name])]
