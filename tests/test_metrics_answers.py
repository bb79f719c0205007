from __future__ import annotations

import pytest

from lune.metrics.answers import adopted_alternate_rate, degenerate_rate, fluency, ngram_entropy, refusal_rate
from lune.records import Answered, Probe, ProbeKind


def asked(kind: ProbeKind, fact: str | None, before: str, after: str, identifier: str = "p") -> Answered:
    return Answered(Probe(identifier, kind, "prompt", ("Paris",), "test", fact_id=fact), before, after, True, False)


def test_refusals_and_degenerate_answers_are_counted_over_every_probe() -> None:
    answered = [
        asked("direct", "a", "Paris", "I do not know."),
        asked("adversarial", "unknown", "Paris", "and and and and"),
        asked("neighbour", "a", "Rome", "Rome"),
        asked("general", None, "I don't know", ""),
    ]
    assert refusal_rate(answered).value == 1 / 4
    assert refusal_rate(answered, when="before").value == 1 / 4
    assert degenerate_rate(answered).value == 2 / 4
    assert degenerate_rate(answered, when="before").value == 0.0
    assert refusal_rate([]).value is None and degenerate_rate([]).value is None and fluency([]).value is None


def test_general_probes_are_clusters_of_their_own() -> None:
    answered = [asked("general", None, "x", "" if number % 2 else "x", f"g{number}") for number in range(100)]
    interval = degenerate_rate(answered)
    assert interval.low is not None and 0.38 < interval.low < 0.45


def test_adopted_alternates_are_those_of_the_fact_itself() -> None:
    alternates = {"a": ["Lyon", "Lille"], "b": ["Oslo"], "c": []}
    answered = [
        asked("direct", "a", "Paris", "It is Lyon."),
        asked("paraphrase", "a", "Lyon", "lille"),
        asked("direct", "b", "Paris", "Lyon"),  # an alternate of another fact
        asked("paraphrase", "b", "Paris", "Osloer"),
        asked("direct", "c", "Paris", "Lyon"),  # no alternates: not counted
        asked("direct", "d", "Paris", "Lyon"),
        asked("adversarial", "a", "Paris", "Lyon"),
        asked("neighbour", "a", "Lyon", "Lyon"),
        asked("direct", "unknown", "Oslo", "Oslo"),
    ]
    known = {"a", "b", "c", "d"}
    assert adopted_alternate_rate(answered, known, {**alternates, "unknown": ["Oslo"]}).value == 2 / 4
    assert adopted_alternate_rate(answered, known, alternates, when="before").value == 1 / 4
    assert adopted_alternate_rate(answered, known, {}).value is None


def test_entropy_by_hand() -> None:
    # Five different tokens: 4 bigrams, 2 bits; 3 trigrams, log2(3) bits.
    assert ngram_entropy("one two three four.") == pytest.approx((2 / 3 * 2 + 4 / 3 * 1.584962500721156) / 2)
    # a b a b a: bigrams ab x2, ba x2, 1 bit; trigrams aba x2, bab x1, 0.918296 bits.
    assert ngram_entropy("a b a b a") == pytest.approx((2 / 3 * 1 + 4 / 3 * 0.9182958340544896) / 2)


@pytest.mark.parametrize("text", ["", "Paris", "Paris.", "and and and and and"])
def test_entropy_of_what_has_one_ngram_or_none_is_zero(text: str) -> None:
    assert ngram_entropy(text) == 0.0


def test_fluency_is_the_mean_over_answers_and_falls_when_text_loops() -> None:
    text = "The river runs through the old town and into the sea."
    answered = [asked("general", None, text, text), asked("general", None, text, "the town the town the town the town")]
    before, after = fluency(answered, when="before").value, fluency(answered).value
    assert before == pytest.approx(ngram_entropy(text))
    assert after is not None and before is not None and after < before
    assert after == pytest.approx((ngram_entropy(text) + ngram_entropy(answered[1].after)) / 2)
