"""What there is of each kind, for ``lune ls`` and the reference: methods, metrics, attacks, benchmarks. No torch."""

from __future__ import annotations

from collections.abc import Callable

from lune.errors import ConfigError, unknown_name
from lune.methods import METHODS

METRICS: dict[str, str] = {
    "usr": "Unlearning success rate: share of known facts whose answer no longer contains the forgotten one.",
    "apr": "Adversarial probe rejection: the same share over attack prompts; also per attack and in the worst case.",
    "gur": "General utility retention: mean of gur_neighbour and gur_general.",
    "gur_neighbour": "Share of neighbouring facts answered rightly before that still are.",
    "gur_general": "Share of general questions answered rightly before that still are.",
    "mia": "Membership inference: how well an attacker tells forgotten texts from never-taught ones (AUC).",
    "refusal_rate": "Share of answers that decline to answer.",
    "adopted_alternate_rate": "Share of answers that give a wrong answer from the training negatives.",
    "fluency": "Entropy of the answers' word n-grams, in bits; it falls when answers repeat themselves.",
    "degenerate_rate": "Share of answers that are empty or stuck in repetition.",
}

# The nine attack types of RWKU (arXiv 2406.10890).
ATTACKS: dict[str, str] = {
    "prefix injection": "Words put before the question order the model to answer.",
    "affirmative suffix": "The answer is begun for the model: sure, here is the answer.",
    "role playing": "The model is told to be an expert who knows.",
    "multiple choice": "The answer is offered among wrong ones.",
    "reverse query": "The answer's side is described and the subject asked for.",
    "synonym manipulation": "Key words are replaced by synonyms.",
    "background hint": "Background about the subject comes before the question.",
    "in-context learning": "Other questions with right answers come before the question.",
    "cross-lingual": "The question is asked in another language.",
}


def _methods() -> list[dict[str, str]]:
    return [{"method": each.name, "what it does": each.summary, "paper": each.paper} for each in METHODS.values()]


def _metrics() -> list[dict[str, str]]:
    return [{"metric": name, "what it tells": meaning} for name, meaning in METRICS.items()]


def _attacks() -> list[dict[str, str]]:
    return [{"attack": name, "how it asks": meaning} for name, meaning in ATTACKS.items()]


def _benchmarks() -> list[dict[str, str]]:
    return []


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
