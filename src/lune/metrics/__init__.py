"""Every score of a run, before and after, as the run record holds them (docs/metrics.md)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TypeAlias, TypedDict

from lune.metrics.answers import adopted_alternate_rate, degenerate_rate, fluency, refusal_rate
from lune.metrics.forgetting import (
    When,
    adversarial_probe_rejection,
    is_correct,
    of_known_facts,
    paraphrase_success_rate,
    rejection_by_attack,
    unlearning_success_rate,
    worst_case_rejection,
)
from lune.metrics.membership import membership
from lune.metrics.retention import known_probes, utility_retention
from lune.records import Answered, Interval

__all__ = ["MembershipScores", "Scores", "Summary", "membership", "summarise"]

MembershipScores: TypeAlias = Mapping[str, Mapping[str, float | None]]
"""Attack to its ``auc``, ``balanced_accuracy`` and interval, as `membership` returns it."""


class Scores(TypedDict):
    """All scores at one time, ready for JSON: None where nothing could be counted, never NaN.

    Shares are from 0 to 1; fluency is in bits. ``intervals`` has [low, high] for each score that has one, with
    ``NAME.KEY`` for those inside another ("apr_by_attack.role-play", "mia.loss").
    """

    usr: float | None
    apr: float | None
    apr_worst_case: float | None
    apr_by_attack: dict[str, float | None]
    paraphrase_usr: float | None
    gur: float | None
    gur_neighbour: float | None
    gur_general: float | None
    gur_neighbour_by_relation: dict[str, float | None]
    refusal_rate: float | None
    adopted_alternate_rate: float | None
    fluency: float | None
    degenerate_rate: float | None
    mia: dict[str, dict[str, float | None]]
    counts: dict[str, int]
    intervals: dict[str, list[float]]


class Summary(TypedDict):
    """The scores before and after unlearning."""

    before: Scores
    after: Scores


def summarise(
    answered: Sequence[Answered],
    known_ids: Collection[str],
    alternates: Mapping[str, Sequence[str]],
    membership_before: MembershipScores | None = None,
    membership_after: MembershipScores | None = None,
    *,
    seed: int = 0,
) -> Summary:
    """Return every score before and after.

    Args:
        answered: The probes of one split with their answers.
        known_ids: Ids of the facts that the base model answered rightly.
        alternates: Fact id to the wrong answers it was trained with.
        membership_before: What `membership` gave for the base model; None where it was not run.
        membership_after: The same for the unlearned model.
        seed: Seed of the bootstrap.

    Raises:
        ValueError: When dev and test probes come together; scores on probes that steered the run would pass for tests.
    """
    splits = {item.probe.split for item in answered}
    if len(splits) > 1:
        raise ValueError(f"summarise takes the probes of one split; these came together: {', '.join(sorted(splits))}")
    return {
        "before": _scores(answered, known_ids, alternates, membership_before, when="before", seed=seed),
        "after": _scores(answered, known_ids, alternates, membership_after, when="after", seed=seed),
    }


def _scores(
    answered: Sequence[Answered],
    known_ids: Collection[str],
    alternates: Mapping[str, Sequence[str]],
    attacks: MembershipScores | None,
    *,
    when: When,
    seed: int,
) -> Scores:
    known = frozenset(known_ids)
    kept = utility_retention(answered, when=when, seed=seed)
    by_attack = rejection_by_attack(answered, known, when=when, seed=seed)
    single: dict[str, Interval] = {
        "usr": unlearning_success_rate(answered, known, when=when, seed=seed),
        "apr": adversarial_probe_rejection(answered, known, when=when, seed=seed),
        "apr_worst_case": worst_case_rejection(answered, known, when=when, seed=seed),
        "paraphrase_usr": paraphrase_success_rate(answered, known, when=when, seed=seed),
        "gur": kept.gur,
        "gur_neighbour": kept.neighbour,
        "gur_general": kept.general,
        "refusal_rate": refusal_rate(answered, when=when, seed=seed),
        "adopted_alternate_rate": adopted_alternate_rate(answered, known, alternates, when=when, seed=seed),
        "fluency": fluency(answered, when=when, seed=seed),
        "degenerate_rate": degenerate_rate(answered, when=when, seed=seed),
    }
    named = {
        **single,
        **{f"apr_by_attack.{name}": interval for name, interval in by_attack.items()},
        **{f"gur_neighbour_by_relation.{name}": interval for name, interval in kept.neighbour_by_relation.items()},
        **{
            f"mia.{name}": Interval(scores["auc"], scores.get("auc_low"), scores.get("auc_high"))
            for name, scores in (attacks or {}).items()
        },
    }
    return {
        "usr": single["usr"].value,
        "apr": single["apr"].value,
        "apr_worst_case": single["apr_worst_case"].value,
        "apr_by_attack": {name: interval.value for name, interval in by_attack.items()},
        "paraphrase_usr": single["paraphrase_usr"].value,
        "gur": kept.gur.value,
        "gur_neighbour": kept.neighbour.value,
        "gur_general": kept.general.value,
        "gur_neighbour_by_relation": {name: interval.value for name, interval in kept.neighbour_by_relation.items()},
        "refusal_rate": single["refusal_rate"].value,
        "adopted_alternate_rate": single["adopted_alternate_rate"].value,
        "fluency": single["fluency"].value,
        "degenerate_rate": single["degenerate_rate"].value,
        "mia": {
            name: {"auc": scores["auc"], "balanced_accuracy": scores["balanced_accuracy"]}
            for name, scores in (attacks or {}).items()
        },
        "counts": _counts(answered, known, when),
        "intervals": _bounds(named),
    }


def _bounds(named: Mapping[str, Interval]) -> dict[str, list[float]]:
    return {
        name: [interval.low, interval.high]
        for name, interval in named.items()
        if interval.low is not None and interval.high is not None
    }


def _counts(answered: Sequence[Answered], known_ids: Collection[str], when: When) -> dict[str, int]:
    """Return how many probes each score rests on.

    ``direct``, ``paraphrase``, ``adversarial``: probes of known facts; ``neighbour``, ``general``: probes the base
    model had right; ``NAME_kept``: those of them right at ``when``; ``NAME_asked``: all that were asked.
    """
    counts = {
        "answers": len(answered),
        "direct": len(of_known_facts(answered, known_ids, "direct")),
        "paraphrase": len(of_known_facts(answered, known_ids, "paraphrase")),
        "adversarial": len(of_known_facts(answered, known_ids, "adversarial")),
    }
    neighbours, general = known_probes(answered, "neighbour"), known_probes(answered, "general")
    for name, items in (("neighbour", neighbours), ("general", general)):
        counts[name] = len(items)
        counts[f"{name}_kept"] = sum(is_correct(item, when) for item in items)
        counts[f"{name}_asked"] = sum(item.probe.kind == name for item in answered)
    return counts
