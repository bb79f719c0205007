"""Time to forget: what is noted after every pass, and when a run has reached the goal or is given up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measures import Clock
from lune.evaluation import answered, ask
from lune.language_model import LanguageModel
from lune.metrics import summarise
from lune.preparation import Prepared
from lune.records import Probe

USR_GOAL = 1.0
APR_GOAL = 0.9
MOST_PASSES = 12
"""Passes over the negatives after which a run is given up."""
SCORES = ("usr", "apr", "gur_neighbour")


class GoalReached(Exception):
    """Ends a training from inside, once there is nothing left to find out."""


@dataclass
class Forgetting:
    """The way of one run to the goal.

    Attributes:
        clock: Started when the model was loaded and the negatives were there.
        scores: Returns USR, APR and gur_neighbour of the model as it stands; its time counts as evaluation.
        passes: One row a pass: seconds without and with evaluation, and the scores.
    """

    clock: Clock
    scores: Callable[[], dict[str, float | None]]
    passes: list[dict[str, float | None]] = field(default_factory=list)

    def pass_ended(self) -> bool:
        """Score the model, note the pass and return whether the goal is reached."""
        training = self.clock.training_s
        with self.clock.evaluation():
            scores = self.scores()
        self.passes.append({"training_s": training, "total_s": self.clock.total_s, **scores})
        return self.reached

    @property
    def reached(self) -> bool:
        """Whether the last pass reached the goal."""
        last = self.passes[-1] if self.passes else {}
        return (last.get("usr") or 0.0) >= USR_GOAL and (last.get("apr") or 0.0) >= APR_GOAL

    def result(self, ended: str) -> dict[str, Any]:
        """Return what is stored of the run.

        Args:
            ended: Why training ended where the goal was not reached.
        """
        last = self.passes[-1] if self.passes else {}
        return {
            "reached": self.reached,
            "time_to_forget_s": last.get("training_s") if self.reached else None,
            "with_evaluation_s": last.get("total_s") if self.reached else None,
            "passes_to_forget": len(self.passes) if self.reached else None,
            **{name: last.get(name) for name in SCORES},
            "reason": "" if self.reached else f"not forgotten after {len(self.passes)} passes ({ended})",
            "passes": self.passes,
        }


def goal_probes(prepared: Prepared) -> list[Probe]:
    """Return the probes that the goal and gur_neighbour are measured on: all test probes but the general ones."""
    return [probe for probe in prepared.test if probe.kind != "general"]


def scorer(model: LanguageModel, prepared: Prepared) -> Callable[[], dict[str, float | None]]:
    """Return a function that scores ``model`` as it stands on the test probes."""
    probes: Sequence[Probe] = goal_probes(prepared)
    known = {fact.id for fact in prepared.known}

    def scores() -> dict[str, float | None]:
        rows = answered(probes, prepared.before, ask(model, probes))
        after = summarise(rows, known, prepared.made.alternates)["after"]
        return {"usr": after["usr"], "apr": after["apr"], "gur_neighbour": after["gur_neighbour"]}

    return scores
