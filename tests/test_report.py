"""The report: what it says of a run folder made by hand, and that nothing in the folder can act in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lune.errors import OutputError
from lune.report import write_report
from lune.report.markdown import MOST_ANSWERS
from reports import (
    HOSTILE,
    PageReader,
    make_run_folder,
    probe_row,
    probe_rows,
    report_of,
    run_record,
    write_rows,
)


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
