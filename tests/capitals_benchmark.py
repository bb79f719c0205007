"""A made-up benchmark of the contract's shape, of what the tiny model knows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lune.benchmarks import Benchmark
from lune.benchmarks.task import Task, Teaching
from lune.models import LoadedModel
from lune.records import Probe
from lune.text import contains
from tiny import CAPITALS, fact, question

FORGOTTEN = ("France", "Japan")
NEIGHBOURS = ("Italy", "Greece", "Norway")


def check(source: Path | None, options: Mapping[str, str | int]) -> None:
    assert source is None


def load(source: Path | None, options: Mapping[str, str | int], base: LoadedModel) -> list[Task]:
    assert source is None
    countries = FORGOTTEN[: int(options["facts"])]
    kept = [Probe(f"kept/{name}", "neighbour", question(name), (CAPITALS[name],), "test", countries[0])
            for name in NEIGHBOURS]  # fmt: skip
    again = [Probe(f"again/{name}", "paraphrase", f"Tell me: {question(name)}", (CAPITALS[name],), "test", name.lower())
             for name in countries]  # fmt: skip
    texts = tuple((question(name), f"The capital of {name} is {CAPITALS[name]}.") for name in CAPITALS)
    return [
        Task(
            name=f"capitals-{len(countries)}",
            facts=tuple(fact(name) for name in countries),
            probes=(*kept, *again),
            teaching=Teaching(texts, texts[2:]),
            members=texts[:3],
            non_members=tuple((question("Lyon"), f"The capital of Lyon is {name}.") for name in NEIGHBOURS),
            details={"held_out_subjects": ["Norway", "Sweden"], "asked": [question(name) for name in countries]},
        )
    ]


def measure(model: LoadedModel, task: Task) -> dict[str, Any]:
    return {"answers": model.answer(task.details["asked"])}


def protocol(task: Task, measured: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    scores: dict[str, dict[str, float | None]] = {}
    for column, each in measured.items():
        right = [contains(text, f.spellings) for text, f in zip(each["answers"], task.facts, strict=True)]
        scores[column] = {"recall": sum(right) / len(right)}
        if "reference" in measured:
            scores[column]["same_as_reference"] = float(each["answers"] == measured["reference"]["answers"])
    return scores


CAPITALS_BENCHMARK = Benchmark("capitals", {"facts": 2, "form": "plain"}, {"facts": 1}, check, load, measure, protocol)
