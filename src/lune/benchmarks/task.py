"""The one shape into which every benchmark is brought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lune.errors import RequestError
from lune.records import Fact, Probe

TaughtText = tuple[str, str]
"""A prompt and the response that is taught."""


def wrong_layout(name: str, source: Path, problems: Sequence[str], *, wanted: str, get: str) -> RequestError:
    """Return the error for a ``--data`` folder that is not laid out as a benchmark is published.

    Args:
        name: The benchmark, as its authors call it.
        source: The folder that was given.
        problems: What is missing or of another form.
        wanted: The files that it should hold.
        get: The command that gets it.
    """
    more = f", and {len(problems) - 1} more" if len(problems) > 1 else ""
    return RequestError(
        f"--data {source} does not have the layout of {name}: {problems[0]}{more}. Wanted: {wanted} "
        "(docs/benchmarks.md, Data folders).",
        problems=problems if len(problems) > 1 else (),
        hint=get,
    )


@dataclass(frozen=True)
class Teaching:
    """What a model must be taught before it can forget, for benchmarks of fictitious facts.

    Attributes:
        everything: All texts: what the target model learns.
        retained: Those without the forget set: what the retrain reference learns.
    """

    everything: tuple[TaughtText, ...]
    retained: tuple[TaughtText, ...]


@dataclass(frozen=True)
class Task:
    """One thing to forget and all that is measured for it.

    Attributes:
        name: The benchmark and the part of it, such as ``tofu-forget05-20``; unique, fit for a folder's name.
        facts: The forget request.
        probes: The benchmark's own test probes, of all kinds; the tool's own attack probes come beside them.
        teaching: What must be taught first, None for benchmarks of real facts.
        members: Forget texts of a membership attack, (prompt, response); an empty prompt for raw text.
        non_members: Texts of the same kind that no model was taught.
        lowest_share: Share of the tokens that the membership attacks min-k and min-k++ look at.
        details: Rows that the benchmark's own protocol needs, by name.
    """

    name: str
    facts: tuple[Fact, ...]
    probes: tuple[Probe, ...] = ()
    teaching: Teaching | None = None
    members: tuple[TaughtText, ...] = ()
    non_members: tuple[TaughtText, ...] = ()
    lowest_share: float = 0.2
    details: dict[str, Any] = field(default_factory=dict)
