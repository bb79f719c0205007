"""What there is of each kind, for ``lune ls`` and the reference: methods, metrics, attacks, benchmarks. No torch."""

from __future__ import annotations

from collections.abc import Callable

from lune.catalogue import catalogue
from lune.errors import ConfigError, unknown_name
from lune.methods import METHODS

# docs/metrics.md has the definitions. First the scores of every run, by their names in its record, then those of
# benchmarks, of `lune utility` and of the library.
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
    "tofu_probability": "TOFU: likelihood of the answers, normalised by length.",
    "tofu_rouge": "TOFU: ROUGE-L recall of the answers.",
    "tofu_truth_ratio": "TOFU: wrong answers' likelihood over that of a paraphrased right one; two forms, by name.",
    "tofu_model_utility": "TOFU: harmonic mean of the three on retain set, real authors and world facts.",
    "tofu_forget_quality": "TOFU: p-value that truth ratios are those of a model that never saw the forget set.",
    "exact_memorisation": "Share of a text's tokens that the model finds likeliest, given those before.",
    "extraction_strength": "Share of a text that the model completes rightly, given the rest as its beginning.",
    "privacy_leak": "PrivLeak: membership AUC against that of a retrained model, in per cent; 0 is ideal.",
    "auc_distance": "Distance of the membership AUC from that of a retrained model.",
    "mia_gradnorm_*": "Membership by the gradient's norm, AUC and balanced accuracy, on the benchmark's texts (tofu).",
    "mia_reference_*": "The same by likelihood above that of the retrained model (tofu).",
    "leak_at_k": "Chance that k sampled answers hold the forgotten one at least once, with an upper bound.",
    "choice_accuracy": "Share of questions where the true answer is likelier than its alternates, against chance.",
    "logit_lens": "Probability and rank of the answer's first token, read from the hidden state of each layer.",
    "mmlu": "Right among four options after five examples, by the next token (lune utility).",
    "bbh": "Exact match of reasoned answers after worked examples (lune utility).",
    "truthfulqa": "MC1 and MC2: are true answers likelier than common misconceptions (lune utility).",
    "triviaqa": "Token F1 of short answers after five examples (lune utility).",
    "forget_fb, forget_qa, forget_aa": "ROUGE-L recall on RWKU's gap, question and attack levels (rwku).",
    "neighbour_fb, neighbour_qa": "The same on facts beside the target, which must stay (rwku).",
    "fm_*, rm_*": "Likelihood scores of texts about the target and about others (rwku).",
    "recall": "Largest share of a minimal set of facts that was lost, for deep unlearning (edu-relat).",
    "acc_rel, acc_bio, acc_all": "Share of relations, biographic facts and both kept beside it (edu-relat).",
    "deep": "Whether the fact cannot be deduced from what is still answered rightly (edu-relat).",
}


def _methods() -> list[dict[str, str]]:
    return [{"method": each.name, "what it does": each.summary, "paper": each.source} for each in METHODS.values()]


def _metrics() -> list[dict[str, str]]:
    return [{"metric": name, "what it tells": meaning} for name, meaning in METRICS.items()]


def _attacks() -> list[dict[str, str]]:
    from lune.probes.attacks import ATTACKS

    probes = [{"attack": name, "made by": "every run (APR)", "what it does": text} for name, text in ATTACKS.items()]
    further = catalogue("lune.attacks").values()
    return probes + [{"attack": each.name, "made by": "lune attack", "what it does": each.summary} for each in further]


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
