"""Which negatives a pass trains on: those that have done their work rest for one pass."""

from __future__ import annotations

import random
from collections.abc import Sequence


class Pace:
    """Picks the negatives of each pass from what the last one found.

    A negative whose true answer has become unlikely is left out of the next pass, never of two in a row: what the
    anchors bring back must be noticed. So passes get shorter and the stubborn facts fill them.

    Args:
        count: Number of negatives.
        release: Probability of the true answer below which a negative rests; 0 for never.
        chooser: Source of the order.
    """

    def __init__(self, count: int, release: float, chooser: random.Random) -> None:
        self._told = [1.0] * count
        self._rested: set[int] = set()
        self._release = release
        self._chooser = chooser

    def next_pass(self) -> list[int]:
        """Return the places of the negatives to train on, in an order of chance; empty when all may rest."""
        everyone = self._chooser.sample(range(len(self._told)), len(self._told))
        resting = {place for place in everyone if self._told[place] < self._release} - self._rested
        if len(resting) == len(everyone):
            return []
        self._rested = resting
        return [place for place in everyone if place not in resting]

    def unfinished(self) -> list[int]:
        """Return the places of the negatives whose true answer was still likely when last seen."""
        return [place for place, told in enumerate(self._told) if told >= self._release]

    def add(self, count: int) -> None:
        """Take ``count`` more negatives in; nothing is known of them yet."""
        self._told += [1.0] * count

    def note(self, places: Sequence[int], told: Sequence[float]) -> None:
        """Take note of the true answer's probability in the negatives of one step."""
        for place, probability in zip(places, told, strict=True):
            self._told[place] = probability
