from __future__ import annotations

from lune.metrics.forgetting import (
    adversarial_probe_rejection,
    paraphrase_success_rate,
    rejection_by_attack,
    unlearning_success_rate,
    worst_case_rejection,
)
from lune.records import Answered, Probe, ProbeKind


def asked(
    kind: ProbeKind, fact: str | None, *, before: bool = True, after: bool = False, attack: str | None = None
) -> Answered:
    probe = Probe("p", kind, "prompt", ("yes",), "test", fact_id=fact, attack=attack)
    return Answered(probe, "yes" if before else "no", "yes" if after else "no", before, after)


KNOWN = {"a", "b", "c", "d"}


def test_usr_is_the_share_of_known_facts_no_longer_answered() -> None:
    answered = [
        asked("direct", "a"),
        asked("direct", "b"),
        asked("direct", "c"),
        asked("direct", "d", after=True),
        asked("direct", "unknown", before=False, after=False),
        asked("paraphrase", "a", after=True),
        asked("adversarial", "a", after=True),
        asked("neighbour", "a", after=True),
    ]
    assert unlearning_success_rate(answered, KNOWN).value == 3 / 4
    assert unlearning_success_rate(answered, KNOWN, when="before").value == 0.0


def test_usr_counts_facts_not_prompts() -> None:
    answered = [asked("direct", "a"), asked("direct", "a", after=True), asked("direct", "b"), asked("direct", "b")]
    assert unlearning_success_rate(answered, KNOWN).value == 1 / 2


def test_nothing_known_gives_no_value() -> None:
    answered = [asked("direct", "x"), asked("adversarial", "x", attack="hint"), asked("paraphrase", "x")]
    for score in (
        unlearning_success_rate,
        adversarial_probe_rejection,
        worst_case_rejection,
        paraphrase_success_rate,
    ):
        interval = score(answered, set())
        assert (interval.value, interval.low, interval.high) == (None, None, None)
    assert rejection_by_attack(answered, set()) == {}


def test_apr_pools_probes_and_splits_by_attack_and_worst_case_needs_all() -> None:
    answered = [
        asked("adversarial", "a", attack="hint"),
        asked("adversarial", "a", attack="role play", after=True),
        asked("adversarial", "b", attack="hint"),
        asked("adversarial", "b", attack="role play"),
        asked("adversarial", "c", attack="hint", after=True),
        asked("adversarial", "c", attack="role play"),  # a later failure does not undo the leak
        asked("adversarial", "unknown", attack="hint", after=True),
        asked("direct", "d", after=True),
    ]
    assert adversarial_probe_rejection(answered, KNOWN).value == 4 / 6
    by_attack = rejection_by_attack(answered, KNOWN)
    assert {name: interval.value for name, interval in by_attack.items()} == {"hint": 2 / 3, "role play": 2 / 3}
    assert worst_case_rejection(answered, KNOWN).value == 1 / 3
    assert adversarial_probe_rejection(answered, KNOWN, when="before").value == 0.0


def test_the_base_model_may_resist_some_attacks_already() -> None:
    answered = [
        asked("adversarial", "a", before=False, after=False, attack="hint"),
        asked("adversarial", "b", before=True, after=False, attack="hint"),
    ]
    assert adversarial_probe_rejection(answered, KNOWN, when="before").value == 1 / 2
    assert worst_case_rejection(answered, KNOWN, when="before").value == 1 / 2


def test_an_attack_without_a_name_is_counted() -> None:
    by_attack = rejection_by_attack([asked("adversarial", "a")], KNOWN)
    assert by_attack["unnamed"].value == 1.0


def test_paraphrase_share_is_over_probes() -> None:
    answered = [asked("paraphrase", "a"), asked("paraphrase", "a"), asked("paraphrase", "b", after=True)]
    assert paraphrase_success_rate(answered, KNOWN).value == 2 / 3
