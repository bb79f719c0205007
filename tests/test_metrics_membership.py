from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from lune.evaluation import ask, infer_membership, membership_texts
from lune.language_model import PROBE_TOKENS, TokenScores
from lune.metrics.membership import (
    auc,
    auc_interval,
    best_balanced_accuracy,
    loss_score,
    membership,
    membership_within,
    min_k_plus_plus_score,
    min_k_score,
    zlib_score,
)
from lune.records import Fact, Probe

TEXT = "Paris is the capital of France."
SCORES = TokenScores(
    log_probs=(-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0, -8.0, -9.0, -10.0),
    means=(-1.0,) * 10,
    deviations=(1.0,) * 8 + (2.0, 0.5),
)


def scored(*log_probs: float) -> TokenScores:
    return TokenScores(log_probs, (0.0,) * len(log_probs), (1.0,) * len(log_probs))


def test_loss_is_the_mean_log_probability() -> None:
    assert loss_score(TEXT, SCORES) == pytest.approx(-5.5)


def test_zlib_divides_the_mean_by_the_compressed_bytes() -> None:
    assert zlib_score(TEXT, SCORES) == pytest.approx(-5.5 / len(zlib.compress(TEXT.encode())))
    assert zlib_score("ééé", SCORES) == pytest.approx(-5.5 / len(zlib.compress(b"\xc3\xa9\xc3\xa9\xc3\xa9")))


def test_min_k_is_the_mean_of_the_lowest_fifth() -> None:
    assert min_k_score(TEXT, SCORES) == pytest.approx((-10.0 - 9.0) / 2)
    assert min_k_score(TEXT, scored(-1.0, -7.0, -2.0)) == -7.0  # at least one token


def test_min_k_plus_plus_standardises_each_token_first() -> None:
    # (log p - mu) / sigma: 0, -1, ..., -7, then -8 / 2 = -4 and -9 / 0.5 = -18; the lowest two are -18 and -7.
    assert min_k_plus_plus_score(TEXT, SCORES) == pytest.approx((-18.0 - 7.0) / 2)


def test_a_benchmark_may_look_at_another_share_of_the_tokens() -> None:
    # 40 % of ten tokens; of the standardised ones -18, -7, -6 and -5 are lowest.
    assert min_k_score(TEXT, SCORES, 0.4) == pytest.approx((-10.0 - 9.0 - 8.0 - 7.0) / 4)
    assert min_k_plus_plus_score(TEXT, SCORES, 0.4) == pytest.approx((-18.0 - 7.0 - 6.0 - 5.0) / 4)
    assert min_k_score(TEXT, SCORES, 0.39) == pytest.approx((-10.0 - 9.0 - 8.0) / 3), "rounded down, as published"
    # The member has the lower minimum but the higher mean of its two lowest tokens.
    member, other = ("a", scored(-6.0, -2.0, -2.0, -2.0, -2.0)), ("b", scored(-5.0, -5.0, -2.0, -2.0, -2.0))
    for groups in ([([member], [other])], [([member], [other])] * 2):
        assert membership_within(groups)["min_k"]["auc"] == 0.0
        assert membership_within(groups, lowest=0.4)["min_k"]["auc"] == 1.0


def test_a_model_certain_of_its_token_deviates_by_nothing() -> None:
    certain = TokenScores((0.0,), (0.0,), (0.0,))
    assert min_k_plus_plus_score(TEXT, certain) == 0.0


def test_auc_by_hand() -> None:
    assert auc([3.0, 4.0], [1.0, 2.0]) == 1.0
    assert auc([1.0, 2.0], [3.0, 4.0]) == 0.0
    assert auc([1.0, 3.0], [2.0, 4.0]) == 1 / 4
    assert auc([1.0, 1.0], [1.0, 1.0]) == 0.5
    assert auc([2.0, 1.0], [1.0]) == 3 / 4
    assert auc([], [1.0]) is None
    assert auc([1.0], []) is None


