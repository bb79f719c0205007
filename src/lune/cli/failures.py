"""How the command line fails: one clear message on standard error and the right exit status."""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Sequence

from lune.errors import ConfigError, LuneError
from lune.outputs import as_output_error

UNEXPECTED = 3
INTERRUPTED = 130
MAX_PROBLEMS = 20
DEBUG_VARIABLE = "LUNE_DEBUG"

_UNKNOWN_FLAG = re.compile(r"No such option: (\S+)(?: \(Possible options: (.*)\))?")
_UNKNOWN_COMMAND = re.compile(r"No such command '(.*?)'\.?(?: Did you mean (.*?)\??)?$")


def exit_status(error: BaseException, arguments: Sequence[str] = ()) -> int:
    """Print what went wrong to standard error and return the exit status that says so.

    Args:
        error: What was raised.
        arguments: The command line, to name the help page of its command where settings are wrong.
    """
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        _print(["interrupted; nothing half-written was left"])
        return INTERRUPTED
    known = error if isinstance(error, LuneError) else as_output_error(error)
    if known is not None:
        _print(message_lines(known, _help_page(arguments)))
        return known.exit_status
    again = f"run again with {DEBUG_VARIABLE}=1 for the traceback"
    _print([f"unexpected error: {type(error).__name__}: {_one_line(str(error))}; {again}"])
    return UNEXPECTED


def message_lines(error: LuneError, help_page: str) -> list[str]:
    """Return what is printed of ``error``: the cause, each problem where there are several, the next step."""
    lines = [f"error[{error.code}]: {_one_line(error.message)}"]
    if error.problems != (error.message,):
        lines += [f"  - {_one_line(problem)}" for problem in error.problems[:MAX_PROBLEMS]]
    if len(error.problems) > MAX_PROBLEMS:
        lines.append(f"  ... and {len(error.problems) - MAX_PROBLEMS} more")
    hint = error.hint or (help_page if isinstance(error, ConfigError) else "")
    if hint:
        lines.append(f"next: {_one_line(hint)}")
    return lines


def usage_error(message: str) -> ConfigError:
    """Return the error for a command line that typer refused with ``message``."""
    if match := _UNKNOWN_FLAG.fullmatch(message):
        message = f"Unknown flag '{match[1]}'." + (f" Did you mean: {match[2]}?" if match[2] else "")
    elif match := _UNKNOWN_COMMAND.fullmatch(message):
        near = (match[2] or "").replace("'", "")
        message = f"Unknown command '{match[1]}'." + (f" Did you mean: {near}?" if near else "")
        return ConfigError(message, hint="lune --help")
    return ConfigError(message)


def _help_page(arguments: Sequence[str]) -> str:
    """Return the command that prints the help of the command in ``arguments``."""
    command = next((word for word in arguments if not word.startswith("-")), "")
    return f"lune {command} --help" if command else "lune --help"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _print(lines: Sequence[str]) -> None:
    # A model's or a file's text may hold what the terminal's encoding has no sign for.
    encoding = sys.stderr.encoding or "utf-8"
    text = "\n".join(lines) + "\n"
    sys.stderr.write(text.encode(encoding, errors="backslashreplace").decode(encoding))
    sys.stderr.flush()
