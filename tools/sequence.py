"""Requests one after another: facts of `world` that the built-in model knows, forgotten one by one with ``--after``.

Every request is given the same neighbours, the known facts around all of them, so that what is lost shows over the
whole sequence. A folder that is there already is not made again. ``--store`` copies the records into results/, from
which ``make docs`` writes the table.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import make_results
from lune.benchmarks import world
from lune.models import load_model
from lune.pipeline import forget
from lune.records import Fact, Neighbour
from lune.settings import BUILT_IN_MODEL

NAME = "sequence"


def requests(count: int, seed: int) -> list[Fact]:
    """Return ``count`` facts of the test split, each with the neighbours of all."""
    task = world.load(
        None, {**world.SETTINGS, **world.QUICK, "facts": count, "seed": seed}, load_model(BUILT_IN_MODEL)
    )[0]
    around = [probe for probe in task.probes if probe.kind == "neighbour"]
    kept = tuple(Neighbour(probe.prompt, probe.expected[0], tuple(probe.expected[1:])) for probe in around)
    return [replace(fact, neighbours=kept) for fact in task.facts]


def main() -> None:
    """Make the runs, or store the records of finished ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--facts", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the draw and of the runs")
    parser.add_argument("--out", type=Path, default=Path("runs") / NAME)
    parser.add_argument("--store", action="store_true", help="copy the records into results/")
    given = parser.parse_args()
    if given.store:
        for folder in sorted(given.out.glob("[0-9]*")):  # not what a killed run staged
            make_results.store(f"{NAME}/{folder.name}", folder)
        return
    after: Path | None = None
    for number, fact in enumerate(requests(given.facts, given.seed), start=1):
        folder = given.out / f"{number:02}"
        if not folder.exists():
            outcome = forget([fact], out=folder, after=after, seed=given.seed)
            print(folder, fact.prompt, outcome.verdict, flush=True)
        after = folder


if __name__ == "__main__":
    main()
