"""run.json: everything that decided a run and everything it gave, in one file."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from lune import __version__
from lune.hardware import describe, peak_memory_mb
from lune.metrics import Summary
from lune.models import LoadedModel
from lune.preparation import Prepared
from lune.records import Answered, EarlierScores
from lune.settings import ForgetSettings
from lune.training.session import Trained
from lune.verdict import DEFAULT_THRESHOLDS, Verdict

SCHEMA_VERSION = 1
PACKAGES = ("torch", "transformers", "peft", "accelerate", "safetensors", "numpy", "pydantic")
NOTHING_TRAINED = "No adapter was trained: nothing was forgotten."
OWN_MEMBERS = "Membership scores compare forget texts with texts of the same kind that were never taught."
LIMITS = (
    "The base weights still know these facts. Whoever can remove the adapter, or has the base model, has them back.",
    "Scores hold for the probes asked. A prompt of another kind, sampling, or further training may bring a fact back.",
    "Membership scores compare true answers with plausible wrong ones that were held out of this training; whether the "
    "base model has read them before is not known.",
)


def run_record(
    *,
    settings: ForgetSettings,
    command: str,
    model: LoadedModel,
    training_dtype: str,
    prepared: Prepared,
    trained: Trained | None,
    metrics: Summary,
    verdict: Verdict,
    checks: Mapping[str, str],
    timings: Mapping[str, float],
    own_members: bool = False,
    earlier: Sequence[EarlierScores] = (),
) -> dict[str, Any]:
    """Return the content of run.json (its keys are a contract; docs/architecture.md).

    ``own_members`` says that the texts of the membership attacks came with a benchmark; ``earlier`` is what became of
    the requests that this one stands on.
    """
    known = {fact.id for fact in prepared.known}
    hardware = describe(model.device, model.dtype).as_dict()
    hardware |= {"dtype": training_dtype, "answers_dtype": hardware["dtype"]}
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "model": {"id": model.id, "revision": model.revision, "sha256": model.sha256},
        "method": settings.method,
        "recipe": settings.recipe,
        "settings": settings.model_dump(mode="json"),
        "versions": versions(),
        "hardware": hardware,
        "seeds": {"seed": settings.seed},
        "facts": {
            "total": len(prepared.facts),
            "known": len(known),
            "unknown": [fact.id for fact in prepared.facts if fact.id not in known],
            "list": [
                {
                    "id": fact.id,
                    "prompt": fact.prompt,
                    "answer": fact.answer,
                    "subject": fact.subject,
                    "known": fact.id in known,
                    "trained": fact in prepared.trained,
                    "held_out": prepared.made.held_out.get(fact.id, []),
                }
                for fact in prepared.facts
            ],
        },
        "training": _training(trained),
        "metrics": metrics,
        "earlier_requests": [asdict(scores) for scores in earlier],
        "verdict": verdict.word,
        "verdict_reasons": list(verdict.reasons),
        "thresholds": asdict(DEFAULT_THRESHOLDS),
        "checks": dict(checks),
        "limits": [
            LIMITS[0] if trained else NOTHING_TRAINED,
            LIMITS[1],
            OWN_MEMBERS if own_members else LIMITS[2],
        ],
        "timings_s": {name: round(seconds, 2) for name, seconds in timings.items()},
        "peak_memory_mb": round(peak_memory_mb(model.device), 1),
    }


def versions() -> dict[str, str]:
    """Return the versions of this package, Python and the libraries that decide results."""
    installed = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {"lune": __version__, "python": platform.python_version(), **installed}


def probe_row(item: Answered) -> dict[str, Any]:
    """Return one line of probes.jsonl."""
    return {
        **asdict(item.probe),
        "before": item.before,
        "after": item.after,
        "correct_before": item.correct_before,
        "correct_after": item.correct_after,
    }


def _training(trained: Trained | None) -> dict[str, Any] | None:
    if trained is None:
        return None
    outcome = trained.outcome
    return {
        "trained_parameters": trained.parameters,
        "adapter_rank": trained.rank,
        "layers": trained.layers,
        "modules": trained.modules,
        "steps": outcome.steps,
        "passes": outcome.passes,
        "best_step": outcome.best_step,
        "stopped": outcome.stopped,
        "seconds_in_steps": round(outcome.seconds, 2),
        "frozen_layers_run_once": outcome.frozen_layers,
        "kept_of_them_mb": round(outcome.kept_mb, 2),
        "plain_pass_because": outcome.plain_because or None,
    }
