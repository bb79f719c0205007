"""What the report says of the attacks on a finished run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lune.attacks import ATTACKS
from lune.errors import OutputError
from lune.report import write_report
from lune.report.attacks import MEASURED_BY, attack_rows, threats, worst_in_words
from lune.report.wording import THREATS


def entry(name: str, recovered: float | None, **given: Any) -> dict[str, Any]:
    after = None if recovered is None else 1.0 - recovered
    return {
        "attack": name, "tries": f"Tries {name}.", "threat": "Anybody.", "meaning": f"Meaning of {name}.",
        "usr_before": {"value": 1.0 if recovered is not None else None, "low": None, "high": None},
        "usr_after": {"value": after, "low": None, "high": None},
        "recovered": {"value": recovered, "low": 0.1 if recovered else None, "high": 0.6 if recovered else None},
        "base_gives": 0.9, "form": "", "budget": "quick", **given,
    }  # fmt: skip


NOT_MADE = entry("nf4", None, skipped="No bitsandbytes here.")
RECORD = {"schema_version": 1, "attacks": [entry("role", -0.5), NOT_MADE, entry("relearn", 0.25)]}


def make_run(folder: Path, record: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"schema_version": 1, "verdict": "FORGOTTEN"}))
    (folder / "attacks.json").write_text(record if isinstance(record, str) else json.dumps(record))
    return folder


def test_the_attack_that_recovers_most_comes_first_and_one_not_made_last() -> None:
    rows = attack_rows(RECORD)
    assert [row.name for row in rows] == ["relearn", "role", "nf4"]
    assert rows[0].interval == (0.1, 0.6)
    assert rows[2].recovered is None and rows[2].interval is None
    assert attack_rows({}) == ()


def test_what_was_measured_replaces_what_was_not() -> None:
    told = dict(threats(THREATS, attack_rows(RECORD)))
    assert told["Fine-tunes the model further"] == "Measured. relearn: Meaning of relearn."
    assert told["Runs it at another precision, such as 4 bits"].startswith("Not measured here")  # nf4 was not made
    assert threats(THREATS, ()) == THREATS
    inside = dict(threats(THREATS, attack_rows({"attacks": [entry("choice", 0.5), entry("logit-lens", 0.0)]})))
    assert inside["Reads likelihoods or inner activations"] == (
        "Measured. choice: Meaning of choice. logit-lens: Meaning of logit-lens."
    )


def test_the_verdict_names_the_attack_that_brings_back_most() -> None:
    rows = attack_rows({"attacks": [*RECORD["attacks"], entry("adapter-scale", 1.0)]})
    [told] = worst_in_words(rows)
    assert told.endswith("Of 2 made, the strongest is relearn, which brings back 25% of the facts.")
    [none] = worst_in_words(attack_rows({"attacks": [entry("role", -0.5)]}))
    assert none.endswith("Of 1 made, none brings any back.")
    assert worst_in_words(()) == ()


def test_an_attack_by_options_was_made_though_nothing_is_said_to_be_recovered() -> None:
    rows = attack_rows({"attacks": [NOT_MADE, entry("choice", None, guessable=True), entry("role", -0.5)]})
    assert [(row.name, row.made) for row in rows] == [("role", True), ("choice", True), ("nf4", False)]
    told = dict(threats(THREATS, rows))
    assert told["Reads likelihoods or inner activations"] == "Measured. choice: Meaning of choice."


def test_every_threat_that_an_attack_measures_is_one_of_the_report() -> None:
    assert set(MEASURED_BY) <= {who for who, _ in THREATS}
    assert {name for names in MEASURED_BY.values() for name in names} <= set(ATTACKS)


def test_page_and_markdown_show_the_attacks(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", RECORD)
    write_report(folder)
    page, short = (folder / "report.html").read_text(), (folder / "report.md").read_text()
    assert 'id="further"' in page and 'href="#further"' in page
    assert "relearn: before 1.00, after 0.75; role: before 1.00, after 1.50" in page
    assert "nf4: before" not in page and "Meaning of nf4." in page
    row = page[page.index('<tr><th scope="row">relearn</th>') :].partition("</tr>")[0]
    assert '<td class="came">Meaning of relearn.<br>' in row, "what came of it stands before what it tries"
    assert '<td class="who small" data-label="Who could">Anybody.</td>' in row
    assert '<figure class="alone">' in page and "## Attacks on the finished run" in short
    assert "| relearn | 1.00 | 0.75 | 0.10 to 0.60 | Meaning of relearn. | Anybody. |" in short


def test_a_hostile_answer_cannot_act_in_the_page(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", {"attacks": [entry("role", 0.5, tries="<script>alert(1)</script>")]})
    write_report(folder)
    assert "<script>alert" not in (folder / "report.html").read_text()
    assert "&lt;script&gt;alert" in (folder / "report.html").read_text()


def test_without_attacks_there_is_no_section_and_a_broken_file_is_an_error(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", RECORD)
    (folder / "attacks.json").unlink()
    write_report(folder)
    assert 'id="further"' not in (folder / "report.html").read_text()
    with pytest.raises(OutputError, match=r"attacks\.json"):
        write_report(make_run(tmp_path / "broken", "{"))
