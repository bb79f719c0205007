"""Write the pages that come from the code, and docs/results.md from the stored run records.

Run as ``make docs``. The tests compare the pages with what ``PAGES`` gives, so a page that is out of date fails them.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.main import get_command

from lune.cli import app
from lune.cli.options import flag
from lune.settings import RECIPES, ForgetSettings, allowed

sys.path.insert(0, str(Path(__file__).resolve().parent))
from make_results import results_page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "lune"

NOTICE = "<!-- Written by `make docs` from the code: edit there. -->"

COMMANDS_INTRO = """
# Commands

What `lune COMMAND --help` prints, in one page. Where a command takes `--config`, every setting is also a key of that
YAML file; [settings.md](settings.md) lists the settings with their defaults in each recipe.

Exit status: 0 done and `FORGOTTEN`, 1 done with another verdict, 2 bad input or configuration (nothing ran), 3 the run
failed, 130 interrupted. [errors.md](errors.md) explains each error.
"""

SETTINGS_INTRO = """
# Settings

Everything that decides a run of `lune forget`. A setting is given as a flag (`--batch-size 8`) or as a key of the YAML
file named by `--config` (`batch-size: 8`). What is given wins over the recipe, and the recipe over the default. An
unknown key is an error. Every run records all of them in its `run.json`, by the names in the first column.
"""

MODULES_INTRO = """
# Modules

Every module of the package with the first words of its docstring. [architecture.md](architecture.md) shows how they
hang together.
"""


def modules_page() -> str:
    """Return the list of modules, each with the first line of its docstring, as Markdown."""
    lines = [f"{NOTICE}\n{MODULES_INTRO}", "| Module | What it is |", "| --- | --- |"]
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda path: (path.parent != PACKAGE, path)):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        if docstring:
            lines.append(f"| `{name}` | {_cell(docstring.split(chr(10) * 2)[0])} |")
    return "\n".join([*lines, ""])


def commands_page() -> str:
    """Return the command reference as Markdown."""
    root = get_command(app).make_context("lune", [], resilient_parsing=True)
    sections = [f"{NOTICE}\n{COMMANDS_INTRO}"]
    sections += [_command_section(context) for context in contexts(root)]
    return "\n".join(sections)


def settings_page() -> str:
    """Return the settings reference as Markdown."""
    header = "| " + " | ".join(["Setting", "Flag", "Allowed", *(f"`{name}`" for name in RECIPES), "Meaning"]) + " |"
    rule = "|" + " --- |" * (4 + len(RECIPES))
    rows = [_setting_row(name, field) for name, field in ForgetSettings.model_fields.items()]
    return "\n".join([f"{NOTICE}\n{SETTINGS_INTRO}", header, rule, *rows, ""])


def _setting_row(name: str, field: FieldInfo) -> str:
    flags = f"`{flag(name)}`"
    if field.annotation is bool:
        flags += f", `--no-{flag(name).removeprefix('--')}`"
    defaults = [_show(recipe.get(name, field.default)) for recipe in RECIPES.values()]
    if name == "recipe":
        defaults = [f"`{recipe}`" for recipe in RECIPES]
    return (
        "| " + " | ".join([f"`{name}`", flags, _cell(allowed(name)), *defaults, _cell(field.description or "")]) + " |"
    )


def _show(value: object) -> str:
    """Return a default as it would stand in the YAML file; a dash for none."""
    if value is None or value is PydanticUndefined:
        return "–"
    if isinstance(value, Enum):
        value = value.value
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def contexts(context: Any) -> Iterator[Any]:
    """Yield the context of a command, then those of its subcommands, in the order ``--help`` lists them.

    Args:
        context: A context that typer made; its class is not public, it is click's own or typer's copy of it.
    """
    yield context
    for name in context.command.list_commands(context) if hasattr(context.command, "list_commands") else ():
        command = context.command.get_command(context, name)
        if not command.hidden:
            yield from contexts(type(context)(command, info_name=name, parent=context))


def _command_section(context: Any) -> str:
    command = context.command
    lines = [f"## {context.command_path}", "", _prose(command.help or ""), ""]
    lines += ["```text", " ".join([context.command_path, *command.collect_usage_pieces(context)]), "```", ""]
    for kind, title in (("argument", "Argument"), ("option", "Option")):
        shown = [each for each in command.get_params(context) if each.param_type_name == kind]
        # A hidden parameter has no help record.
        records = [record for each in shown if (record := each.get_help_record(context)) is not None]
        rows = [f"| `{_cell(name)}` | {_cell(text)} |" for name, text in records]
        if rows:
            lines += [f"| {title} | Meaning |", "| --- | --- |", *rows, ""]
    if hasattr(command, "list_commands"):
        anchor = context.command_path.replace(" ", "-")
        links = [f"[{name}](#{anchor}-{name})" for name in command.list_commands(context)]
        lines += ["Commands: " + ", ".join(links) + ".", ""]
    if command.epilog:
        lines += [_examples(command.epilog), ""]
    return "\n".join(lines)


def _prose(text: str) -> str:
    """Return help text without typer's paragraph marks."""
    return inspect.cleandoc(text.replace("\b", "")).strip()


def _examples(epilog: str) -> str:
    """Return an epilog with its ``lune ...`` lines as a console block, which the tests parse."""
    blocks: list[str] = []
    inside = False
    for line in filter(str.strip, _prose(epilog).splitlines()):
        command = re.fullmatch(r"\s*(?:\$ )?(lune .+|.+ \| lune .+)", line)
        if bool(command) != inside:
            blocks.append("```" if inside else "\n```console")
            inside = not inside
        blocks.append(f"$ {command.group(1)}" if command else line.strip())
    return "\n".join([*blocks, *(["```"] if inside else [])]).strip()


def _cell(text: str) -> str:
    """Return ``text`` as it may stand in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {
    DOCS / "commands.md": commands_page,
    DOCS / "settings.md": settings_page,
    DOCS / "modules.md": modules_page,
    DOCS / "results.md": results_page,
}
"""Each generated page and the function that returns the text it should have."""


def main() -> None:
    """Write every generated page that differs and say which."""
    for path, page in PAGES.items():
        text = page()
        current = path.read_text(encoding="utf-8") if path.exists() else ""
        if current != text:
            path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {'current' if current == text else 'written'}")


if __name__ == "__main__":
    main()
