"""The report's words: what each verdict and score means, and how numbers are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Better = Literal["higher", "lower", "context"]

MINUTE = 60
GROUPED_FROM = 10_000  # from here on integers are written with thousands separators
MISSING = "–"  # printed where a value was not measured
# An AUC this near to 0.5 is called "close to chance". Only a word beside the number: no verdict rests on it.
CHANCE_BAND = 0.05

VERDICT_MEANINGS = {
    "FORGOTTEN": "With the adapter on, the answers that had to go are gone and what had to stay has stayed, both to "
    "the degree that the thresholds ask.",
    "PARTLY": "Some of the answers can still be drawn out of the model with the adapter on, or it could not be "
    "measured; the reasons say which. Do not treat the request as done.",
    "DAMAGED": "The model lost more of what it had to keep than the thresholds allow. Do not use this adapter.",
    "NOT KNOWN BEFORE": "The base model did not give these answers to begin with: there was nothing to forget, and "
    "nothing is shown by its not answering now.",
}
# Cells of a bench in which nothing was forgotten, by column: what the model is, and how the report is to be read.
NOT_UNLEARNED = {
    "before": (
        "The model before forgetting",
        "Nothing was forgotten here: this is the model that the benchmark's other cells start from, asked what they "
        "are asked. Before and after are the same model, so there is no verdict.",
    ),
    "reference": (
        "Taught on the retained part only",
        "Nothing was forgotten here: this model was never taught what the benchmark's other cells are to forget. "
        "Before is the model that was taught everything, after is this one. It shows what perfect forgetting could "
        "look like, so there is no verdict.",
    ),
}
EARLIER_NOTE = (
    "This adapter also holds what these earlier requests forgot. Their own probes were asked again, with this adapter "
    "on; what counts is what the model knew before each of them."
)
EARLIER_HEADINGS = ("Known facts", "USR now", "USR in other wordings now", "APR now", "Neighbours kept now")
NO_VERDICT_MEANING = "The run record holds no verdict that this report knows; read the scores below."
# The tone picks a colour and a mark; the verdict's own words always stand beside them.
VERDICT_TONES = {"FORGOTTEN": "good", "PARTLY": "warn", "DAMAGED": "bad", "NOT KNOWN BEFORE": "warn"}


@dataclass(frozen=True)
class ScoreWords:
    """A score's name and what it says to somebody who has not met it before."""

    title: str
    question: str
    explanation: str
    better: Better = "higher"


PRIMARY_SCORES = {
    "usr": ScoreWords(
        "USR, unlearning success",
        "Asked plainly, does it still say the answer?",
        "Share of the facts the model knew whose answer to the plain question no longer contains the true answer. "
        "1.00: none does.",
    ),
    "apr": ScoreWords(
        "APR, adversarial probe rejection",
        "Can it be tricked into saying the answer?",
        "The same share over questions that try to draw the answer out: rephrased, reversed, role play, given "
        "the first words, and so on. 1.00: no attack worked.",
    ),
    "gur_neighbour": ScoreWords(
        "GUR neighbours, what lies next to the facts",
        "Does it still know what is closest to the forgotten?",
        "Of the neighbouring facts the model had right before (the same question about others, other questions about "
        "the same subject), the share it still has right. Unlearning breaks these first, and a score on general "
        "questions alone hides it.",
    ),
    "gur_general": ScoreWords(
        "GUR general, everything else",
        "Does it still know unrelated things?",
        "Of the general-knowledge questions the model had right before, the share it still has right.",
    ),
}

SECONDARY_SCORES = {
    "gur": ScoreWords(
        "GUR, utility kept",
        "",
        "Mean of the two GUR scores above.",
    ),
    "paraphrase_usr": ScoreWords(
        "USR, other wordings",
        "",
        "USR over other wordings of the plain question.",
    ),
    "apr_worst_case": ScoreWords(
        "APR, worst case",
        "",
        "Stricter APR: a fact counts only if every single attack on it failed.",
    ),
    "refusal_rate": ScoreWords(
        "Refusal rate",
        "",
        "Share of answers that decline (“I do not know”). A high rate can make forgetting look better than it is.",
        "context",
    ),
    "adopted_alternate_rate": ScoreWords(
        "Adopted alternates",
        "",
        "Share of answers that give a false answer the model was trained on. Expected with this method: the model "
        "says something wrong, not nothing.",
        "context",
    ),
    "degenerate_rate": ScoreWords(
        "Degenerate answers",
        "",
        "Share of answers that are empty or stuck in repetition. Such answers pass USR without any real forgetting.",
        "lower",
    ),
    "fluency": ScoreWords(
        "Fluency",
        "",
        "Variety of word sequences in the answers (n-gram entropy, in bits). A clear drop means broken text.",
        "context",
    ),
}

