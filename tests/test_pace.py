"""Which negatives a pass trains on."""

from __future__ import annotations

import random

from lune.training.pace import Pace


def pace(count: int, release: float) -> Pace:
    return Pace(count, release, random.Random(0))


def test_the_first_pass_takes_every_negative_once_in_mixed_order() -> None:
    order = pace(20, 0.1).next_pass()
    assert sorted(order) == list(range(20))
    assert order != list(range(20))


def test_what_has_done_its_work_rests_for_one_pass_only() -> None:
    made = pace(4, 0.1)
    made.next_pass()
    made.note([0, 1, 2, 3], [0.5, 0.05, 0.1, 0.0])
    assert sorted(made.next_pass()) == [0, 2]
    made.note([0, 2], [0.01, 0.4])
    # 0 rests now; 1 and 3 rested last time and are looked at again, though nothing new is known of them.
    assert sorted(made.next_pass()) == [1, 2, 3]


def test_a_pass_of_which_all_may_rest_is_empty() -> None:
    made = pace(2, 0.1)
    made.next_pass()
    made.note([0, 1], [0.0, 0.0])
    assert made.next_pass() == []


def test_without_release_nothing_ever_rests() -> None:
    made = pace(3, 0.0)
    for _ in range(3):
        assert sorted(made.next_pass()) == [0, 1, 2]
        made.note([0, 1, 2], [0.0, 0.0, 0.0])
