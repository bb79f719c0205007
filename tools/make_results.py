"""The results page, docs/results.md, from the run records stored in results/. ``make docs`` writes it.

A record is the run.json of a run; ``make results`` runs the demo with both recipes and stores theirs. Of a bench every
cell's record and published scores are stored (``--store BENCH_OUT NAME``), and its table is made from these.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

from lune.attacks.folder import RESULTS as ATTACKS
from lune.bench.cells import SCORES as PROTOCOL_SCORES
from lune.bench.cells import cell_folders
from lune.bench.results import read_cell, read_cells, rows
from lune.bench.table import markdown
from lune.outputs import RUN_RECORD, write_json
from result_sections import (
    attack_notes,
    layers_section,
    reading_notes,
    sequence_section,
    summary_section,
    times_section,
)

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
INTRO = """
# Results

Every number in the tables up to the last two sections is read from a run record in [results/](../results): each run's
own `run.json`. `make results` measures the demo's two columns and `world` again, on the machine at hand, and `make
docs` rebuilds the page; below each table of a bench stand the commands that made it. Figures of other machines, and
of another seed, differ.

The demo is one seed; of a bench the table says which. The default recipe's settings were chosen on other requests
(the last sections of this page), earlier ones in part while looking at the demo's own scores, so its column in the
demo is no held-out result. How much hangs on details shows in two runs of earlier versions: one with 160 anchors
instead of 200, in other shares, kept one of the demo's facts in an answer ([its
record](../results/other/demo-160-anchors.json)), and the change to packed rows with exact rotary positions cost the
demo its verdict until keys and rate were chosen anew ([the record
before](../results/other/demo-before-packed-rows.json)). No command makes these two again, nor the other records in
`results/other`. The present code on one thread instead of two rounds differently and ends `PARTLY`: one of the six
facts comes at the end of a long answer ([its record](../results/other/demo-one-thread.json)).

All benches are of the present default. `world` and TOFU have three seeds, KnowUnDo, EDU-RELAT and RWKU one each.
KnowUnDo's cells were made before the texts of its protocol were held out of anchors and keys.

**What is not reached.** On `world` the default loses too many neighbours: above all the same questions about other
things where the answer is a number (the atomic number) or a form of a word (the comparative). On TOFU a fact or two of
19 are still given, and some general questions go (of the reference, which was never taught the author, many more). The
membership attacks still tell the forgotten sentences from others as surely as before: the words that were asked for are
gone, the rest of the sentence stays likely (`forget_probability` against the reference's). TOFU's forget quality is no
evidence over 20 answers: not even the model before differs from the reference by it. [Where every fact had a key of its
answer](../results/other/tofu-keys-of-answers.json) and [where one
had](../results/other/tofu-one-key-of-an-answer.json) are earlier versions, on a request written with the benchmark's
evaluation files.

On KnowUnDo, where several facts share a person, few neighbours are lost, but some facts are still given and attacks
draw out more than with the paper's recipe; seeking relapses in every prompt did not help there, and [with a key of its
answer for each fact](../results/other/knowundo-keys-of-answers.json) an earlier version forgot less still.

Figures over few facts say little: of RWKU's target the model knows 1 of 16 facts, EDU-RELAT's task is one fact, which
the reference gives as well though it was never taught it. Teaching EDU-RELAT's family costs this small model nearly all
general knowledge, and not all biographies are learnt (`acc_bio`), so its scores of what stays say less than they seem
to. In RWKU the request holds what the benchmark measures with
([benchmarks.md](benchmarks.md#choices-the-papers-leave-open)).
"""
OWN_BENCHMARK = "world"
CHOICES = tuple(Path("other") / f"choice-{name}.json" for name in ("of-keys", "on-world", "on-tofu"))
TEXTS = ("prompt", "answer", "subject", "aliases", "held_out", "before", "after", "paraphrases", "neighbours")
"""Fields of facts and of attacked facts that hold a benchmark's texts, or answers to them."""
PLACEHOLDERS = {"--data": "DIR", "--out": "OUT", "--model": "TARGET"}
"""What stands for folders of the machine in commands: a benchmark's data, a bench's folder, a taught model."""
_TAUGHT = re.compile(r"[0-9a-f]{24}")
SCORES = (
    ("usr", "USR"),
    ("paraphrase_usr", "USR on paraphrases"),
    ("apr", "APR"),
    ("apr_worst_case", "APR, worst case"),
    ("gur_neighbour", "gur_neighbour"),
    ("gur_general", "gur_general"),
    ("gur", "GUR"),
    ("refusal_rate", "refusals"),
    ("adopted_alternate_rate", "adopted alternates"),
    ("fluency", "fluency (bits)"),
    ("degenerate_rate", "degenerate answers"),
)
MIA = (
    ("loss", "MIA AUC, loss"),
    ("zlib", "MIA AUC, zlib"),
    ("min_k", "MIA AUC, min-k"),
    ("min_k_plus_plus", "MIA AUC, min-k++"),
)


def results_page(results: Path = RESULTS) -> str:
    """Return the page as Markdown, from the records stored in a folder."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("*/run.json"))]
    parts = ["<!-- Written by `make docs` from results/: run `make results` to measure again. -->", INTRO]
    stored = [folder for folder in sorted(results.iterdir()) if cell_folders(folder)]
    parts += ["\n".join(section) for section in (summary_section(stored), times_section(results)) if section]
    benches = [bench_section(folder) for folder in stored]
    if records:
        parts.append(_demo_section(records))
    elif not benches:
        parts.append("No run is stored here yet: run `make results`.")
    parts += benches
    parts += ["\n".join(section) for section in (layers_section(results), sequence_section(results)) if section]
    parts += [_choice_section(path, results) for path in CHOICES if (results / path).is_file()]
    return "\n".join(parts).rstrip() + "\n"


def _choice_section(path: Path, results: Path) -> str:
    """Return the table of what was tried before some part of the default was chosen."""
    choice = json.loads((results / path).read_text(encoding="utf-8"))
    lines = [
        f"## {choice['title']}",
        "",
        *choice["about"],
        "What lost is not in the code, so no command makes these runs again ([the",
        f"figures](../results/{path.as_posix()})). Each column has the requests in this order:",
        "",
        *(f"- The {name}: {'; '.join(facts)}." for name, facts in choice["facts"].items()),
        "",
        f"| {choice.get('varied', 'keys')} "
        "| | USR | on paraphrases | APR | gur_neighbour | same relation | other relations | gur_general |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in choice["rows"]:
        each = [row["requests"].get(name) for name in choice["facts"]]
        columns = [[run and run[key] for run in each] for key in ("usr", "paraphrase_usr", "apr")]
        columns.append([run and run["neighbours_kept"] / run["neighbours"] for run in each])
        columns += [[run and run[key] for run in each] for key in ("same_relation", "other_relation")]
        columns.append([run and run["general_kept"] / run["general"] for run in each])
        shown = (" / ".join("-" if value is None else f"{value:.2f}" for value in column) for column in columns)
        lines.append(f"| {row['keys']} | {row['note']} | {' | '.join(shown)} |")
    return "\n".join([*lines, ""])


def _demo_section(records: list[dict[str, Any]]) -> str:
    facts = "; ".join(f"{fact['prompt']} ({fact['answer']})" for fact in records[0]["facts"]["list"])
    lines = [
        "## The demo: the default recipe beside the paper's",
        "",
        f"Facts to forget: {facts}.",
        "",
        "Brackets: 95 % interval by bootstrap over facts. Neighbours are other subjects of the same relation and other",
        "relations of the same subject. No subject of the first kind was held by an anchor in training; of the",
        "forgotten subjects themselves other questions were.",
        "",
        "| | before | " + " | ".join(f"after, `{record['recipe']}`" for record in records) + " |",
        "| --- | ---: | " + " | ".join("---:" for _ in records) + " |",
        _row("verdict", "", [f"**{record['verdict']}**" for record in records]),
    ]
    before = records[0]["metrics"]["before"]
    for key, name in SCORES:
        cells = [_value(record["metrics"]["after"], key) for record in records]
        lines.append(_row(name, _value(before, key), cells))
    for relation in sorted({name for r in records for name in r["metrics"]["after"]["gur_neighbour_by_relation"]}):
        cells = [_number(record["metrics"]["after"]["gur_neighbour_by_relation"].get(relation)) for record in records]
        known = _number(before["gur_neighbour_by_relation"].get(relation))
        lines.append(_row(f"gur_neighbour, {relation} relation", known, cells))
    for key, name in MIA:
        cells = [_number(record["metrics"]["after"]["mia"][key]["auc"]) for record in records]
        lines.append(_row(name, _number(before["mia"][key]["auc"]), cells))
    lines += [
        "",
        "| adversarial probe rejection by attack | before | " + " | ".join(f"`{r['recipe']}`" for r in records) + " |",
    ]
    lines.append("| --- | ---: | " + " | ".join("---:" for _ in records) + " |")
    for attack in before["apr_by_attack"]:
        cells = [_number(record["metrics"]["after"]["apr_by_attack"].get(attack)) for record in records]
        lines.append(_row(attack, _number(before["apr_by_attack"][attack]), cells))
    lines += ["", "| the run | " + " | ".join(f"`{record['recipe']}`" for record in records) + " |"]
    lines.append("| --- | " + " | ".join("---:" for _ in records) + " |")
    lines += _run_rows(records)
    lines += ["", "Rebuilt by:", "", "```console", *(f"$ {record['command']}" for record in records), "```"]
    return "\n".join(lines)


def _run_rows(records: list[dict[str, Any]]) -> list[str]:
    training = [record["training"] for record in records]
    hardware = [record["hardware"] for record in records]
    counts = [record["metrics"]["after"]["counts"] for record in records]
    return [
        _plain("trained numbers", [f"{each['trained_parameters']:,}" for each in training]),
        _plain("adapted", [f"{', '.join(t['modules'])}, layers {t['layers'][0]}-{t['layers'][-1]}" for t in training]),
        _plain("steps, best step", [f"{each['steps']}, {each['best_step']}" for each in training]),
        _plain("stopped", [each["stopped"] for each in training]),
        _plain(
            "probes: direct, paraphrase, adversarial, neighbour, general",
            [
                ", ".join(str(c[k]) for k in ("direct", "paraphrase", "adversarial", "neighbour", "general"))
                for c in counts
            ],
        ),
        _plain(
            "seconds: total, training",
            [f"{r['timings_s']['total']:.0f}, {r['timings_s']['train']:.0f}" for r in records],
        ),
        _plain("peak memory (MB)", [f"{record['peak_memory_mb']:.0f}" for record in records]),
        _plain("machine", [f"{h['cpu']}, {h['cores']} cores, {h['dtype']}" for h in hardware]),
    ]


def _value(scores: dict[str, Any], key: str) -> str:
    interval = scores["intervals"].get(key)
    shown = _number(scores[key])
    return f"{shown} [{interval[0]:.2f}, {interval[1]:.2f}]" if interval and interval[0] != interval[1] else shown


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"


def _row(name: str, before: str, cells: list[str]) -> str:
    return f"| {name} | {before} | " + " | ".join(cells) + " |"


def _plain(name: str, cells: list[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def store(name: str, run: Path) -> None:
    """Copy a run's record and history into results/NAME."""
    folder = RESULTS / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("run.json", "history.jsonl"):
        shutil.copyfile(run / file, folder / file)
    record = json.loads((folder / RUN_RECORD).read_text(encoding="utf-8"))
    write_json(folder / RUN_RECORD, _without_places(record))


def bench_section(folder: Path) -> str:
    """Return the tables of a stored bench, with the commands and machines that made them."""
    records = [json.loads((cell / RUN_RECORD).read_text(encoding="utf-8")) for cell in cell_folders(folder)]
    commands = sorted({record["command"] for record in records})
    machines = sorted({f"{r['hardware']['cpu']}, {r['hardware']['cores']} cores" for r in records})
    # A cell of before or reference that another seed has measured already asks the protocol's questions in no time.
    cells = sum(record["timings_s"]["total"] + record["bench"].get("protocol_seconds", 0) for record in records)
    taught = sum(each["seconds"] for each in _taught(records).values())
    lessons = f" and {taught / 60:.1f} minutes of teaching" if taught else ""
    made = f"{len(records)} cells, {cells / 60:.1f} minutes{lessons}, on {'; '.join(machines)}. Rebuilt by:"
    table = markdown(rows(read_cells([folder])), level=2)
    attacks = [line for cell in cell_folders(folder) for line in _attack_section(cell)]
    console = ["```console", *dict.fromkeys(f"$ {_generic(command)}" for command in commands), "```"]
    # Two stored benches may be of one benchmark: the folder tells them apart.
    table = re.sub(r"^(## .+)$", rf"\1: results/{folder.name}", table, count=1, flags=re.MULTILINE)
    return "\n".join(["", table, *_taught_lines(records), *reading_notes(records), made, "", *console, *attacks])


def _taught(records: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return how the models of the cells were taught, by task and target or reference; nothing where none was."""
    return {
        (record["bench"]["task"], name): teaching
        for record in records
        for name, teaching in record["bench"].get("teaching", {}).items()
        if teaching and (name == "target" or record["bench"]["column"] == "reference")
    }


def _taught_lines(records: list[dict[str, Any]]) -> list[str]:
    """Return what the models that were taught first knew afterwards, one line each."""
    found = _taught(records)
    several = len({task for task, _ in found}) > 1
    lines = [
        f"- taught {name}{f' of {task}' if several else ''}: {each['texts']} texts in {each['passes']} passes, "
        f"{each['seconds']:.0f} s; ROUGE-L recall {each['rouge_l_recall']:.3f}, probability {each['probability']:.3f}"
        for (task, name), each in sorted(found.items(), key=lambda item: (item[0][0], item[0][1] == "reference"))
    ]
    return [*lines, ""] if lines else []


def _attack_section(cell: Path) -> list[str]:
    """Return the table of the attacks on a cell, nothing where none were made."""
    if not (cell / ATTACKS).is_file():
        return []
    record = json.loads((cell / ATTACKS).read_text(encoding="utf-8"))
    task, column = cell.parts[-3], cell.parts[-2]
    run = f"{task}/{column}/{cell.name}"
    lines = [
        "",
        f"### Attacks on {task}, {column}, {cell.name}",
        "",
        "Recovered is USR before less USR after, over the facts that the attack could ask; brackets: 95 % interval.",
        "",
        "| attack | facts | USR before | USR after | recovered | the base model gives | seconds |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in record["attacks"]:
        if each.get("skipped"):
            lines.append(f"| {each['attack']} | not made: {each['skipped']} | | | | | |")
            continue
        low, high = each["recovered"]["low"], each["recovered"]["high"]
        interval = f" [{low:.2f}, {high:.2f}]" if low is not None and low != high else ""
        shown = [_number(each[name]["value"]) for name in ("usr_before", "usr_after", "recovered")]
        given = _number(each["base_gives"])
        if each.get("guessable"):
            picked = sum(fact["leaked_after"] for fact in each["facts"])
            shown[1:] = ["", f"picks {picked}; {each['details']['chance']:.0%} by guessing"]
        lines.append(
            f"| {each['attack']} | {len(each['facts'])} | {shown[0]} | {shown[1]} | {shown[2]}{interval} | {given} | "
            f"{each['seconds']:.0f} |"
        )
    lines += ["", *attack_notes(record["attacks"])]
    commands = {each.get("made", record)["command"]: None for each in record["attacks"]}
    made = [f"$ {_generic(command, run)}" for command in commands]
    return [*lines, "", "Made by:", "", "```console", *made, "```"]


def _generic(command: str, run: str = "") -> str:
    """Return a command with a word in the place of each folder of the machine it was typed on.

    Args:
        command: What was typed.
        run: For ``lune attack``: the run folder within that of the bench.
    """
    words = shlex.split(command)
    for place, word in enumerate(words[:-1]):
        if word in PLACEHOLDERS and not (word == "--model" and not _TAUGHT.fullmatch(words[place + 1])):
            words[place + 1] = PLACEHOLDERS[word]
    if run:
        words[2] = f"OUT/{run}"
    return shlex.join(words)


def store_bench(out: Path, folder: Path) -> None:
    """Copy the record and the published scores of every cell of a bench into a folder, in place of what is there."""
    read_cells([out])  # refuses what is no bench before the old one is removed
    shutil.rmtree(folder, ignore_errors=True)
    for cell in cell_folders(out):
        own = read_cell(cell).benchmark == OWN_BENCHMARK
        target = folder / cell.relative_to(out)
        target.mkdir(parents=True)
        for name in (RUN_RECORD, PROTOCOL_SCORES, ATTACKS):
            if (cell / name).is_file():
                record = _without_places(json.loads((cell / name).read_text(encoding="utf-8")))
                write_json(target / name, record if own else _without_data(record))


def _without_data(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without a benchmark's texts: its data is its authors' and stays out of this repository."""
    if isinstance(record.get("facts"), dict):  # run.json
        record["facts"]["list"] = [_without_texts(fact) for fact in record["facts"]["list"]]
    for attack in record.get("attacks", []):
        attack["facts"] = [_without_texts(fact) for fact in attack.get("facts", [])]
    return record


def _without_texts(fact: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fact.items() if name not in TEXTS}


def _without_places(value: Any) -> Any:
    """Return a record in which folders of the machine are told by their last part."""
    if isinstance(value, dict):
        return {key: _without_places(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_places(item) for item in value]
    return re.sub(r"(?<![\w:/.])/(?:[\w.+-]+/)+([\w.+-]+)", r"\1", value) if isinstance(value, str) else value


def main() -> None:
    """Store a run (NAME RUN) or a bench (--store BENCH_OUT NAME)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", nargs=2, metavar=("BENCH_OUT", "NAME"), help="store a bench")
    parser.add_argument("run", nargs="*", metavar="NAME RUN", help="store a run")
    given = parser.parse_args()
    if given.store:
        store_bench(Path(given.store[0]), RESULTS / given.store[1])
    elif len(given.run) == 2:  # noqa: PLR2004
        store(given.run[0], Path(given.run[1]))
    else:
        parser.error("give NAME RUN, or --store BENCH_OUT NAME")


if __name__ == "__main__":
    main()
