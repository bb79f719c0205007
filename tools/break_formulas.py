"""Break one formula at a time in a copy of the project and see that its tests notice.

    python tools/break_formulas.py [WORD ...]      only the breaks whose file or text has one of the words

Each break is a formula that came out wrong once in some implementation, or could. Exit status: 0 every break was
noticed, 1 some were not, or a formula is no longer written as it stands here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path("src/lune")
COPIED = ("src", "tests", "tools", "docs", "results", "examples")


@dataclass(frozen=True)
class Break:
    """One formula and how it is broken.

    Attributes:
        file: The module, below the package and without ``.py``.
        right: A piece of its text that stands there once.
        wrong: What takes its place.
        tests: The test file, without ``.py``, that must notice.
    """

    file: str
    right: str
    wrong: str
    tests: str


_TOFU = "metrics/tofu"
_MIA = "metrics/membership"
_DEDUCTION = "metrics/deduction"
BREAKS: tuple[Break, ...] = (
    Break(
        _TOFU, 'exponents.mean(keepdims=True) if form == "geometric" else exponents', "exponents", "test_metrics_tofu"
    ),
    Break(_TOFU, "(np.exp(-right) + epsilon)", "np.exp(-right)", "test_metrics_tofu"),
    Break(_TOFU, "np.minimum(values, 1 / (values + epsilon))", "values", "test_metrics_tofu"),
    Break(_TOFU, "np.maximum(0.0, 1.0 - np.asarray", "(1.0 - np.asarray", "test_metrics_tofu"),
    Break(_TOFU, "len(known) / sum(1 / value for value in known)", "sum(known) / len(known)", "test_metrics_tofu"),
    Break(_TOFU, "use_stemmer=True", "use_stemmer=False", "test_metrics_tofu"),
    Break(_TOFU, "score(expected, answer)", "score(answer, expected)", "test_metrics_tofu"),
    Break(_TOFU, "right / (right + wrong + epsilon)", "right / (wrong + epsilon)", "test_metrics_tofu"),
    Break(
        _MIA,
        "_wins(positive, negative).mean())\n\n\ndef auc_interval",
        "1 - _wins(positive, negative).mean())\n\n\ndef auc_interval",
        "test_metrics_membership",
    ),
    Break(_MIA, "0.5 * (above == below)", "(above == below)", "test_metrics_membership"),
    Break(
        _MIA,
        "((true_positive + true_negative) / 2).max()",
        "np.maximum(true_positive, true_negative).max()",
        "test_metrics_membership",
    ),
    Break(
        _MIA, "sum(sorted(values)[:count]) / count", "sum(sorted(values)[-count:]) / count", "test_metrics_membership"
    ),
    Break(
        _MIA, "max(1, int(len(values) * lowest))", "max(1, int(len(values) * LOWEST_SHARE))", "test_metrics_membership"
    ),
    Break(_MIA, "(log_prob - mean) / max(deviation, _LEAST_DEVIATION)", "(log_prob - mean)", "test_metrics_membership"),
    Break(_MIA, 'len(zlib.compress(text.encode("utf-8")))', "len(text)", "test_metrics_membership"),
    Break("metrics/gaps", "/ (1 - reference_auc)", "/ reference_auc", "test_metrics_privacy"),
    Break("metrics/gaps", "(reference_auc - auc)", "(auc - reference_auc)", "test_metrics_privacy"),
    Break("metrics/privacy", "own.mean_log_prob - other.mean_log_prob", "own.mean_log_prob", "test_metrics_privacy"),
    Break("metrics/privacy", "square().sum() for", "abs().sum() for", "test_metrics_privacy"),
    Break(
        "metrics/memorisation",
        "wrong[-1] + 1 if wrong else 0",
        "wrong[0] + 1 if wrong else 0",
        "test_metrics_memorisation",
    ),
    Break(
        "metrics/leakage",
        "comb(drawn - leaked, k) / comb(drawn, k)",
        "((drawn - leaked) / drawn) ** k",
        "test_metrics_leakage",
    ),
    Break("metrics/leakage", "leaked + 1, drawn - leaked", "leaked, drawn - leaked", "test_metrics_leakage"),
    Break("metrics/choice", "law[right:].sum()", "law[right + 1 :].sum()", "test_metrics_choice"),
    Break(
        "metrics/choice",
        "next(scored).mean_log_prob",
        "sum(next(scored).log_probs)",
        "test_metrics_choice",
    ),
    Break("metrics/logit_lens", "(log_p > own).sum()) + 1", "(log_p >= own).sum()) + 1", "test_metrics_logit_lens"),
    Break(
        "metrics/forgetting",
        "elicited.get(fact, False) or is_correct(item, when)",
        "is_correct(item, when)",
        "test_metrics_forgetting",
    ),
    Break(
        "metrics/forgetting",
        "float(not is_correct(item, when))",
        "float(is_correct(item, when))",
        "test_metrics_forgetting",
    ),
    Break(
        "metrics/forgetting",
        "item.probe.kind == kind and item.probe.fact_id in known_ids",
        "item.probe.kind == kind",
        "test_metrics_forgetting",
    ),
    Break(
        "metrics/retention",
        "item.probe.kind == kind and item.correct_before",
        "item.probe.kind == kind",
        "test_metrics_retention",
    ),
    Break("metrics/retention", "value = sum(values) / 2", "value = min(values)", "test_metrics_retention"),
    Break(
        "metrics/intervals",
        "np.quantile(draws, [tail, 1.0 - tail])",
        "np.quantile(draws, [2 * tail, 1.0 - 2 * tail])",
        "test_metrics_intervals",
    ),
    Break("metrics/intervals", "(total + value, count + 1)", "(total + value, 1)", "test_metrics_intervals"),
    Break(_DEDUCTION, "len(wrong & facts) / len(facts)", "len(wrong) / len(facts)", "test_metrics_deduction"),
    Break(
        _DEDUCTION,
        "1 - len(wrong - facts) / (relations - len(facts))",
        "1 - len(wrong) / relations",
        "test_metrics_deduction",
    ),
    Break(_DEDUCTION, "found = found or bool(new)", "found = False", "test_metrics_deduction"),
    Break(
        _DEDUCTION,
        "if source == target:\n        return False",
        "if False:\n        return False",
        "test_metrics_deduction",
    ),
    Break(
        "metrics/rouge_summary", "len(common) / len(distinct)", "len(common) / max(1, len(said))", "test_benchmark_rwku"
    ),
    Break("metrics/utility", "2 * common / (len(said) + len(wanted))", "common / len(wanted)", "test_metrics_utility"),
    Break("metrics/utility", "true[0] > max(false)", "max(true) > max(false)", "test_metrics_utility"),
    Break("metrics/utility", "good / (good + bad)", "good", "test_metrics_utility"),
    Break("metrics/answers", "math.log2(count / total)", "math.log(count / total)", "test_metrics_answers"),
    Break(
        "benchmarks/knowundo", '100 * (1 - accuracy["unlearn"])', '100 * accuracy["unlearn"]', "test_benchmark_knowundo"
    ),
    Break(
        "benchmarks/knowundo",
        'min(700.0, -_mean(splits[split]["log_prob"]))',
        'min(700.0, _mean(splits[split]["log_prob"]))',
        "test_benchmark_knowundo",
    ),
    Break("methods/npo", "logsigmoid(-settings.beta", "logsigmoid(settings.beta", "test_methods"),
    Break("methods/simnpo", "responses.sums / responses.lengths", "responses.sums", "test_methods"),
    Break("methods/dpo", "gains[:pairs] - gains[pairs:]", "gains[pairs:] - gains[:pairs]", "test_methods"),
    Break("methods/contract", "self.sums - self.base", "self.sums", "test_methods"),
    Break("training/editing", "missing / (len(layers) - number)", "missing / len(layers)", "test_editing"),
    Break("training/step", "others.logsumexp(-1)).sum()", "others.logsumexp(-1)).mean()", "test_training"),
    Break("training/anchors", "rest * (rest.log() - our_rest.log())", "0 * rest", "test_training"),
    Break(
        "training/token_log_probs",
        "weight = by_normaliser - by_token.sum(-1)",
        "weight = by_normaliser",
        "test_token_log_probs",
    ),
    Break(
        "training/lean_lora", "gradient.T @ inner).mul_(context.scale)", "gradient.T @ inner)", "test_training_forward"
    ),
    Break("packed_rows", "hidden[:, :, shared:] = later", "hidden[:, :, shared:] = False", "test_training_forward"),
    Break("verdict", "or neighbours.passed is None", "", "test_verdict"),
)


def text_of(each: Break, root: Path = ROOT) -> str:
    """Return the text of a break's module."""
    return (root / SOURCE / f"{each.file}.py").read_text(encoding="utf-8")


