"""One job in a process of its own, started by ``benchmarks.speed``: reads a job, writes its result as JSON."""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.plan import RIVALS, Job


def machine() -> dict[str, Any]:
    """Return the machine and the precision training uses on it."""
    import torch

    from lune.hardware import describe, pick_device, pick_dtype

    device = pick_device("auto")
    return {**describe(device, pick_dtype("auto", device)).as_dict(), "threads": torch.get_num_threads()}


def do(job: Job, model: str, material_path: Path, probes: int) -> dict[str, Any]:  # noqa: PLR0911  (one a kind)
    """Return the result of a job."""
    from lune.builtin import built_in_folder
    from lune.settings import BUILT_IN_MODEL

    source = str(built_in_folder()) if model == BUILT_IN_MODEL else model
    from benchmarks import answering, arms, growth, material, profiling, rivals
    from lune.models import load_model

    given = material.read(material_path)
    if job.kind == "evaluation":
        return answering.measure(job.arm, source, answering.prompts_of(given.request, probes))
    if job.kind == "profile":
        return profiling.measure(job.arm, load_model(model), given, probes)
    if job.kind == "growth":
        if given.growth is None:
            raise ValueError("the material was made without facts for growth")
        return growth.measure(job.arm, job.size, growth.load(job.size, source), given.growth, job.facts)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if job.kind == "steps":
            if job.arm in RIVALS:
                return rivals.steps(job.arm, source, given, folder)
            return arms.steps(job.arm, load_model(model), given)
        prepared = given.tuning if job.kind == "grid" else given.request
        if prepared is None:
            raise ValueError("the material was made without a tuning request")
        if job.arm in RIVALS:
            return rivals.forget(job.arm, source, prepared, rate=job.rate, seed=job.repetition, folder=folder)
        return arms.forget(job.arm, load_model(model), prepared, rate=job.rate, seed=job.repetition)


def prepare(model: str, path: Path, *, tuned: bool, growth: bool) -> dict[str, Any]:
    """Make and store the material and return what is told of it."""
    from benchmarks import material
    from lune.models import load_model

    loaded = load_model(model)
    made = material.make(loaded, tuned=tuned, growth=growth)
    material.store(made, path)
    return {
        "facts": [asdict(fact) for fact in made.request.facts],
        "negatives": len(made.request.made.negatives),
        "negative_tokens": material.tokens(loaded, made.request.made.negatives),
        "seconds": made.request.seconds,
    }


def main() -> None:
    """Read the order on standard input, do it, and write the result to the file it names."""
    order = json.load(sys.stdin)
    path = Path(order["material"]) if "material" in order else Path()
    if order["do"] == "machine":
        result = machine()
    elif order["do"] == "prepare":
        result = prepare(order["model"], path, tuned=order["tuned"], growth=order["growth"])
    else:
        result = do(Job(**order["job"]), order["model"], path, order["probes"])
    Path(order["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