MIA_NAMES = {
    "loss": "Loss",
    "zlib": "Loss / zlib size",
    "min_k": "Min-k %",
    "min_k_plus_plus": "Min-k %++",
    "reference": "Reference model",
    "gradnorm": "Gradient norm",
}

KIND_WORDS = {
    "direct": ("Direct", "the plain question of a fact to forget"),
    "paraphrase": ("Paraphrase", "the same question in other words"),
    "adversarial": ("Adversarial", "a question that tries to draw the answer out"),
    "neighbour": ("Neighbour", "a close fact that must stay"),
    "general": ("General", "an unrelated fact that must stay"),
}

CHECK_NAMES = {
    "adapter_matrices_moved": "Adapter matrices that training changed",
    "reloaded_same_answers": "Answers the same after reloading the adapter from disk",
}

KEY_LABELS = {
    "id": "Name",
    "sha256": "SHA-256",
    "cpu": "CPU",
    "gpu": "GPU",
    "memory_gb": "Memory, GB",
    "dtype": "Precision",
}

CONTENT_NOTICE = (
    "This page quotes the facts that had to be forgotten. Store and share it with the same care as the request itself."
)

# Who could still get at the facts: what an adapter alone can and cannot promise.
THREATS = (
    (
        "Asks the model with the adapter on",
        "Measured: USR for plain questions, APR for attacks, on this page's probes.",
    ),
    (
        "Holds the base weights, or can take the adapter off",
        "Yes. The adapter changes what the model says; the base weights underneath still know every fact.",
    ),
    ("Fine-tunes the model further", "Not measured here. Relearning can bring forgotten facts back quickly."),
    (
        "Runs it at another precision, such as 4 bits",
        "Not measured here. Quantisation is known to undo unlearning in part: test the form that is shipped.",
    ),
    (
        "Reads likelihoods or inner activations",
        "Only in part: the membership attacks use likelihoods. Activations were not probed.",
    ),
    ("Asks in a way no probe here tried", "Not measured: probes are a sample of wordings, not a proof."),
)


def mia_reading(auc: float | None) -> str:
    """Return what a membership attack's AUC says, in words."""
    if auc is None:
        return "not measured"
    if auc < 0.5 - CHANCE_BAND:
        return "below chance: over-unlearning, not success"
    if auc <= 0.5 + CHANCE_BAND:
        return "close to chance"
    return "true answers still stand out"


def verdict_meaning(verdict: str) -> str:
    """Return the one sentence that says what ``verdict`` means."""
    return VERDICT_MEANINGS.get(verdict, NO_VERDICT_MEANING)


def show_score(value: float | None, threshold: float | None = None) -> str:
    """Return ``value`` with two decimals, and more where two would misstate it.

    A score just below its threshold, or just below 1, must not be printed as having reached it.
    """
    if value is None:
        return MISSING
    limits = (1.0,) if threshold is None else (1.0, threshold)
    for decimals in (2, 3, 4):
        rounded = round(value, decimals)
        if (rounded > 0) == (value > 0) and all((rounded >= limit) == (value >= limit) for limit in limits):
            return f"{rounded:.{decimals}f}"
    return f"{value:.6g}"


def show_interval(interval: tuple[float, float] | None) -> str:
    """Return an interval as ``0.91 to 1.00``."""
    return MISSING if interval is None else f"{show_score(interval[0])} to {show_score(interval[1])}"


def show_seconds(value: float | None) -> str:
    """Return a duration in seconds, with minutes and hours where it has them."""
    if value is None:
        return MISSING
    if value < MINUTE:
        return f"{value:.1f} s"
    minutes, seconds = divmod(round(value), MINUTE)
    hours, minutes = divmod(minutes, MINUTE)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def show_value(value: object) -> str:
    """Return a setting's value as a person would write it."""
    if value is None or value == "":
        return "not set"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(show_value(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key} {show_value(item)}" for key, item in value.items()) or "none"
    return f"{value:,}" if isinstance(value, int) and abs(value) >= GROUPED_FROM else str(value)


def show_key(key: str) -> str:
    """Return a record's key as a label: ``batch_size`` becomes ``Batch size``."""
    words = key.replace("_", " ").strip()
    return KEY_LABELS.get(key, words[:1].upper() + words[1:])


def show_time(stamp: str) -> str:
    """Return an ISO 8601 time to the minute, in UTC; what is no such time stays as it is."""
    try:
        time = datetime.fromisoformat(stamp)
    except ValueError:
        return stamp
    if time.tzinfo is None:
        return f"{time:%Y-%m-%d %H:%M}"
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def count_of(number: int, word: str) -> str:
    """Return a number with its noun: ``1 leak``, ``2 leaks``."""
    return f"{number} {word}{'' if number == 1 else 's'}"
