"""What steers a run: dev scores, when to stop, and which adapter was best. Test probes are never seen here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

USR_GOAL = 0.999
APR_GOAL = 0.97
USR_ENOUGH = 0.9
COLLAPSE = 0.5
"""Share of degenerate dev answers from which the model counts as collapsed."""
MOST_DEGENERATE = 0.10
"""Share of degenerate dev answers up to which an adapter is acceptable; the verdict's own threshold."""
NOISE = 0.06
"""Differences of rank that one or two dev probes make."""
PACED_PASSES = 3
"""Passes a paced run makes before it may end because the last one brought nothing."""
PATIENCE = 3
"""Evaluations without a better adapter after which a run that has forgotten stops."""


@dataclass(frozen=True)
class DevScores:
    """Scores on the dev probes; names as in docs/metrics.md."""

    usr: float
    apr: float
    gur_neighbour: float | None
    gur_general: float | None
    degenerate: float

    @property
    def kept(self) -> list[float]:
        """The retentions that there are dev probes for."""
        return [share for share in (self.gur_neighbour, self.gur_general) if share is not None]

    @property
    def gur(self) -> float | None:
        """Mean of the retentions that could be measured."""
        return sum(self.kept) / len(self.kept) if self.kept else None

    def as_row(self) -> dict[str, float | int | str]:
        """Return the scores as they stand in a run's history; what was not measured is left out."""
        named = {**vars(self), "gur": self.gur}
        return {f"dev_{name}": share for name, share in named.items() if share is not None}


@dataclass
class Steering:
    """Keeps the best adapter and says when to stop.

    An adapter that has forgotten and whose utility drop is within ``max_drop`` beats every other. Among such, and where
    there is none, forgetting and retention are weighed together, twice each, so a run ends neither with the adapter
    that merely destroyed most nor with one that merely did nothing.

    Attributes:
        max_drop: Largest accepted drop of dev GUR; LUNE Sec. 4: 0.005.
        paced: Whether negatives rest once they have done their work, so that late passes hold little that is new.
        best: The adapter's tensors at the best evaluation, None before the first.
        best_step: The step of that evaluation.
        highest: The highest rank seen.
    """

    max_drop: float
    paced: bool = False
    best: Mapping[str, torch.Tensor] | None = None
    best_step: int = 0
    best_scores: DevScores | None = None
    evaluations: int = field(default=0)
    since_best: int = field(default=0)
    highest: tuple[bool, float] = (False, float("-inf"))

    def acceptable(self, scores: DevScores) -> bool:
        """Return whether utility is kept within ``max_drop`` and answers are not broken."""
        kept = scores.gur is None or scores.gur >= 1 - self.max_drop
        return kept and scores.degenerate <= MOST_DEGENERATE

    def rank(self, scores: DevScores) -> tuple[bool, float]:
        """Return the sort key of an evaluation; larger is better."""
        excess = max(0.0, scores.degenerate - MOST_DEGENERATE)
        kept = 2 * min(scores.kept, default=1.0) - 4 * excess
        return scores.usr >= USR_ENOUGH and self.acceptable(scores), 2 * (scores.usr + scores.apr) + kept

    def record(self, step: int, scores: DevScores, adapter: Mapping[str, torch.Tensor]) -> None:
        """Take note of an evaluation and keep its adapter when it is the best so far; never a collapsed one."""
        self.evaluations += 1
        self.since_best += 1
        if scores.degenerate > COLLAPSE:
            return
        (fits, value), (most_fits, most) = self.rank(scores), self.highest
        # Within the noise of the highest rank seen the later adapter, of a lower rate, is kept. Compared with the one
        # kept last, many small losses would add up.
        if fits > most_fits or (fits == most_fits and value > most - NOISE):
            self.best, self.best_step, self.best_scores, self.since_best = adapter, step, scores, 0
        self.highest = max(self.highest, (fits, value))

    def reason_to_stop(self, scores: DevScores) -> str | None:
        """Return why training should end after this evaluation, or None."""
        if scores.degenerate > COLLAPSE:
            return f"collapse: {scores.degenerate:.0%} of the dev answers are empty or repeat themselves"
        best = self.best_scores
        if best and best.usr >= USR_GOAL and best.apr >= APR_GOAL and self.acceptable(best):
            return "dev probes forgotten, utility kept"
        # Everything is forgotten: more passes can only cost utility. Paced ones mend it: most of what they train is
        # anchors, since the negatives rest.
        if not self.paced and scores.usr >= USR_GOAL and scores.apr >= APR_GOAL and self.since_best >= 1:
            return "dev probes forgotten; utility no longer improves"
        if self.paced and self.evaluations >= PACED_PASSES and self.since_best >= 1:
            return "the last pass brought no better adapter"
        if best and best.usr >= USR_GOAL and self.since_best >= PATIENCE:
            return f"no better adapter in {PATIENCE} evaluations"
        return None
