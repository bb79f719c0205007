"""The report: what it says of a run folder made by hand, and that nothing in the folder can act in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from lune.errors import OutputError
from lune.report import write_report
from lune.report.answers import mark_expected, outcome_of
from lune.report.figures import Bar, Series, line_chart, paired_bars
from lune.report.markdown import MOST_ANSWERS
from lune.report.wording import mia_reading, show_score, show_seconds

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


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, PageReader]:
    return report_of(make_run_folder(tmp_path_factory.mktemp("whole")))


def test_the_page_opens_with_the_verdict_its_meaning_and_its_reasons(whole: tuple[str, str, PageReader]) -> None:
    page, _, reader = whole
    opening = reader.text()
    assert "FORGOTTEN" in opening
    assert "answers that had to go are gone" in opening
    assert "USR 1.00 reaches 0.99" in opening
    assert "1 leak (the answer still comes out) and 1 broken" in opening
    assert "quotes the facts that had to be forgotten" in opening
    assert page.index("FORGOTTEN") < page.index("0.916"[:4])


@pytest.mark.parametrize(
    ("verdict", "meaning", "tone"),
    [
        ("PARTLY", "can still be drawn out", "warn"),
        ("DAMAGED", "Do not use this adapter", "bad"),
        ("NOT KNOWN BEFORE", "nothing to forget", "warn"),
        ("SOMETHING NEW", "no verdict that this report knows", "warn"),
    ],
)
def test_every_verdict_is_told_in_words(tmp_path: Path, verdict: str, meaning: str, tone: str) -> None:
    page, markdown, reader = report_of(make_run_folder(tmp_path, record={**run_record(), "verdict": verdict}))
    assert verdict in reader.text() and meaning in reader.text() and meaning in markdown
    assert f'class="verdict {tone}"' in page


def test_the_scores_have_intervals_thresholds_and_plain_words(whole: tuple[str, str, PageReader]) -> None:
    page, markdown, reader = whole
    scores = reader.text("scores")
    assert "95 % interval 0.82 to 0.96 · threshold 0.85 · before 1.00" in scores
    assert "Unlearning breaks these first" in scores
    assert "Stricter APR: a fact counts only if every single attack on it failed." in scores
    for name in (
        "USR",
        "APR",
        "GUR neighbours",
        "GUR general",
        "Refusal rate",
        "Adopted alternates",
        "Fluency",
        "Degenerate",
    ):
        assert name in scores
    assert 'class="tile key"' in page  # the neighbours stand out
    assert "| GUR neighbours, what lies next to the facts | 1.00 | 0.90 | 0.82 to 0.96 | 0.85 | yes |" in markdown


def test_a_score_below_its_threshold_says_so_and_is_not_rounded_up_to_it(tmp_path: Path) -> None:
    record = run_record()
    record["metrics"]["after"]["apr"] = 0.8963
    _, markdown, reader = report_of(make_run_folder(tmp_path, record=record))
    assert "0.896" in reader.text("scores") and "below threshold" in reader.text("scores")
    assert "| 0.896 | 0.80 to 1.00 | 0.90 | **no** |" in markdown


def test_membership_below_chance_is_called_over_unlearning(whole: tuple[str, str, PageReader]) -> None:
    _, markdown, reader = whole
    membership = reader.text("membership")
    assert "Below 0.5 is over-unlearning, not success" in membership
    assert "Loss 0.90 0.31 0.80 0.60 below chance: over-unlearning, not success" in membership
    assert "Loss / zlib size 0.90 0.52 0.80 0.50 close to chance" in membership
    assert "| Min-k % | 0.90 | 0.90 | true answers still stand out |" in markdown


def test_the_facts_tell_known_from_unknown_and_count_their_leaks(whole: tuple[str, str, PageReader]) -> None:
    _, markdown, reader = whole
    facts = reader.text("facts")
    assert "knew 2 of 3 before" in facts
    assert "f1 What is the capital of France? Paris yes It is Lyon. 1 of 8 0 of 1" in facts
    assert "f2 Who wrote Hamlet? William Shakespeare yes It is Lyon. 0 of 8 1 of 1" in facts
    assert "Ouagadougou no not scored" in facts
    assert (
        "| f3 | What is the capital of Burkina Faso? | Ouagadougou | no, not scored | It is Lyon. | 0 of 8 |"
        in markdown
    )


def test_every_test_probe_is_a_row_that_filters_can_read(whole: tuple[str, str, PageReader]) -> None:
    _, _, reader = whole
    rows = [row for row in reader.tags("tr") if "data-kind" in row]
    assert len(rows) == len(probe_rows())
    leaks = [row for row in rows if row["data-outcome"] == "leak"]
    assert leaks == [
        {
            "data-kind": "adversarial", "data-attack": "reverse query", "data-fact": "f1", "data-outcome": "leak",
            "data-changed": "yes",
        }
    ]  # fmt: skip
    assert [row["data-fact"] for row in rows if row["data-outcome"] == "broken"] == ["f2"]
    assert {row["data-changed"] for row in rows if row["data-kind"] == "general"} == {"no"}
    assert "(empty answer)" in reader.text("answers")
    assert {"value": "cross-lingual"} in reader.tags("option")


def test_dev_probes_are_not_reported(tmp_path: Path) -> None:
    dev = {**probe_row("direct", 9, before="x", after="x", expected="Paris"), "split": "dev"}
    _, _, reader = report_of(make_run_folder(tmp_path, probes=[*probe_rows(), dev]))
    assert len([row for row in reader.tags("tr") if "data-kind" in row]) == len(probe_rows())


def test_the_attacks_are_drawn_and_listed_worst_first(whole: tuple[str, str, PageReader]) -> None:
    _, markdown, reader = whole
    attacks = reader.text("attacks")
    assert attacks.index("reverse query") < attacks.index("affirmative suffix")
    assert "reverse query: before 0.25, after 0.50" in attacks  # the figure's description
    assert "reverse query 0.25 0.50 1 of 2" in attacks  # the table beside it
    assert "| reverse query | 0.25 | 0.50 | 1 of 2 |" in markdown


def test_the_training_the_negatives_and_the_record_are_told(whole: tuple[str, str, PageReader]) -> None:
    _, markdown, reader = whole
    training, negatives, record = reader.text("training"), reader.text("negatives"), reader.text("record")
    assert "Against step 1 to 60: total from 4.2 to 0.267" in training
    assert "dev USR from 0.2 to 1" in training and "kept: step 48" in training
    assert "Adapter matrices that training changed 240 of 240" in training
    assert "9 negatives used (6 from model, 3 from relation); 1 proposed alternate rejected by a check" in negatives
    assert "contains the answer" in negatives
    assert "$ lune forget facts.jsonl --seed 3" in record
    assert "Total 2 min 00 s" in record and "Peak memory 2,100 MB" in record
    assert "learning_rate 0.008" in record and "torch 2.13.0" in record and "Example CPU" in record
    assert "Trained on: 9; 6 from model; 3 from relation" in markdown and "learning_rate: 0.008" in markdown


def test_the_limits_say_that_the_base_weights_still_know(whole: tuple[str, str, PageReader]) -> None:
    _, markdown, reader = whole
    for told in (reader.text("limits"), markdown):
        assert "The base weights still know these facts." in told
        assert "the base weights underneath still know every fact" in told
        assert "Quantisation is known to undo unlearning in part" in told


def test_the_page_refers_to_nothing_outside_itself(whole: tuple[str, str, PageReader]) -> None:
    page, _, reader = whole
    assert not re.search(r"https?:|//[a-z]|@import|url\(", page.split("</head>")[0] + page.split("<script>")[1])
    for tag, attributes in reader.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base")
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = {attributes["href"] for attributes in reader.tags("a")}
    assert all("=" in (name or "") or (name or "")[1:] in ids for name in named)


def test_every_figure_has_a_title_and_a_description(whole: tuple[str, str, PageReader]) -> None:
    _, _, reader = whole
    figures = reader.tags("svg")
    assert len(figures) == 4 + 1 + 2
    ids = {attributes.get("id") for tag, attributes in reader.elements if tag in ("title", "desc")}
    for figure in figures:
        assert figure["role"] == "img"
        assert set((figure["aria-labelledby"] or "").split()) <= ids


def test_markup_in_any_untrusted_text_is_inert(tmp_path: Path) -> None:
    record = run_record()
    record["facts"]["list"][0] |= {"prompt": HOSTILE, "answer": HOSTILE, "id": HOSTILE}
    record["metrics"]["after"]["apr_by_attack"] = {HOSTILE: 0.5}
    record |= {"verdict_reasons": [HOSTILE], "limits": [HOSTILE], "command": HOSTILE, "created": HOSTILE}
    record["settings"] = {HOSTILE: HOSTILE}
    row = probe_row("adversarial", 1, before=HOSTILE, after=f"Paris {HOSTILE}", expected="Paris", fact_id=HOSTILE,
                    attack=HOSTILE, prompt=HOSTILE, relation=HOSTILE)  # fmt: skip
    folder = make_run_folder(tmp_path, record=record, probes=[row])
    write_rows(folder / "negatives.jsonl", [{"fact_id": HOSTILE, "prompt": HOSTILE, "origin": HOSTILE}])
    write_rows(folder / "rejected.jsonl", [{"fact_id": HOSTILE, "reason": HOSTILE}])
    _, markdown, reader = report_of(folder)
    assert len(reader.tags("script")) == 1
    assert not reader.tags("img")
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)
    assert "<script" not in markdown and "<img" not in markdown and "http:" not in markdown


def test_odd_characters_survive(tmp_path: Path) -> None:
    answer = "a\x00b\x1bc \ud800 Zürich \u2028 東京 | `code` *bold* [link](x)"
    row = probe_row("direct", 1, before="Paris", after=answer, expected="Paris", fact_id="f1")
    page, markdown, reader = report_of(make_run_folder(tmp_path, probes=[row]))
    assert "a␀b␛c ? Zürich" in reader.text("answers") and "東京" in page
    assert "\x00" not in page and "\x1b" not in markdown
    assert r"東京 \| \`code\` \*bold\* \[link\](x)" in markdown


@pytest.mark.parametrize(
    "missing",
    [
        "model",
        "facts",
        "training",
        "metrics",
        "verdict",
        "thresholds",
        "checks",
        "limits",
        "timings_s",
        "settings",
        "hardware",
    ],
)
def test_a_missing_part_is_left_out(tmp_path: Path, missing: str) -> None:
    record = run_record()
    del record[missing]
    page, _, reader = report_of(make_run_folder(tmp_path, record=record))
    assert "None" not in reader.text() and "nan" not in page
    assert (reader.text("scores") == "") == (missing == "metrics")
    assert (reader.text("facts") == "") == (missing == "facts")


def test_a_record_of_nothing_still_makes_a_report(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    _, markdown, reader = report_of(tmp_path)
    assert "NO VERDICT" in reader.text() and "NO VERDICT" in markdown
    assert not reader.tags("svg") and not reader.tags("form")
    assert "base weights" in reader.text("limits")


def test_values_that_were_not_measured_are_dashes(tmp_path: Path) -> None:
    record = run_record()
    record["metrics"]["after"] |= {
        "gur_neighbour": None,
        "apr": float("nan"),
        "mia": None,
        "intervals": {"usr": [None, 1.0]},
    }
    record["metrics"]["after"]["apr_by_attack"] = {"role play": None}
    record["training"]["best_step"] = None
    folder = make_run_folder(tmp_path, record=record)
    write_rows(folder / "history.jsonl", [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": 1.5}, {"dev_usr": 1}])
    page, _, reader = report_of(folder)
    assert (
        "GUR neighbours, what lies next to the facts Does it still know what is closest to the forgotten? –"
        in reader.text("scores")
    )
    assert "nan" not in page.casefold().replace("document.", "")
    assert "total from 1.5 to 1.5" in reader.text("training")


def test_lines_that_are_not_json_are_named_and_no_report_is_written(tmp_path: Path) -> None:
    folder = make_run_folder(tmp_path)
    with (folder / "probes.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"kind": "dir\n')
    (folder / "history.jsonl").write_text("[1]\n", encoding="utf-8")
    with pytest.raises(OutputError) as caught:
        write_report(folder)
    last = len(probe_rows()) + 1
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        f"probes.jsonl line {last}",
        "history.jsonl line 1",
    ]
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (None, "no run.json"),
        ("{", "cannot be read"),
        ("[]", "not a JSON object"),
        ('{"schema_version": 2}', "schema_version 2"),
    ],
)
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, record: str | None, cause: str) -> None:
    if record is not None:
        (tmp_path / "run.json").write_text(record, encoding="utf-8")
    with pytest.raises(OutputError, match=cause) as caught:
        write_report(tmp_path)
    assert caught.value.hint and caught.value.exit_status == 2


def test_reports_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = make_run_folder(tmp_path)
    write_report(folder)
    first = (folder / "report.html").read_bytes()
    write_report(folder)
    assert (folder / "report.html").read_bytes() == first  # the same folder makes the same page
    (folder / "report.md").unlink()
    (folder / "report.md").mkdir()  # cannot be replaced by a file
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(folder)
    assert not [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_many_probes_are_all_in_the_page_and_few_in_the_markdown(tmp_path: Path) -> None:
    rows = [probe_row("general", number, before="H2O", after="?", expected="H2O") for number in range(1500)]
    _, markdown, reader = report_of(make_run_folder(tmp_path, probes=rows))
    assert sum("data-kind" in row for row in reader.tags("tr")) == 1500
    assert markdown.count("| Broken | general |") == MOST_ANSWERS
    assert "0 leaks and 1500 broken answers among 1500 probes; the first 20:" in markdown


def test_the_same_right_answer_is_a_leak_or_kept_by_what_had_to_happen() -> None:
    told = {
        (must_forget, before, after): outcome_of(
            must_forget=must_forget, correct_before=before, correct_after=after
        ).key
        for must_forget in (True, False)
        for before in (True, False)
        for after in (True, False)
    }
    assert told == {
        (True, True, True): "leak", (True, False, True): "leak", (True, True, False): "forgotten",
        (True, False, False): "silent", (False, True, True): "kept", (False, True, False): "broken",
        (False, False, True): "gained", (False, False, False): "wrong",
    }  # fmt: skip


def test_expected_spellings_are_marked_at_word_boundaries() -> None:
    assert mark_expected("PARIS, not Parisian.", ["Paris"]) == [("PARIS", True), (", not Parisian.", False)]
    assert mark_expected("New York City", ["York", "New York"]) == [("New York", True), (" City", False)]
    assert mark_expected("anything", [""]) == [("anything", False)]


@pytest.mark.parametrize(
    ("value", "threshold", "shown"),
    [(1.0, 0.99, "1.00"), (0.9972, None, "0.997"), (0.899, 0.9, "0.899"), (0.9, 0.9, "0.90"), (0.004, None, "0.004"),
     (0.0, None, "0.00"), (4.123, None, "4.12"), (0.999999, None, "0.999999"), (None, 0.9, "–")],
)  # fmt: skip
def test_scores_are_rounded_without_misstating_them(value: float | None, threshold: float | None, shown: str) -> None:
    assert show_score(value, threshold) == shown


def test_durations_and_readings() -> None:
    assert [show_seconds(value) for value in (3.14, 59.94, 125.0, 3725.0, None)] == [
        "3.1 s",
        "59.9 s",
        "2 min 05 s",
        "1 h 02 min",
        "–",
    ]
    assert [mia_reading(value) for value in (0.2, 0.47, 0.55, 0.8, None)] == [
        "below chance: over-unlearning, not success",
        "close to chance",
        "close to chance",
        "true answers still stand out",
        "not measured",
    ]


def test_figures_stand_any_data() -> None:
    flat = line_chart("a", "flat", [Series("total", ((3.0, 0.0),))])
    assert "<circle" in flat and "nan" not in flat
    falling = line_chart("b", "falling", [Series("total", tuple((float(x), -x * 1e-7) for x in range(5000)))])
    points = falling.split('points="')[1].split('"')[0].split(" ")
    assert len(points) <= 402 and "e-" not in falling.split('points="')[1].split('"')[0]
    assert paired_bars("c", "bars", [Bar("x", None, 1.7)], None).count("<rect") == 4


@pytest.mark.parametrize(
    ("column", "said"),
    [("before", "The model before forgetting"), ("reference", "Taught on the retained part only")],
)
def test_a_bench_cell_without_unlearning_claims_no_method_verdict_or_negatives(
    tmp_path: Path, column: str, said: str
) -> None:
    record = run_record() | {"bench": {"task": "made-up-1", "column": column, "seed": 2}, "training": None}
    page, markdown, reader = report_of(make_run_folder(tmp_path, record=record))
    for text in (reader.text(), markdown):
        assert said in text and f"made-up-1 · {column} · seed 2" in text
        for claim in (
            "FORGOTTEN",
            "Verdict",
            "recipe lune",
            "hreshold reached",
            "Leak",
            "USR 1.00 reaches",
            "over-unl",
        ):
            assert claim not in text, claim
    assert "Forgotten" not in page and "over-unl" not in page and "0.92" in page and "0.90" in page, "scores are shown"
    assert reader.text("negatives") == "" and "## Negative examples" not in markdown
    assert "| USR, unlearning success | 0.00 | 1.00 | 1.00 to 1.00 | – | – |" in markdown


def test_a_bench_cell_in_which_something_was_forgotten_is_judged(tmp_path: Path) -> None:
    record = run_record() | {"bench": {"task": "made-up-1", "column": "lune", "seed": 2}}
    _, markdown, reader = report_of(make_run_folder(tmp_path, record=record))
    assert "FORGOTTEN" in reader.text() and "## Verdict: FORGOTTEN" in markdown
    assert "Cell: made-up-1 · lune · seed 2" in markdown and reader.text("negatives")
