"""Rows of a data file with the line each began on: JSON lines, JSON, CSV or standard input.

Only the form is checked here; what a row must hold is known by ``lune.facts``.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from lune.errors import RequestError, did_you_mean

STDIN = "-"
LIST_SEPARATOR = "|"


@dataclass(frozen=True)
class Fields:
    """The fields a row may have, so that a CSV file can be read into the same shape as JSON.

    Attributes:
        names: Every allowed field.
        required: Those that must be there.
        lists: Those that hold texts, separated by ``|`` in CSV.
        nested: Those that hold JSON in CSV.
    """

    names: tuple[str, ...]
    required: tuple[str, ...]
    lists: tuple[str, ...] = ()
    nested: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One row as it was read: the line it began on, one-based, and its value, whatever that is."""

    line: int
    value: object


@dataclass(frozen=True, order=True)
class Problem:
    """What is wrong at a line (one-based; 0 for the file as a whole)."""

    line: int
    text: str

    def at(self, name: str) -> str:
        """Return the problem with its place in the file ``name``."""
        return f"{name}:{self.line}: {self.text}" if self.line else f"{name}: {self.text}"


Reading = tuple[list[Row], list[Problem]]


class _DuplicateFieldError(ValueError):
    """A JSON object that has the same field twice; plain ``json`` would silently keep the last."""


def source_name(source: str) -> str:
    """Return how messages call ``source``."""
    return "standard input" if source == STDIN else source


def read_rows(source: str, fields: Fields, stdin: TextIO | None = None, *, suffixes: Sequence[str]) -> Reading:
    """Return the rows of ``source`` and everything that is wrong with their form.

    Args:
        source: A file's path, or ``-`` for standard input (JSON lines or a JSON list, told apart).
        fields: What a row may hold.
        stdin: Standard input; the process's own when not given.
        suffixes: The allowed endings of a file's name.

    Raises:
        RequestError: When the source as a whole cannot be read.
    """
    if source == STDIN:
        text = _decode_stdin(stdin if stdin is not None else sys.stdin)
        read: Callable[[str, Fields], Reading] = _read_sniffed
    else:
        path = _existing_file(source, suffixes)
        text = _decode_file(path)
        read = _READERS[path.suffix.lower()]
    if not text.strip():
        raise RequestError(f"{source_name(source)} is empty.", hint="put at least one fact into it")
    return read(text, fields)


def _existing_file(source: str, suffixes: Sequence[str]) -> Path:
    """Return ``source`` as the path of a regular file with an allowed ending, or raise RequestError."""
    path = Path(source)
    allowed = ", ".join(suffixes)
    try:
        if path.is_dir():
            raise RequestError(f"{source} is a folder, not a file.", hint=f"name one {allowed} file in it")
        if not path.exists():
            folder = path.parent
            siblings = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
            message = f"There is no file {source}.{did_you_mean(path.name, siblings)}"
            raise RequestError(message, hint="check the path, or see a run on shipped facts: lune demo")
    except (OSError, ValueError) as error:
        raise RequestError(f"{source} cannot be read: {error}.", hint="check the path") from error
    if path.suffix.lower() not in suffixes:
        got = f"ends in '{path.suffix}'" if path.suffix else "has no ending"
        raise RequestError(f"{source} {got}; allowed: {allowed}.", hint=f"rename it to what it holds: {allowed}")
    return path


def _decode_file(path: Path) -> str:
    """Return the text of ``path``, without a byte-order mark."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RequestError(
            f"{path} is not UTF-8 text (byte {error.start + 1} is wrong).", hint="save the file as UTF-8"
        ) from error
    except OSError as error:
        raise RequestError(f"{path} cannot be read: {error.strerror}.", hint="check the file's permissions") from error


def _decode_stdin(stdin: TextIO) -> str:
    """Return all of standard input, without a byte-order mark."""
    try:
        return stdin.read().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise RequestError("Standard input is not UTF-8 text.", hint="pipe UTF-8 text in") from error


def _unique_fields(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return ``pairs`` as a dictionary, for the JSON decoder; a field given twice is an error."""
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise _DuplicateFieldError(f"given twice: {', '.join(twice)}")
    return dict(pairs)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique_fields)


def _json_problem(error: ValueError | RecursionError) -> str:
    """Return what is wrong with a JSON text."""
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {error.msg} (column {error.colno})"
    if isinstance(error, RecursionError):
        return "not usable JSON: nested too deeply"
    return f"not usable JSON: {error}"


def _read_json_lines(text: str, _fields: Fields) -> Reading:
    """Read one JSON object a line; empty lines are skipped."""
    if text.lstrip().startswith("["):
        return [], [Problem(1, "this is a JSON list, not JSON lines; end the file's name in .json")]
    rows: list[Row] = []
    problems: list[Problem] = []
    # Not splitlines(): a line separator such as U+2028 may stand inside a JSON string.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            rows.append(Row(number, _DECODER.decode(line)))
        except (ValueError, RecursionError) as error:
            problems.append(Problem(number, _json_problem(error)))
    return rows, problems


