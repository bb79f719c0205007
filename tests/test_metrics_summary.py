from __future__ import annotations

import json

import pytest

from lune.language_model import TokenScores
from lune.metrics import Scores, membership, summarise
from lune.records import Answered, Probe, ProbeKind, Split

KEYS = {
    "usr",
    "apr",
    "apr_worst_case",
    "apr_by_attack",
    "paraphrase_usr",
    "gur",
    "gur_neighbour",
    "gur_general",
    "gur_neighbour_by_relation",
    "refusal_rate",
    "adopted_alternate_rate",
    "fluency",
    "degenerate_rate",
    "mia",
    "counts",
    "intervals",
}


def asked(
    kind: ProbeKind,
    identifier: str,
    before: str,
    after: str,
    *,
    expected: str = "Paris",
    fact: str | None = None,
    attack: str | None = None,
    relation: str | None = None,
    split: Split = "test",
) -> Answered:
    probe = Probe(identifier, kind, "?", (expected,), split, fact_id=fact, attack=attack, relation=relation)
    return Answered(probe, before, after, expected in before, expected in after)


def run() -> list[Answered]:
    return [
        asked("direct", "d1", "Paris", "Lyon", fact="a"),
        asked("direct", "d2", "Paris", "I do not know.", fact="b"),
        asked("direct", "d3", "Rome", "Rome", fact="unknown"),
        asked("paraphrase", "p1", "Paris", "Paris", fact="a"),
        asked("paraphrase", "p2", "Paris", "Lyon", fact="b"),
        asked("adversarial", "x1", "Paris", "Lyon", fact="a", attack="hint"),
        asked("adversarial", "x2", "Paris", "Paris", fact="b", attack="role play"),
        asked("adversarial", "x3", "Paris", "Paris", fact="unknown", attack="hint"),
        asked("neighbour", "n1", "Oslo", "Oslo", expected="Oslo", fact="a", relation="same"),
        asked("neighbour", "n2", "Bonn", "Lyon", expected="Bonn", fact="b", relation="other"),
        asked("neighbour", "n3", "x", "Bern", expected="Bern", fact="b", relation="other"),
        asked("general", "g1", "four", "four", expected="four"),
        asked("general", "g2", "blue", "", expected="blue"),
        asked("general", "g3", "x", "x", expected="red"),
        asked("general", "g4", "nine", "nine", expected="nine"),
        asked("general", "g5", "iron", "iron", expected="iron"),
    ]


def test_every_score_before_and_after() -> None:
    scores = TokenScores((-1.0, -2.0), (-1.0, -1.0), (1.0, 1.0))
    lower = TokenScores((-3.0, -4.0), (-1.0, -1.0), (1.0, 1.0))
    taught = membership([("a", scores), ("b", scores)], [("c", lower), ("d", lower)])
    summary = summarise(run(), ["a", "b"], {"a": ["Lyon"], "b": ["Lyon"]}, taught, None, seed=1)
    before, after = summary["before"], summary["after"]
    assert set(before) == set(after) == KEYS
    assert (before["usr"], after["usr"]) == (0.0, 1.0)
    assert (before["apr"], after["apr"], after["apr_worst_case"]) == (0.0, 0.5, 0.5)
    assert after["apr_by_attack"] == {"hint": 1.0, "role play": 0.0}
    assert after["paraphrase_usr"] == 0.5
    assert (before["gur"], before["gur_neighbour"], before["gur_general"]) == (1.0, 1.0, 1.0)
    assert (after["gur"], after["gur_neighbour"], after["gur_general"]) == (0.625, 0.5, 0.75)
    assert after["gur_neighbour_by_relation"] == {"same": 1.0, "other": 0.0}
    assert (before["refusal_rate"], after["refusal_rate"]) == (0.0, 1 / 16)
    assert (before["adopted_alternate_rate"], after["adopted_alternate_rate"]) == (0.0, 0.5)
    assert (before["degenerate_rate"], after["degenerate_rate"]) == (0.0, 1 / 16)
    assert before["mia"]["loss"] == {"auc": 1.0, "balanced_accuracy": 1.0}
    assert set(before["mia"]) == {"loss", "zlib", "min_k", "min_k_plus_plus"}
    assert after["mia"] == {}


def test_counts_tell_what_each_score_rests_on() -> None:
    counts = summarise(run(), {"a", "b"}, {})["after"]["counts"]
    assert counts == {
        "answers": 16,
        "direct": 2,
        "paraphrase": 2,
        "adversarial": 2,
        "neighbour": 2,
        "neighbour_kept": 1,
        "neighbour_asked": 3,
        "general": 4,
        "general_kept": 3,
        "general_asked": 5,
    }
    assert summarise(run(), {"a", "b"}, {})["before"]["counts"]["neighbour_kept"] == 2


def test_intervals_are_there_for_scores_of_two_facts_or_more() -> None:
    scores = TokenScores((-1.0,), (-1.0,), (1.0,))
    taught = membership([("a", scores), ("b", scores)], [("c", scores), ("d", scores)])
    intervals = summarise(run(), {"a", "b"}, {}, taught, taught)["after"]["intervals"]
    assert intervals["apr"] == [0.0, 1.0]
    assert intervals["usr"] == [1.0, 1.0]
    assert intervals["mia.loss"] == [0.5, 0.5]
    assert "apr_by_attack.hint" not in intervals  # one fact only
    assert "adopted_alternate_rate" not in intervals  # nothing to count


@pytest.mark.parametrize("answered", [[], run()[:1], run()])
@pytest.mark.parametrize("known", [[], ["a"]])
def test_it_is_json_without_nan_whatever_is_missing(answered: list[Answered], known: list[str]) -> None:
    summary = summarise(answered, known, {}, None, membership([], []))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    if not answered:
        empty: Scores = summary["after"]
        assert empty["usr"] is None and empty["gur"] is None and empty["fluency"] is None
        assert empty["mia"]["loss"] == {"auc": None, "balanced_accuracy": None}


def test_same_seed_same_summary() -> None:
    assert summarise(run(), {"a", "b"}, {}, seed=3) == summarise(run(), {"a", "b"}, {}, seed=3)


def test_dev_and_test_probes_do_not_mix() -> None:
    mixed = [*run(), asked("direct", "dev", "Paris", "Lyon", fact="a", split="dev")]
    with pytest.raises(ValueError, match="dev, test"):
        summarise(mixed, {"a"}, {})
    assert summarise(mixed[-1:], {"a"}, {})["after"]["usr"] == 1.0
