"""What a package of plug-ins offers, read from its files without importing them: one small file is one thing.

A module counts when it has a top-level ``SOURCE = "..."``, the paper or address the thing comes from. Its name is the
file's, with hyphens; what it does is the first line of its docstring. To add a method, an attack or a benchmark, add
its file: nothing else lists them.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Entry:
    """One thing a package offers.

    Attributes:
        name: What the command line takes.
        summary: What it does, in one sentence.
        source: Where it was published, or this project.
        module: The module that implements it, imported only when it is used.
    """

    name: str
    summary: str
    source: str
    module: str


@cache
def catalogue(package: str) -> dict[str, Entry]:
    """Return what ``package`` offers, by name, in alphabetical order.

    Args:
        package: Name of a package whose modules are plug-ins, such as ``lune.methods``.
    """
    parent, _, folder = package.rpartition(".")
    entries = []
    for file in files(parent).joinpath(folder).iterdir():
        if not file.name.endswith(".py") or file.name.startswith("_"):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        source = _source(tree)
        if source is not None:
            stem = file.name.removesuffix(".py")
            summary = (ast.get_docstring(tree) or "").partition("\n")[0]
            entries.append(Entry(stem.replace("_", "-"), summary, source, f"{package}.{stem}"))
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}


def _source(tree: ast.Module) -> str | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if names == ["SOURCE"]:
                return str(node.value.value)
    return None
