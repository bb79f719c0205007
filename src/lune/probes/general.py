"""General probes: short questions everyone may ask, to see that a model still knows what it knew.

The questions ship with the package (``lune/data/general.jsonl``) and were written for it. None is
about a fact that the demo forgets.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from importlib.resources import files

from lune.records import Probe, Split

_DEV_SHARE = 5  # one question in so many steers a run, the others are only reported


def split_of(identifier: str) -> Split:
    """Return the split a question belongs to, by a hash of its id: it never changes with the file's order."""
    return "dev" if int(hashlib.sha256(identifier.encode()).hexdigest()[:8], 16) % _DEV_SHARE == 0 else "test"


@lru_cache(maxsize=1)
def _questions() -> tuple[Probe, ...]:
    text = files("lune").joinpath("data", "general.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()]
    # The file goes topic by topic; hash order mixes them, so that a limit keeps a bit of every topic.
    rows.sort(key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest()[8:])
    return tuple(
        Probe(
            id=row["id"],
            kind="general",
            prompt=row["prompt"],
            expected=(row["answer"], *row["aliases"]),
            split=split_of(row["id"]),
        )
        for row in rows
    )


def general_probes(split: Split, limit: int | None = None) -> list[Probe]:
    """Return the general questions of a split, topics mixed, always in the same order.

    Args:
        split: ``dev`` (about a fifth of the questions) or ``test``.
        limit: At most so many; all when not given.
    """
    return [probe for probe in _questions() if probe.split == split][:limit]
