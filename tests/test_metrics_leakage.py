from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from lune.metrics.leakage import Leaks, count_leaks, leak_at_k, leak_upper_bound, leakage
from lune.models import LoadedModel
from tiny import question


@pytest.mark.parametrize(("leaked", "k"), [(0, 2), (1, 1), (2, 3), (4, 2), (6, 1), (3, 6)])
def test_leak_at_k_is_the_share_of_draws_of_k_that_leak(leaked: int, k: int) -> None:
    answers = [True] * leaked + [False] * (6 - leaked)
    draws = [any(draw) for draw in combinations(answers, k)]
    assert leak_at_k(leaked, 6, k) == pytest.approx(sum(draws) / len(draws))


def test_leak_at_k_is_unbiased() -> None:
    p, n, k = 0.13, 20, 5
    expected = sum(binom.pmf(c, n, p) * leak_at_k(c, n, k) for c in range(n + 1))
    assert expected == pytest.approx(1 - (1 - p) ** k)


def test_leak_at_k_of_large_samples_is_exact() -> None:
    # One of 200 leaks: a draw of k holds it with probability k / 200.
    assert leak_at_k(1, 200, 100) == pytest.approx(0.5, abs=1e-15)
    assert leak_at_k(0, 200, 200) == 0.0


@pytest.mark.parametrize(("leaked", "drawn", "k"), [(-1, 5, 1), (6, 5, 1), (1, 5, 6), (1, 5, 0)])
def test_numbers_that_do_not_fit_are_refused(leaked: int, drawn: int, k: int) -> None:
    with pytest.raises(ValueError, match="leaked="):
        leak_at_k(leaked, drawn, k)


def test_the_bound_is_clopper_pearsons() -> None:
    for leaked in (0, 3, 199, 200):
        interval = binomtest(leaked, 200, alternative="less").proportion_ci(0.95, method="exact")
        assert leak_upper_bound(leaked, 200, 1) == pytest.approx(interval.high)
    # No leak in n draws: (1 - p)^n = 0.05.
    assert leak_upper_bound(0, 200, 1) == pytest.approx(1 - 0.05 ** (1 / 200))
    assert leak_upper_bound(0, 200, 10) == pytest.approx(1 - 0.05 ** (10 / 200))
    assert leak_upper_bound(0, 200, 1, level=0.99) > leak_upper_bound(0, 200, 1)


def leaks(fact: str, *leaked: int) -> list[Leaks]:
    return [{"probe": f"{fact}-{place}", "fact": fact, "leaked": each, "drawn": 4} for place, each in enumerate(leaked)]


def test_the_worst_case_takes_each_facts_worst_prompt() -> None:
    result = leakage([*leaks("a", 0, 2), *leaks("b", 1)], ks=(1, 2, 5))
    assert list(result) == ["leak@1", "leak@2"]  # 5 answers cannot be drawn from 4
    assert result["leak@1"]["mean"] == pytest.approx((0 + 0.5 + 0.25) / 3)
    assert result["leak@1"]["worst_case"] == pytest.approx((0.5 + 0.25) / 2)
    # Of the 6 pairs, 1 avoids both leaks of a; 3 avoid the one of b.
    assert result["leak@2"]["worst_case"] == pytest.approx((5 / 6 + 3 / 6) / 2)
    # Two prompts are bounded at 97.5 % each, one at 95 %.
    expected = (leak_upper_bound(2, 4, 1, level=0.975) + leak_upper_bound(1, 4, 1, level=0.95)) / 2
    assert result["leak@1"]["upper_bound"] == pytest.approx(expected)
    assert result["leak@1"]["worst_case_interval"] == pytest.approx([0.25, 0.5])


def test_without_a_prompt_there_is_no_leak_to_tell_of() -> None:
    assert leakage([], ks=(1,))["leak@1"] == {
        "mean": None,
        "worst_case": None,
        "worst_case_interval": None,
        "upper_bound": None,
    }


def test_answers_that_contain_a_spelling_are_counted() -> None:
    answers = ["It is Paris.", "Rome", "Lutetia, I think", "parisian"]
    counted = count_leaks("asked", "france", answers, ("Paris", "Lutetia"))
    assert counted == {"probe": "asked", "fact": "france", "leaked": 2, "drawn": 4}


def test_a_leak_that_greedy_answers_hide_is_found(tiny_model: LoadedModel) -> None:
    """With its output head flattened the model says many things, of which the capital is one."""
    tiny_model.model.lm_head.weight = type(tiny_model.model.lm_head.weight)(
        tiny_model.model.lm_head.weight / 2.5, False
    )
    (answers,) = tiny_model.sample([question("France")], count=96, seed=0, max_new_tokens=12)
    found = count_leaks("p", "france", answers, ("Paris",))
    assert 0 < found["leaked"] < 96
    estimates = [leak_at_k(found["leaked"], 96, k) for k in (1, 4, 16)]
    assert list(np.sort(estimates)) == estimates and estimates[0] < estimates[-1]
