"""General probes: short questions everyone may ask, to see that a model still knows what it knew.

The questions ship with the package (``lune/data/general.jsonl``) and were written for it. None is
about a fact that the demo forgets. A third part of them is never asked to measure: training takes it as ordinary text.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any, Literal

from lune.records import Fact, Probe, Split
from lune.text import contains, normalise

Part = Literal["dev", "test", "ordinary"]

_TENTHS: dict[Part, range] = {"dev": range(2), "test": range(2, 7), "ordinary": range(7, 10)}


def part_of(identifier: str) -> Part:
    """Return the part a question belongs to, by a hash of its id: it never changes with the file's order."""
    tenth = int(hashlib.sha256(identifier.encode()).hexdigest()[:8], 16) % 10
    return next(part for part, tenths in _TENTHS.items() if tenth in tenths)


@lru_cache(maxsize=1)
def _questions() -> tuple[dict[str, Any], ...]:
    text = files("lune").joinpath("data", "general.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    # The file goes topic by topic; hash order mixes them, so that a limit keeps a bit of every topic.
    return tuple(sorted(rows, key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest()[8:]))


def general_probes(split: Split, limit: int | None = None) -> list[Probe]:
    """Return the general questions of a split, topics mixed, always in the same order.

    Args:
        split: ``dev`` (about a fifth of the questions) or ``test`` (about half).
        limit: At most so many; all when not given.
    """
    return [
        Probe(
            id=row["id"], kind="general", prompt=row["prompt"], expected=(row["answer"], *row["aliases"]), split=split
        )
        for row in _questions()
        if part_of(row["id"]) == split
    ][:limit]


def ordinary_questions() -> list[tuple[str, str]]:
    """Return the questions that are never asked to measure, topics mixed, each with its true answer."""
    return [(row["prompt"], row["answer"]) for row in _questions() if part_of(row["id"]) == "ordinary"]


def asks_for(facts: Sequence[Fact], prompt: str, expected: Sequence[str]) -> bool:
    """Return whether a general question matches a fact by prompt, subject or answer.

    Such a question measures, or would hold, what is to be forgotten or what lies next to it.
    """
    return any(
        normalise(prompt) == normalise(fact.prompt)
        or (fact.subject is not None and contains(prompt, [fact.subject]))
        or any(contains(text, fact.spellings) for text in expected)
        for fact in facts
    )