@pytest.mark.parametrize("seed", range(8))
def test_auc_and_balanced_accuracy_agree_with_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    # Few distinct values give many ties.
    positive = generator.integers(0, 6, size=generator.integers(2, 30)).astype(float)
    negative = generator.integers(0, 6, size=generator.integers(2, 30)).astype(float) + (seed - 4) / 2
    truth = np.concatenate([np.ones(len(positive)), np.zeros(len(negative))])
    scores = np.concatenate([positive, negative])
    assert auc(list(positive), list(negative)) == pytest.approx(roc_auc_score(truth, scores))
    inner = np.unique(scores)[1:]
    best = max(balanced_accuracy_score(truth, scores >= threshold) for threshold in inner)
    assert best_balanced_accuracy(list(positive), list(negative)) == pytest.approx(best)


def test_below_chance_stays_visible() -> None:
    assert best_balanced_accuracy([3.0, 4.0], [1.0, 2.0]) == 1.0
    # Threshold 2 calls members 2, 3, 4: half the members right and no non-member; 3 gets none, 4 half the non-members.
    assert best_balanced_accuracy([1.0, 2.0], [3.0, 4.0]) == 0.25
    assert best_balanced_accuracy([1.0], [2.0]) == 0.0
    assert best_balanced_accuracy([1.0], [1.0]) == 0.5
    assert best_balanced_accuracy([], [1.0]) is None


def test_membership_names_every_attack_and_tells_taught_from_untaught() -> None:
    members = [(f"member {number}", scored(-0.1, -0.2 - number / 100)) for number in range(6)]
    others = [(f"other {number}", scored(-3.0, -4.0 - number / 100)) for number in range(5)]
    result = membership(members, others)
    assert list(result) == ["loss", "zlib", "min_k", "min_k_plus_plus"]
    for values in result.values():
        assert values == {"auc": 1.0, "balanced_accuracy": 1.0, "auc_low": 1.0, "auc_high": 1.0}
    swapped = membership(others, members)
    assert swapped["loss"]["auc"] == 0.0


def test_further_attacks_are_judged_like_the_others() -> None:
    scores = ([1.0, 3.0, math.nan], [2.0, 4.0])
    result = membership([("a", scored(-1.0))], [("b", scored(-2.0))], further={"reference": scores})
    assert result["loss"]["auc"] == 1.0
    assert result["reference"]["auc"] == 1 / 4
    assert result["reference"]["balanced_accuracy"] == best_balanced_accuracy([1.0, 3.0], [2.0, 4.0])
    assert result["reference"]["auc_low"] is not None


def test_texts_that_cannot_be_scored_are_left_out() -> None:
    good = ("a", scored(-1.0))
    undefined = [("b", scored()), ("c", scored(math.nan)), ("d", TokenScores((-1.0,) * 6, (0.0,) * 6, (math.nan,) * 6))]
    hidden = ("e", TokenScores((math.nan, *(-1.0,) * 9), (0.0,) * 10, (1.0,) * 10))
    result = membership([good, hidden, *undefined], [("f", scored(-2.0))])
    assert all(values["auc"] == 1.0 and values["auc_low"] is None for values in result.values())
    nothing = membership(undefined, [good])
    assert all(value is None for values in nothing.values() for value in values.values())
    assert membership([], [])["loss"]["auc"] is None


def test_an_impossible_token_ranks_lowest() -> None:
    result = membership([("a", scored(-math.inf))], [("b", scored(-50.0))])
    assert result["loss"]["auc"] == 0.0


def test_the_interval_holds_the_auc_and_narrows_with_more_texts() -> None:
    generator = np.random.default_rng(1)
    widths = []
    for count in (10, 160):
        interval = auc_interval(list(generator.normal(0.5, 1, count)), list(generator.normal(0, 1, count)), seed=3)
        assert interval.low is not None and interval.value is not None and interval.high is not None
        assert 0 <= interval.low <= interval.value <= interval.high <= 1
        widths.append(interval.high - interval.low)
    assert widths[1] < widths[0] / 2
    assert auc_interval([1.0], [0.0, 0.5]).low is None


