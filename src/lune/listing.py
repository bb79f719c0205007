"""What there is of each kind, for ``lune ls`` and the reference: methods, metrics, attacks, benchmarks. No torch."""

from __future__ import annotations

from collections.abc import Callable

from lune.catalogue import catalogue
from lune.errors import ConfigError, unknown_name
from lune.methods import METHODS

Row = dict[str, str]
Group = tuple[str, list[Row]]
"""A heading, empty where there is but one group, and its rows."""

TABLE_NAMES: dict[str, str] = {
    "usr": "USR",
    "paraphrase_usr": "USR on paraphrases",
    "apr": "APR",
    "apr_worst_case": "APR, worst case",
    "gur_neighbour": "gur_neighbour",
    "gur_general": "gur_general",
    "gur": "GUR",
    "refusal_rate": "refusals",
    "degenerate_rate": "degenerate answers",
}
"""Scores of a run's record that bench tables show, in their order, and what they are called there."""

# docs/metrics.md has the definitions.
RUN_SCORES: dict[str, str] = {
    "usr": "Unlearning success rate: share of known facts whose answer no longer contains the forgotten one.",
    "paraphrase_usr": "The same share over other wordings of the question.",
    "apr": "Adversarial probe rejection: the same share over attack prompts.",
    "apr_by_attack": "APR of each attack by itself.",
    "apr_worst_case": "Share of known facts that withstand every attack prompt.",
    "gur": "General utility retention: mean of gur_neighbour and gur_general.",
    "gur_neighbour": "Correct after / correct before, over neighbouring facts that must stay.",
    "gur_neighbour_by_relation": "The same for other subjects of the relation and other facts of the subject.",
    "gur_general": "Correct after / correct before, over general questions.",
    "mia": "Membership inference: how well an attacker tells true answers from wrong ones never trained.",
    "refusal_rate": "Share of answers that decline to answer.",
    "adopted_alternate_rate": "Share of answers that give a wrong answer from the training negatives.",
    "fluency": "Entropy of the answers' word n-grams, in bits; it falls when answers repeat themselves.",
    "degenerate_rate": "Share of answers that are empty or stuck in repetition.",
}
"""The scores of every run by their names in run.json."""
MEMBERSHIP_SCORES = {
    "MIA AUC, ATTACK": "Area under the curve of each membership attack; run.json: mia.",
    "MIA AUC, ATTACK, distance from reference": "Distance of that AUC from the retrain reference's.",
    "PrivLeak, ATTACK": "That AUC against the reference's, in per cent; 0 is ideal.",
}
PROTOCOL_SCORES = {
    "SET_probability": "tofu: likelihood of the answers, normalised by length.",
    "SET_rouge_l_recall": "tofu: ROUGE-L recall of the answers.",
    "SET_truth_ratio_*": "tofu: wrong answers' likelihood over a paraphrased right one's; two published forms.",
    "SET_right_share": "tofu: likelihood of the right answer beside the wrong ones, as a share.",
    "model_utility_*": "tofu: harmonic mean of these on retain set, real authors and world facts.",
    "forget_quality": "tofu: p-value that truth ratios are those of a model that never saw the forget set.",
    "forget_exact_memorisation": "tofu: share of a text's tokens that the model finds likeliest, given those before.",
    "forget_extraction_strength": "tofu: share of a text that the model completes rightly, given its beginning.",
    "mia_gradnorm_*": "tofu: membership by the gradient's norm, AUC and balanced accuracy.",
    "mia_reference_*": "tofu: the same by likelihood above that of the retrained model.",
    "forget_fb, forget_qa, forget_aa": "rwku: ROUGE-L recall on the gap, question and attack levels.",
    "forget_aa_*": "rwku: that recall for each type of attack.",
    "neighbour_fb, neighbour_qa": "rwku: the same on facts beside the target, which must stay.",
    "fm_*, rm_*": "rwku: likelihood scores of texts about the target and about others.",
    "unlearn_success": "knowundo: share of label tokens that are no longer the likeliest, in per cent.",
    "retention_success": "knowundo: share that still is, in per cent; average is the mean of both.",
    "unlearn_perplexity": "knowundo: perplexity of the labels; retention_perplexity: of those to keep.",
    "recall": "edu-relat: largest share of a minimal set of facts that was lost, for deep unlearning.",
    "acc_rel, acc_bio, acc_all": "edu-relat: share of relations, biographic facts and both kept beside it.",
    "deep, superficial": "edu-relat: cannot be deduced from what is still right; is not said when asked.",
    "forgotten, kept": "world: shares lost and kept of what was right before, by kind and relation.",
}
UTILITY_SCORES = {
    "mmlu": "accuracy: right among four options after five examples, by the next token.",
    "bbh": "exact_match of reasoned answers after worked examples.",
    "truthfulqa": "mc1 and mc2: are true answers likelier than common misconceptions.",
    "triviaqa": "f1 and exact_match of short answers after five examples.",
    "fluency": "entropy of the answers' n-grams, in bits.",
}
ATTACK_SCORES = {
    "leak_at_k": "Chance that k sampled answers hold the forgotten one at least once, with an upper bound.",
    "choice": "Share of questions where the true answer is likelier than its alternates, against chance.",
    "logit-lens": "Probability and rank of the answer's first token, read from the hidden state of each layer.",
}


def _methods() -> list[Group]:
    rows = [{"method": each.name, "what it does": each.summary, "paper": each.source} for each in METHODS.values()]
    return [("", rows)]


def _metrics() -> list[Group]:
    own = {TABLE_NAMES.get(name, name): _with_key(name, text) for name, text in RUN_SCORES.items()}
    headed = {
        "Every run, by the names of bench tables": own,
        "Bench tables: membership (ATTACK is loss, zlib, min-k or min-k-plus-plus)": MEMBERSHIP_SCORES,
        "Bench tables, as protocol: NAME (SET is forget, retain, real_authors or world_facts)": PROTOCOL_SCORES,
        "lune utility": UTILITY_SCORES,
        "lune attack, beside USR under each attack": ATTACK_SCORES,
    }
    return [
        (heading, [{"metric": name, "what it tells": text} for name, text in scores.items()])
        for heading, scores in headed.items()
    ]


def _with_key(name: str, text: str) -> str:
    return text if TABLE_NAMES.get(name, name) == name else f"{text} run.json: {name}."


def _attacks() -> list[Group]:
    from lune.probes.attacks import ATTACKS

    probes = [{"attack": name, "what it does": text} for name, text in ATTACKS.items()]
    further = [{"attack": each.name, "what it does": each.summary} for each in catalogue("lune.attacks").values()]
    return [
        ("Single prompts that every run asks: they make up APR", probes),
        ("Attacks on a finished run: lune attack RUN --with NAME", further),
    ]


def _benchmarks() -> list[Group]:
    rows = [
        {"benchmark": each.name, "what it measures": each.summary, "source": each.source}
        for each in catalogue("lune.benchmarks").values()
    ]
    return [("", rows)]


_KINDS: dict[str, Callable[[], list[Group]]] = {
    "methods": _methods,
    "metrics": _metrics,
    "attacks": _attacks,
    "benchmarks": _benchmarks,
}
KINDS = tuple(_KINDS)


def groups(kind: str) -> list[Group]:
    """Return the groups of a kind, with one row for each thing; the keys are the columns' titles.

    Args:
        kind: One of ``KINDS``.

    Raises:
        ConfigError: When there is no such kind.
    """
    if kind not in _KINDS:
        raise ConfigError(unknown_name("kind", kind, KINDS), hint="lune ls methods")
    return _KINDS[kind]()
