"""Greedy answers of a model that never changes, on disk: a bench that is taken up again asks it nothing twice.

Only benches of published data keep answers here. Those to a user's own facts may be the very data that is to be erased,
and stay in the run folder alone. Removing the folder is safe at any time.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress

import torch
import transformers

from lune import __version__
from lune.builtin import cache_folder
from lune.models import LoadedModel

_FORMAT = 2
"""Raised whenever the same model would answer in other words: another stop rule or way of decoding."""
_WAIT_S = 30.0
"""How long one process waits for another that is writing, in seconds."""
_ASKED_AT_ONCE = 500
Question = tuple[str, int, str | None]
"""Prompt, most new tokens, system prompt."""


class AnswerStore:
    """The answers of one model, in a SQLite file in the cache folder; where none can be written, nothing is kept."""

    def __init__(self, model: LoadedModel) -> None:
        """Open the store of ``model``, told apart by all that could change its answers."""
        chat = [model.chat.encode("x", system="y").ids, model.chat.encode("x").ids, sorted(model.chat.stop_ids)]
        made_by: list[object] = [model.sha256, str(model.dtype), model.device.type, chat, _FORMAT]
        made_by += [__version__, torch.__version__, transformers.__version__]
        name = hashlib.sha256(json.dumps(made_by).encode()).hexdigest()[:16]
        self._path = cache_folder() / "answers" / f"{name}.sqlite"

    def find(self, questions: Sequence[Question]) -> dict[Question, str]:
        """Return the answers that are there."""
        if not self._path.is_file():
            return {}
        asked = {json.dumps(question): question for question in questions}
        keys = list(asked)
        found: dict[Question, str] = {}
        try:
            with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as store:
                for start in range(0, len(keys), _ASKED_AT_ONCE):
                    some = keys[start : start + _ASKED_AT_ONCE]
                    marks = ",".join("?" * len(some))
                    rows = store.execute(f"SELECT question, answer FROM answers WHERE question IN ({marks})", some)
                    found |= {asked[key]: str(answer) for key, answer in rows}
        except sqlite3.OperationalError:
            return {}  # busy, or made a moment ago by another process
        except sqlite3.DatabaseError:
            with suppress(OSError):
                self._path.unlink()  # damaged: the next answers begin it anew
            return {}
        return found

    def keep(self, answers: Mapping[Question, str]) -> None:
        """Add answers."""
        rows = [(json.dumps(question), answer) for question, answer in answers.items()]
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._path, os.O_CREAT, 0o600))  # nobody else's to read
            with closing(sqlite3.connect(self._path, timeout=_WAIT_S)) as store, store:
                store.execute("CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, answer TEXT)")
                store.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError):
            return  # a disk that takes no cache is no reason to stop a bench