def test_within_facts_each_member_meets_the_non_members_of_its_own_fact_only() -> None:
    # Pooled, the likely fact's wrong answer beats the unlikely fact's true one; within a fact the truth always wins.
    likely = ([("a", scored(-1.0))], [("b", scored(-2.0))])
    unlikely = ([("c", scored(-8.0))], [("d", scored(-9.0)), ("e", scored(-10.0))])
    within = membership_within([likely, unlikely])["loss"]
    assert (within["auc"], within["auc_low"], within["auc_high"]) == (1.0, 1.0, 1.0)
    assert within["balanced_accuracy"] == 1.0
    pooled = membership([*likely[0], *unlikely[0]], [*likely[1], *unlikely[1]])["loss"]
    assert pooled["auc"] == pytest.approx(5 / 6)


def test_within_facts_the_auc_is_the_mean_over_facts_not_over_texts() -> None:
    won = ([("a", scored(-1.0))], [("b", scored(-2.0)), ("c", scored(-3.0)), ("d", scored(-4.0))])
    lost = ([("e", scored(-9.0))], [("f", scored(-5.0))])
    result = membership_within([won, lost, ([], [("g", scored(-1.0))])])["loss"]
    assert result["auc"] == 0.5
    assert (result["auc_low"], result["auc_high"]) == (0.0, 1.0)
    assert membership_within([won]) == membership(*won)
    assert membership_within([])["loss"]["auc"] is None


def test_the_texts_are_sentences_of_known_facts_with_what_was_held_out() -> None:
    france = Fact("france", "What is the capital of France?", "Paris", "France")
    odd = Fact("odd", "The sky is", "blue")
    assert membership_texts([france, odd], {"france": ["Lyon", "Nice"], "odd": [], "unknown": ["x"]}) == [
        (
            [("What is the capital of France?", "The capital of France is Paris.")],
            [
                ("What is the capital of France?", "The capital of France is Lyon."),
                ("What is the capital of France?", "The capital of France is Nice."),
            ],
        )
    ]


class Likely:
    """A model whose responses are as likely as the table says; its end of turn would decide if it counted."""

    def __init__(self, table: dict[str, float]) -> None:
        self.table = table
        self.asked: list[int] = []

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int = 20, system: str | None = None) -> list[str]:
        self.asked.append(max_new_tokens)
        return [f"{prompt} {max_new_tokens}" for prompt in prompts]

    def sample(self, prompts: Sequence[str], *, count: int, seed: int, **options: object) -> list[list[str]]:
        return [[] for _ in prompts]

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[TokenScores]:
        end = {"true": (-100.0,), "false": (0.0,)}
        return [scored(self.table[response], *(end[response] if prompt else ())) for prompt, response in pairs]


def test_the_end_of_turn_does_not_count_but_the_end_of_a_raw_text_does() -> None:
    model = Likely({"true": -1.0, "false": -2.0})
    assert infer_membership(model, [([("q", "true")], [("q", "false")])])["loss"]["auc"] == 1.0
    raw = Likely({"true": -1.0, "false": -2.0})
    assert infer_membership(raw, [([("", "true")], [("", "false")])])["loss"]["auc"] == 1.0
    assert infer_membership(raw, []) == {}


def test_every_probe_is_answered_at_the_same_length_what_must_go_and_what_must_stay() -> None:
    kinds = ("general", "direct", "neighbour", "adversarial", "paraphrase")
    probes = [Probe(kind, kind, kind, ("x",), "test") for kind in kinds]  # type: ignore[arg-type]
    assert PROBE_TOKENS >= 32
    assert ask(Likely({}), probes) == {kind: f"{kind} {PROBE_TOKENS}" for kind in kinds}
