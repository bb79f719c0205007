"""The hand a subject or relation falls into: test neighbours, dev neighbours or anchors, always the same."""

from __future__ import annotations

import hashlib
from typing import Literal

from lune.text import normalise

Hand = Literal["test", "dev", "anchor"]

TEST_TENTHS, DEV_TENTHS = 4, 2
"""Of all subjects, how many tenths fall into the test and the dev hand; the rest are anchors."""


def hand_of(text: str) -> Hand:
    """Return the hand that a subject or relation always falls into: 4 in 10 test, 2 dev, 4 anchors."""
    tenth = hashlib.sha256(normalise(text).encode()).digest()[0] % 10
    return "test" if tenth < TEST_TENTHS else "dev" if tenth < TEST_TENTHS + DEV_TENTHS else "anchor"