def main(words: list[str]) -> int:
    """Try the breaks that have one of ``words``, all without any; return the exit status."""
    chosen = [each for each in BREAKS if not words or any(word in f"{each.file} {each.right}" for word in words)]
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for folder in COPIED:
            shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        for path in (*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *ROOT.glob("*.txt"), ROOT / "Makefile"):
            shutil.copy(path, copy)
        for tests in sorted({each.tests for each in chosen}):
            if _run(tests, copy) != 0:
                print(f"tests/{tests}.py fails as it is: it would notice anything")
                return 1
        for each in chosen:
            found = "not there" if each.right not in text_of(each) else _try(each, copy)
            bad += found != "noticed"
            print(f"{found:12} {each.file}: {each.right.splitlines()[0]}  ->  {each.wrong.splitlines()[0]}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} breaks were noticed")
    return 1 if bad else 0


def _try(each: Break, copy: Path) -> str:
    path = copy / SOURCE / f"{each.file}.py"
    whole = text_of(each)
    path.write_text(whole.replace(each.right, each.wrong, 1), encoding="utf-8")
    try:
        return "noticed" if _run(each.tests, copy) == 1 else "NOT NOTICED"
    finally:
        path.write_text(whole, encoding="utf-8")


def _run(tests: str, copy: Path) -> int:
    """Return pytest's exit status: 0 passed, 1 failed, others where it did not get that far."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", f"tests/{tests}.py"],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src"), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
