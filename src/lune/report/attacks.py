"""What ``lune attack`` found, as the report shows it: read from attacks.json, with no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lune.report.folder import Row, items, mapping, number, text

BY_CONSTRUCTION = "adapter-scale"
_NOT_COUNTED = -2.0  # below every difference of two shares


@dataclass(frozen=True)
class AttackRow:
    """One attack on the finished run.

    Attributes:
        name: The attack's name.
        tries: What it does.
        threat: Who could do it.
        meaning: What came of it, in a sentence.
        before: USR under the plain question.
        after: USR under the attack; None where it was not made.
        recovered: The difference.
        interval: Its 95 % interval.
        base_gives: Share of the facts that the base model gives under it; None where not measured.
        form: The variant reported, where there were several attacks of the kind.
        budget: How much it might spend.
        made: Whether it could be made.
    """

    name: str
    tries: str
    threat: str
    meaning: str
    before: float | None
    after: float | None
    recovered: float | None
    interval: tuple[float, float] | None
    base_gives: float | None
    form: str
    budget: str
    made: bool


def attack_rows(record: Row) -> tuple[AttackRow, ...]:
    """Return the attacks of attacks.json, the one that recovers most first and those not made last."""
    rows = [_row(mapping(entry)) for entry in items(record.get("attacks"))]

    def order(row: AttackRow) -> tuple[bool, float]:
        return row.made, _NOT_COUNTED if row.recovered is None else row.recovered

    return tuple(sorted(rows, key=order, reverse=True))


def worst_in_words(rows: Sequence[AttackRow]) -> tuple[str, ...]:
    """Return a sentence on the attack that brings back most, for beside the verdict, which knows of none; or nothing.

    Taking the adapter off is left out: it brings back everything by construction.
    """
    counted = [row for row in rows if row.made and row.recovered is not None and row.name != BY_CONSTRUCTION]
    if not counted:
        return ()
    worst = max(counted, key=lambda row: row.recovered or 0.0)
    share = max(0.0, worst.recovered or 0.0)
    strongest = f"the strongest is {worst.name}, which brings back {share:.0%} of the facts"
    told = strongest if share else "none brings any back"
    return (f"Attacks made afterwards are no part of this verdict. Of {len(counted)} made, {told}.",)


def threats(general: Sequence[tuple[str, str]], rows: Sequence[AttackRow]) -> tuple[tuple[str, str], ...]:
    """Return who could still get at the facts, with what was measured in the place of "not measured here".

    Args:
        general: Who, and what holds without any attack.
        rows: The attacks that were made.
    """
    made = {row.name: row for row in rows if row.made}
    found = []
    for who, answer in general:
        told = [f"{name}: {made[name].meaning}" for name in MEASURED_BY.get(who, ()) if name in made]
        found.append((who, "Measured. " + " ".join(told) if told else answer))
    return tuple(found)


MEASURED_BY: Mapping[str, tuple[str, ...]] = {
    "Asks in a way no probe here tried": ("sampling", "prefix", "multi-turn", "in-context", "cross-lingual"),
    "Fine-tunes the model further": ("relearn", "benign-relearn"),
    "Runs it at another precision, such as 4 bits": ("int8", "nf4", "gguf-q4"),
    "Reads likelihoods or inner activations": ("choice", "logit-lens"),
}


def _row(entry: Row) -> AttackRow:
    recovered = mapping(entry.get("recovered"))
    low, high = number(recovered.get("low")), number(recovered.get("high"))
    return AttackRow(
        name=text(entry.get("attack")),
        tries=text(entry.get("tries")),
        threat=text(entry.get("threat")),
        meaning=text(entry.get("meaning")),
        before=number(mapping(entry.get("usr_before")).get("value")),
        after=number(mapping(entry.get("usr_after")).get("value")),
        recovered=number(recovered.get("value")),
        interval=None if low is None or high is None else (low, high),
        base_gives=number(entry.get("base_gives")),
        form=text(entry.get("form")),
        budget=text(entry.get("budget")),
        made=not text(entry.get("skipped")),
    )
