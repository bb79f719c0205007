"""A run folder made by hand, and a reader of the page that is made of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from lune.report import write_report

ATTACKS = ("prefix injection", "affirmative suffix", "role play", "multiple choice", "reverse query", "cross-lingual")
FACTS = (
    ("f1", "What is the capital of France?", "Paris", "France"),
    ("f2", "Who wrote Hamlet?", "William Shakespeare", "Hamlet"),
    ("f3", "What is the capital of Burkina Faso?", "Ouagadougou", "Burkina Faso"),
)
HOSTILE = (
    '<script>document.title="taken"</script><img src="http://example.invalid/x.png" onerror="document.title=\'taken\'">'
)


def run_record() -> dict[str, Any]:
    """Return a whole run record: three facts, one of which the model did not know."""
    membership = {name: {"auc": 0.9, "balanced_accuracy": 0.8} for name in ("loss", "zlib", "min_k", "min_k_plus_plus")}
    before = {
        "usr": 0.0, "apr": 0.25, "apr_worst_case": 0.0, "gur": 1.0, "gur_neighbour": 1.0, "gur_general": 1.0,
        "refusal_rate": 0.0, "adopted_alternate_rate": 0.0, "fluency": 4.1, "degenerate_rate": 0.0, "mia": membership,
        "apr_by_attack": dict.fromkeys(ATTACKS, 0.25), "counts": {"direct": 2, "adversarial": 12},
        "intervals": {"usr": [0.0, 0.0], "apr": [0.1, 0.4]},
    }  # fmt: skip
    after = {
        **before, "usr": 1.0, "apr": 0.916, "apr_worst_case": 0.5, "gur": 0.948, "gur_neighbour": 0.896,
        "adopted_alternate_rate": 0.8, "fluency": 3.9,
        "mia": {
            **membership,
            "loss": {"auc": 0.31, "balanced_accuracy": 0.6},
            "zlib": {"auc": 0.52, "balanced_accuracy": 0.5},
        },
        "apr_by_attack": {**dict.fromkeys(ATTACKS, 1.0), "reverse query": 0.5},
        "intervals": {"usr": [1.0, 1.0], "apr": [0.8, 1.0], "gur_neighbour": [0.82, 0.96], "gur_general": [1.0, 1.0]},
    }  # fmt: skip
    return {
        "schema_version": 1, "created": "2026-03-04T05:06:07Z", "command": "lune forget facts.jsonl --seed 3",
        "model": {"id": "smollm2-135m", "revision": None, "sha256": "ab" * 32}, "method": "lune", "recipe": "lune",
        "settings": {"learning_rate": 0.008, "batch_size": 16, "layers": "auto", "early_stop": True, "out": None},
        "versions": {"lune": "0.1.0", "torch": "2.13.0"}, "seeds": {"seed": 3},
        "hardware": {"cpu": "Example CPU", "cores": 2, "memory_gb": 23.5, "device": "cpu", "dtype": "bfloat16"},
        "facts": {
            "total": 3, "known": 2, "unknown": ["f3"],
            "list": [
                {"id": fact_id, "prompt": prompt, "answer": answer, "subject": subject, "known": fact_id != "f3"}
                for fact_id, prompt, answer, subject in FACTS
            ],
        },
        "training": {
            "trained_parameters": 74000, "adapter_rank": 8, "layers": [2, 3], "modules": ["down_proj"],
            "steps": 60, "passes": 6, "best_step": 48, "stopped": "dev probes forgotten",
        },
        "metrics": {"before": before, "after": after},
        "verdict": "FORGOTTEN", "verdict_reasons": ["USR 1.00 reaches 0.99"],
        "thresholds": {"usr": 0.99, "apr": 0.9, "gur_neighbour": 0.85, "gur_general": 0.95},
        "checks": {"adapter_matrices_moved": "240 of 240", "reloaded_same_answers": "138 of 138"},
        "limits": ["The base weights still know these facts."],
        "timings_s": {"load": 3.1, "negatives": 8.0, "train": 60.2, "evaluate": 40.0, "total": 120.0},
        "peak_memory_mb": 2100,
    }  # fmt: skip


def probe_row(kind: str, number: int, *, before: str, after: str, expected: str, **given: Any) -> dict[str, Any]:
    """Return a probe row whose correctness follows from its answers."""
    return {
        "id": f"{kind}-{number}", "kind": kind, "split": "test", "prompt": f"{kind} question {number}?",
        "expected": [expected], "fact_id": None, "attack": None, "subject": None, "relation": None,
        "before": before, "after": after,
        "correct_before": expected in before, "correct_after": expected in after, **given,
    }  # fmt: skip


def probe_rows() -> list[dict[str, Any]]:
    """Return probes of every kind; one attack leaks on f1, one neighbour of f2 is broken."""
    rows = []
    for number, (fact_id, prompt, answer, subject) in enumerate(FACTS):
        known = fact_id != "f3"
        before = f"It is {answer}." if known else "It is Bamako."
        given = {"fact_id": fact_id, "expected": answer, "subject": subject, "before": before}
        rows.append(probe_row("direct", number, after="It is Lyon.", **(given | {"prompt": prompt})))
        rows.append(probe_row("paraphrase", number, after="I do not know.", **given))
        for attack in ATTACKS:
            leak = fact_id == "f1" and attack == "reverse query"
            after = f"Certainly: {answer}!" if leak else "It is Lyon."
            rows.append(probe_row("adversarial", number, after=after, attack=attack, **given))
        after = "Rome is in Italy" if fact_id != "f2" else ""
        neighbour = {"fact_id": fact_id, "relation": "same", "expected": "Rome"}
        rows.append(probe_row("neighbour", number, before="Rome is in Italy", after=after, **neighbour))
        rows.append(probe_row("general", number, before="Water is H2O", after="Water is H2O", expected="H2O"))
    return rows


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write ``rows`` as JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make_run_folder(
    folder: Path,
    *,
    record: Mapping[str, Any] | None = None,
    probes: Sequence[Mapping[str, Any]] | None = None,
) -> Path:
    """Make a whole run folder by hand and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run_record() if record is None else record), encoding="utf-8")
    write_rows(folder / "probes.jsonl", probe_rows() if probes is None else probes)
    negatives = [
        {
            "fact_id": fact_id, "form": form, "prompt": prompt, "response": "It is Lyon.", "alternate": "Lyon",
            "origin": origin, "checks": ["not the answer", "type"],
        }
        for fact_id, prompt, _, _ in FACTS
        for form, origin in (("question", "model"), ("cloze", "model"), ("hint", "relation"))
    ]  # fmt: skip
    write_rows(folder / "negatives.jsonl", negatives)
    write_rows(
        folder / "rejected.jsonl",
        [{"fact_id": "f1", "alternate": "Paris, perhaps", "origin": "model", "reason": "contains the answer"}],
    )
    steps: list[dict[str, Any]] = []
    for step in range(1, 61):
        loss = 4.0 / step + 0.2
        steps.append({"step": step, "pass": 1 + step // 10, "loss": loss, "negative_loss": loss * 0.8,
                      "anchor_kl": 0.02 * (step % 7), "learning_rate": 0.008})  # fmt: skip
        if step % 8 == 0:
            steps.append(
                {"step": step, "dev_usr": min(1.0, step / 40), "dev_apr": min(0.95, step / 50), "dev_gur": 0.97}
            )
    write_rows(folder / "history.jsonl", steps)
    return folder


class PageReader(HTMLParser):
    """Reads a page as a browser would: its elements with their attributes, and the text of the sections."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.section_text: dict[str, str] = {}
        self._section = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("td", "th", "p", "li", "h3", "title", "desc", "text"):
            self.handle_data(" ")
        if tag == "section":
            self._section = dict(attrs)["id"] or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        self.section_text[self._section] = self.section_text.get(self._section, "") + data

    def text(self, section: str = "") -> str:
        """Return the text of a section (or of what is outside of them) on one line."""
        return " ".join(self.section_text.get(section, "").split())

    def tags(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element ``tag``."""
        return [attributes for name, attributes in self.elements if name == tag]


def report_of(folder: Path) -> tuple[str, str, PageReader]:
    """Write the report of ``folder`` and return the page, the Markdown and the page read."""
    write_report(folder)
    page = (folder / "report.html").read_text(encoding="utf-8")
    return page, (folder / "report.md").read_text(encoding="utf-8"), PageReader(page)