def _read_json(text: str, _fields: Fields) -> Reading:
    """Read a JSON list, or an object whose field ``facts`` is one."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        lines = " (one object a line? end the file's name in .jsonl)" if error.msg == "Extra data" else ""
        return [], [Problem(error.lineno, _json_problem(error) + lines)]
    except (ValueError, RecursionError) as error:
        return [], [Problem(0, _json_problem(error))]
    if isinstance(value, dict) and set(value) == {"facts"}:
        value = value["facts"]
    if not isinstance(value, list):
        return [], [Problem(1, 'must be a list of facts, or {"facts": [...]} with no other field')]
    return _items(text)


def _items(text: str) -> Reading:
    """Return the items of the first list in ``text``, which is known to be valid JSON."""
    rows: list[Row] = []
    problems: list[Problem] = []
    position = text.index("[") + 1
    line = text.count("\n", 0, position) + 1
    while True:
        start = position
        while text[position] in " \t\r\n,":
            position += 1
        line += text.count("\n", start, position)
        if text[position] == "]":
            return rows, problems
        try:
            value, end = _DECODER.raw_decode(text, position)
            rows.append(Row(line, value))
        except _DuplicateFieldError as error:
            problems.append(Problem(line, _json_problem(error)))
            _, end = json.JSONDecoder().raw_decode(text, position)
        line += text.count("\n", position, end)
        position = end


def _read_sniffed(text: str, fields: Fields) -> Reading:
    """Read standard input: a JSON list or ``{"facts": [...]}`` where it is one, else JSON lines."""
    if text.lstrip().startswith("["):
        return _read_json(text, fields)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return _read_json_lines(text, fields)
    if isinstance(value, dict) and "facts" not in value:
        return [Row(1, value)], []
    return _read_json(text, fields)


def _read_csv(text: str, fields: Fields) -> Reading:
    """Read comma-separated values with a header of field names."""
    # newline="" keeps line ends inside quoted cells, as the csv module asks for.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[Row] = []
    problems: list[Problem] = []
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
        except csv.Error as error:
            return rows, [*problems, Problem(line, f"not valid CSV: {error}")]
        if cells is None:
            return rows, problems
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [name.strip() for name in cells]
            wrong = _header_problems(line, header, fields)
            if wrong:
                return rows, wrong
            continue
        try:
            rows.append(Row(line, _csv_values(header, cells, fields)))
        except ValueError as error:
            problems.append(Problem(line, str(error)))


def _header_problems(line: int, header: Sequence[str], fields: Fields) -> list[Problem]:
    """Return what is wrong with the names of the columns."""
    if len(header) == 1 and ";" in header[0]:
        return [Problem(line, "columns are separated by ';'; separate them by commas")]
    allowed = f" Allowed: {', '.join(fields.names)}."
    unknown = [name for name in header if name not in fields.names]
    texts = [f"unknown column '{name}'.{did_you_mean(name, fields.names)}{allowed}" for name in unknown]
    texts += [f"column '{name}' is there twice" for name in sorted(set(header)) if header.count(name) > 1]
    texts += [f"column '{name}' is missing" for name in fields.required if name not in header]
    return [Problem(line, text) for text in texts]


def _csv_values(header: Sequence[str], cells: Sequence[str], fields: Fields) -> dict[str, object]:
    """Return one CSV row in the shape of a JSON object; empty cells of optional columns are left out."""
    if len(cells) > len(header):
        raise ValueError(f"{len(cells)} cells under {len(header)} columns; put quotes around a cell that has a comma")
    values: dict[str, object] = {}
    for name, cell in zip(header, cells, strict=False):
        if not cell.strip():
            if name in fields.required:
                values[name] = cell
        elif name in fields.lists:
            values[name] = _csv_list(name, cell)
        elif name in fields.nested:
            try:
                values[name] = _DECODER.decode(cell)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{name}: {_json_problem(error)}") from error
        else:
            values[name] = cell
    return values


def _csv_list(name: str, cell: str) -> object:
    """Return the texts of a cell: a JSON list, or texts with a bar between them.

    Raises:
        ValueError: When the cell begins like a JSON list and is none, or seems to use another separator.
    """
    if cell.strip().startswith("["):
        try:
            return _DECODER.decode(cell.strip())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}: {_json_problem(error)}") from error
    if ";" in cell and LIST_SEPARATOR not in cell:
        raise ValueError(f"{name}: put '{LIST_SEPARATOR}' between several texts, not ';', or write a JSON list")
    return [part for part in cell.split(LIST_SEPARATOR) if part.strip()]


_READERS: dict[str, Callable[[str, Fields], Reading]] = {
    ".jsonl": _read_json_lines,
    ".json": _read_json,
    ".csv": _read_csv,
}
