from __future__ import annotations

import pytest

from lune.metrics.retention import utility_retention
from lune.records import Answered, Probe, ProbeKind


def asked(
    kind: ProbeKind,
    identifier: str,
    *,
    before: bool = True,
    after: bool = True,
    fact: str | None = None,
    relation: str | None = None,
) -> Answered:
    probe = Probe(identifier, kind, "prompt", ("yes",), "test", fact_id=fact, relation=relation)
    return Answered(probe, "", "", before, after)


NEIGHBOURS = [
    asked("neighbour", "n1", fact="a", relation="same", after=True),
    asked("neighbour", "n2", fact="a", relation="same", after=False),
    asked("neighbour", "n3", fact="b", relation="other", after=True),
    asked("neighbour", "n4", fact="b", relation="given", after=False),
    asked("neighbour", "n5", fact="b", relation="same", before=False, after=True),
]
GENERAL = [
    *(asked("general", f"g{number}", after=number != 0) for number in range(10)),
    asked("general", "gained", before=False, after=True),
    asked("general", "never", before=False, after=False),
]


def test_only_what_was_right_before_counts_and_gains_do_not() -> None:
    kept = utility_retention([*NEIGHBOURS, *GENERAL])
    assert kept.neighbour.value == 2 / 4
    assert kept.general.value == 9 / 10
    assert kept.gur.value == pytest.approx((0.5 + 0.9) / 2)
    assert {name: interval.value for name, interval in kept.neighbour_by_relation.items()} == {
        "same": 1 / 2,
        "other": 1.0,
        "given": 0.0,
    }


def test_the_half_of_gur_is_over_probes_not_over_facts() -> None:
    kept = [asked("neighbour", f"a{number}", fact="a") for number in range(3)]
    lost = asked("neighbour", "b", fact="b", after=False)
    result = utility_retention([*kept, lost, asked("general", "g")])
    assert result.neighbour.value == 3 / 4
    assert result.gur.value == pytest.approx((3 / 4 + 1) / 2)


def test_before_is_one_by_definition() -> None:
    kept = utility_retention([*NEIGHBOURS, *GENERAL], when="before")
    assert (kept.neighbour.value, kept.general.value, kept.gur.value) == (1.0, 1.0, 1.0)


def test_forgotten_facts_do_not_count_as_utility() -> None:
    kept = utility_retention([asked("direct", "d", fact="a", after=False), asked("general", "g")])
    assert kept.general.value == 1.0


def test_what_cannot_be_counted_has_no_value_and_neither_has_the_mean() -> None:
    only_general = utility_retention(GENERAL)
    assert only_general.neighbour.value is None
    assert only_general.gur.value is None
    assert only_general.neighbour_by_relation == {}
    all_wrong_before = utility_retention([asked("general", "g", before=False, after=True)])
    assert all_wrong_before.general.value is None


def test_every_neighbour_lost_is_zero() -> None:
    lost = [asked("neighbour", f"n{i}", fact=str(i), relation="same", after=False) for i in range(3)]
    assert utility_retention([*lost, *GENERAL]).neighbour.value == 0.0


def test_neighbours_are_drawn_by_fact_and_general_probes_one_by_one() -> None:
    # One fact lost all its 50 neighbours, the other none: drawn by fact, the share is 0, 0.5 or 1.
    by_fact = [asked("neighbour", f"n{i}", fact="ab"[i % 2], after=i % 2 == 0) for i in range(100)]
    interval = utility_retention(by_fact).neighbour
    assert (interval.value, interval.low, interval.high) == (0.5, 0.0, 1.0)
    general = [asked("general", f"g{i}", after=i % 2 == 0) for i in range(100)]
    interval = utility_retention(general).general
    assert interval.low is not None and interval.high is not None
    assert 0.38 < interval.low < 0.45 and 0.55 < interval.high < 0.62


def test_the_interval_of_gur_lies_around_it() -> None:
    gur = utility_retention([*NEIGHBOURS, *GENERAL]).gur
    assert gur.low is not None and gur.value is not None and gur.high is not None
    assert gur.low < gur.value < gur.high <= 1.0
    single_fact = [item for item in NEIGHBOURS if item.probe.fact_id == "a"]
    assert utility_retention([*single_fact, *GENERAL]).gur.low is None


def test_a_neighbour_without_relation_is_named_so() -> None:
    kept = utility_retention([asked("neighbour", "n", fact="a")])
    assert list(kept.neighbour_by_relation) == ["unspecified"]
