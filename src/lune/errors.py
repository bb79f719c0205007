"""The one family of errors a user can meet.

Every error says what came, what was allowed and the next command to type. Each has a stable
``code`` with its own section in ``docs/errors.md`` and the exit status the command line ends with:
2 for bad input or configuration (nothing ran), 3 for a run that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TypeVar

T = TypeVar("T")


class LuneError(Exception):
    """Base of all errors this package raises for its users.

    Args:
        message: What is wrong, naming what came and what was allowed; one line.
        hint: The next command or action, without a leading "try".
        problems: All single problems of one input, when there are several.
    """

    code = "lune-error"
    exit_status = 3

    def __init__(self, message: str, *, hint: str = "", problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = tuple(problems)


class RequestError(LuneError):
    """A forget request or probe file that cannot be used as it stands."""

    code = "bad-request"
    exit_status = 2


class ConfigError(LuneError):
    """A flag, setting or configuration file that is not valid."""

    code = "bad-config"
    exit_status = 2


class ModelError(LuneError):
    """A model that cannot be found, loaded or adapted."""

    code = "bad-model"
    exit_status = 2


class OutputError(LuneError):
    """An output folder that cannot be written: it exists, is read-only, or the disk is full."""

    code = "bad-output"
    exit_status = 2


class NegativesError(LuneError):
    """Too few valid negative examples could be found for a fact."""

    code = "too-few-negatives"
    exit_status = 2


class RunError(LuneError):
    """A run that started and failed: training diverged, an adapter did not change or reload."""

    code = "run-failed"
    exit_status = 3


class Gathered:
    """The errors of checks that do not hang on each other, so that all problems are told at once.

    Attributes:
        errors: What was raised so far.
    """

    def __init__(self) -> None:
        self.errors: list[LuneError] = []

    def get(self, check: Callable[[], T]) -> T | None:
        """Return what ``check`` returns, None where it raised."""
        try:
            return check()
        except LuneError as error:
            self.errors.append(error)
            return None

    @property
    def problems(self) -> list[str]:
        """Every single problem."""
        return [text for error in self.errors for text in error.problems or (error.message,)]

    def refuse(self) -> None:
        """Raise what came: the one error as it is, several as one ConfigError with all their problems."""
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            hints = dict.fromkeys(error.hint for error in self.errors if error.hint)
            raise ConfigError(
                f"{len(self.problems)} things are not valid; nothing was run.",
                problems=self.problems,
                hint="; ".join(hints),
            )


def did_you_mean(word: str, allowed: Sequence[str]) -> str:
    """Return ``" Did you mean: x, y?"`` for near misses of ``word``, or an empty string."""
    near = get_close_matches(word, allowed, n=3, cutoff=0.6)
    return f" Did you mean: {', '.join(near)}?" if near else ""


def unknown_name(kind: str, word: str, allowed: Sequence[str]) -> str:
    """Return the message for a name that is not in a registry.

    Args:
        kind: What is named, such as ``"method"``.
        word: The name that came.
        allowed: Every name there is.
    """
    return f"Unknown {kind} '{word}'.{did_you_mean(word, allowed)} Available: {', '.join(allowed)}."
