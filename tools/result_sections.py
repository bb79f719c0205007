"""Sections of the results page that are made from several runs of one question: which layers, how many requests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lune.bench.plan import BEFORE
from lune.bench.results import read_cells, rows

LAYERS, SEQUENCE = "layers", "sequence"
FEW_QUESTIONS = 20
"""General questions known before, below which a share of them says little."""
TIMES = Path("other") / "bench-times.json"


def times_section(results: Path) -> list[str]:
    """Return the table of the quick benches' wall times, which were read off a clock; empty without any."""
    if not (results / TIMES).is_file():
        return []
    told = json.loads((results / TIMES).read_text(encoding="utf-8"))
    lines = [f"## {told['title']}", "", "| bench | minutes | how |", "| --- | ---: | --- |"]
    for name, each in told["seconds"].items():
        lines.append(
            f"| `lune bench {name} --quick{each.get('flags', '')}` | {each['seconds'] / 60:.1f} | {each['how']} |"
        )
    return [
        *lines,
        "",
        f"From [the figures](../results/{TIMES.as_posix()}); the sums below the tables are of cells.",
        "",
    ]


def summary_section(folders: Sequence[Path]) -> list[str]:
    """Return one table over all stored benches: what went, what stayed, the verdicts; empty without any."""
    if not folders:
        return []
    lines = [
        "## In short",
        "",
        "Means over seeds; the tables below have the spread and the rest. The model before is left out: nothing",
        "of it is gone, and everything is kept.",
        "",
        "| bench | column | seeds | known facts | USR | APR | gur_neighbour | gur_general | verdicts |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for folder in folders:
        for row in rows(read_cells([folder])):
            if row.column == BEFORE:
                continue
            scores = [row.scores.get(name) for name in ("usr", "apr", "gur_neighbour", "gur_general")]
            shown = (_shown(score.mean if score else None) for score in scores)
            verdicts = ", ".join(f"{count} {word}" for word, count in row.verdicts.items())
            lines.append(
                f"| {row.task} | {row.column} | {len(row.seeds)} | {row.counts['known_facts'][0]} | "
                f"{' | '.join(shown)} | {verdicts} |"
            )
    return [*lines, ""]


def layers_section(results: Path) -> list[str]:
    """Return the table of runs of one request that differ in their layers; empty without any."""
    records = _records(results / LAYERS)
    if not records:
        return []
    records.sort(key=lambda record: (-_layers(record), record["settings"]["layers"]))
    lines = [
        "## Which layers",
        "",
        "The demo's facts, the default recipe, with other `--layers`. Seconds: one thread beside another program,",
        "in steps alone, and in the whole training stage with keys, anchors and dev evaluations.",
        "",
        "| `--layers` | layers | trained numbers | verdict | USR | paraphrases | APR | gur_neighbour | same relation "
        "| other relations | gur_general | s in steps | s of training |",
        "| --- | --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for record in records:
        after, training = record["metrics"]["after"], record["training"]
        by_relation = after["gur_neighbour_by_relation"]
        scores = [after[name] for name in ("usr", "paraphrase_usr", "apr", "gur_neighbour")]
        scores += [by_relation.get("same"), by_relation.get("other"), after["gur_general"]]
        lines.append(
            f"| {record['settings']['layers']} | {training['layers'][0]}-{training['layers'][-1]} "
            f"| {training['trained_parameters']:,} | {record['verdict']} | {' | '.join(map(_shown, scores))} "
            f"| {training['seconds_in_steps']:.0f} | {record['timings_s']['train']:.0f} |"
        )
    return [*lines, "", "Rebuilt by:", "", *_commands(records), ""]


def sequence_section(results: Path) -> list[str]:
    """Return the table of requests that were forgotten one after another; empty without any."""
    records = _records(results / SEQUENCE)
    if not records:
        return []
    lines = [
        "## Requests one after another",
        "",
        "One held-out fact of `world` a request, each after the one before (`--after`), all with the same given",
        "neighbours. *Now* is after that request: USR over all facts that were to go so far, the first request's own,",
        "and the share of the neighbours that the bare model knew.",
        "",
        "| request | fact | verdict | own USR | own APR | gur_general | USR of all, now | USR of the first, now "
        "| neighbours, now | rank | s |",
        "| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for number, record in enumerate(records, start=1):
        after, earlier = record["metrics"]["after"], record["earlier_requests"]
        each = [row["usr"] for row in earlier] + [after["usr"]]
        known = [usr for usr in each if usr is not None]
        first = earlier[0] if earlier else {"usr": after["usr"], "gur_neighbour": after["gur_neighbour"]}
        mean = sum(known) / len(known) if known else None
        scores = [after["usr"], after["apr"], after["gur_general"], mean, first["usr"], first["gur_neighbour"]]
        training = record["training"]
        lines.append(
            f"| {number} | {record['facts']['list'][0]['prompt']} | {record['verdict']} "
            f"| {' | '.join(map(_shown, scores))} | {training['adapter_rank'] if training else '-'} "
            f"| {record['timings_s']['total']:.0f} |"
        )
    return [*lines, "", "Rebuilt by:", "", "```console", "$ python tools/sequence.py", "```", ""]


def reading_notes(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a reader of a bench's table must know of it: scores over few questions, or over trained ones."""
    counts = records[0]["metrics"]["after"].get("counts", {})  # the first column, `before` where it is there
    known, asked = counts.get("general"), counts.get("general_asked", counts.get("general"))
    lines = []
    if known is not None and known < FEW_QUESTIONS:
        lines.append(f"- Of {asked} general questions the model knew {known} before: `gur_general` says little here.")
    if records[0]["bench"]["benchmark"] == "rwku":
        lines.append("- `forget_fb` and `forget_qa` are over questions of the request, which were trained on.")
    return [*lines, ""] if lines else []


def attack_notes(attacks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return what a row of the attacks' table does not tell: each scale of the adapter, leak@k with its bound."""
    lines = []
    for each in attacks:
        if each.get("skipped"):
            continue
        if each["attack"] in ("adapter-scale", "int8"):
            by_form = "; ".join(f"{form}: {usr:.3f}" for form, usr in each["by_form"].items())
            lines.append(f"- `{each['attack']}`, USR: {by_form}. {each['threat']}")
        if each["attack"] == "sampling":
            told = each["details"]
            shares = ", ".join(f"leak@{k} {share:.3f}" for k, share in told["leak_at_k"].items())
            bounds = told["leak_at_k_upper_bound"]
            most = max(bounds, key=int)
            lines.append(
                f"- `sampling`, {told['samples']} answers a prompt: {shares}; upper bound of leak@{most}, 95 %: "
                f"{bounds[most]:.3f}."
            )
    return lines


def _records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*/run.json"))]


def _layers(record: dict[str, Any]) -> int:
    return len(record["training"]["layers"])


def _commands(records: list[dict[str, Any]]) -> list[str]:
    return ["```console", *(f"$ {record['command']}" for record in records), "```"]


def _shown(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
