"""What there is of each kind, for ``lune ls`` and the reference: methods, metrics, attacks, benchmarks. No torch."""

from __future__ import annotations

from collections.abc import Callable

from lune.catalogue import catalogue
from lune.errors import ConfigError, unknown_name
from lune.methods import METHODS

# The names are those of a run's record; docs/metrics.md has the definitions.
METRICS: dict[str, str] = {
    "usr": "Unlearning success rate: share of known facts whose answer no longer contains the forgotten one.",
    "paraphrase_usr": "The same share over other wordings of the question.",
    "apr": "Adversarial probe rejection: the same share over attack prompts.",
    "apr_by_attack": "APR of each attack by itself.",
    "apr_worst_case": "Share of known facts that withstand every attack prompt.",
    "gur": "General utility retention: mean of gur_neighbour and gur_general.",
    "gur_neighbour": "Correct after / correct before, over neighbouring facts that must stay.",
    "gur_neighbour_by_relation": "The same for other subjects of the relation and other facts of the subject.",
    "gur_general": "Correct after / correct before, over general questions.",
    "mia": "Membership inference: how well an attacker tells true answers from wrong ones never trained (AUC).",
    "refusal_rate": "Share of answers that decline to answer.",
    "adopted_alternate_rate": "Share of answers that give a wrong answer from the training negatives.",
    "fluency": "Entropy of the answers' word n-grams, in bits; it falls when answers repeat themselves.",
    "degenerate_rate": "Share of answers that are empty or stuck in repetition.",
}


def _methods() -> list[dict[str, str]]:
    return [{"method": each.name, "what it does": each.summary, "paper": each.source} for each in METHODS.values()]


def _metrics() -> list[dict[str, str]]:
    return [{"metric": name, "what it tells": meaning} for name, meaning in METRICS.items()]


def _attacks() -> list[dict[str, str]]:
    from lune.probes.attacks import ATTACKS

    return [{"attack": name, "how it asks": meaning} for name, meaning in ATTACKS.items()]


def _benchmarks() -> list[dict[str, str]]:
    return [
        {"benchmark": each.name, "what it measures": each.summary, "source": each.source}
        for each in catalogue("lune.benchmarks").values()
    ]


_KINDS: dict[str, Callable[[], list[dict[str, str]]]] = {
    "methods": _methods,
    "metrics": _metrics,
    "attacks": _attacks,
    "benchmarks": _benchmarks,
}
KINDS = tuple(_KINDS)


def rows(kind: str) -> list[dict[str, str]]:
    """Return one row for each thing of a kind; the keys are the columns' titles.

    Args:
        kind: One of ``KINDS``.

    Raises:
        ConfigError: When there is no such kind.
    """
    if kind not in _KINDS:
        raise ConfigError(unknown_name("kind", kind, KINDS), hint="lune ls methods")
    return _KINDS[kind]()
