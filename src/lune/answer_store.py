"""Greedy answers of a model that never changes, on disk: a bench that is taken up again asks it nothing twice.

Only benches keep answers here. Those to a user's own request may be the very data that is to be erased, and stay in the
run folder alone.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing

from lune import __version__
from lune.builtin import cache_folder
from lune.models import LoadedModel

_FORMAT = 1
"""Raised whenever the same model would answer in other words: another chat format, stop rule or decoding."""
_WAIT_S = 30.0
"""How long one process waits for another that is writing, in seconds."""
Question = tuple[str, int, str | None]
"""Prompt, most new tokens, system prompt."""


class AnswerStore:
    """The answers of one model, in a SQLite file in the cache folder; where none can be written, nothing is kept."""

    def __init__(self, model: LoadedModel) -> None:
        """Open the store of ``model``, told apart by weights, precision, device and this package's version."""
        made_by = [model.sha256, str(model.dtype), model.device.type, __version__, _FORMAT]
        name = hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:16]
        self._path = cache_folder() / "answers" / f"{name}.sqlite"

    def find(self, questions: Sequence[Question]) -> dict[Question, str]:
        """Return the answers that are there."""
        if not self._path.is_file():
            return {}
        try:
            with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as store:
                told = dict(store.execute("SELECT question, answer FROM answers"))
        except sqlite3.Error:
            return {}
        return {question: told[key] for question in questions if (key := json.dumps(question)) in told}

    def keep(self, answers: Mapping[Question, str]) -> None:
        """Add answers."""
        rows = [(json.dumps(question), answer) for question, answer in answers.items()]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as store, store:
                store.execute("CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, answer TEXT)")
                store.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError):
            return  # a disk that takes no cache is no reason to stop a bench
