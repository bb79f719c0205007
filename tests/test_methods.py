"""Every method's loss has the value worked out by hand, and training with it lowers the true answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from lune.bench.plan import column_setting, read_columns
from lune.errors import ConfigError
from lune.evaluation import RememberedAnswers
from lune.methods import METHODS, objective
from lune.methods import method as method_of
from lune.methods.contract import Objective, Responses
from lune.models import LoadedModel, load_model
from lune.negatives.truths import true_responses
from lune.preparation import Prepared, prepare
from lune.progress import Display
from lune.records import Fact, Negative
from lune.settings import OWN_PARTS, NegativesStyle, resolve
from lune.training import session
from lune.training.rows import training_rows, with_base
from lune.training.session import train_adapter
from tiny import fact

FACTS = [fact("France"), fact("Japan")]
BY_ID = {each.id: each for each in FACTS}
TRUE_ANSWERS = [(each.prompt, f"The capital of {each.subject} is {each.answer}.") for each in FACTS]
TRAINED = [name for name in METHODS if isinstance(method_of(name), Objective)]
RIVALS = [name for name in TRAINED if name != "lune"]
# A width of 64 needs larger steps than the widths that real models have.
QUICK = {"learning_rate": 5e-3, "passes": 3, "batch_size": 8, "early_stop": False}
HARMLESS = {**QUICK, "learning_rate": 1e-4, "passes": 1, "dropout": 0.0}

Row = Mapping[str, float | int | str]


def softplus(x: float) -> float:
    """Return -log sigmoid(-x)."""
    return math.log1p(math.exp(x))


def responses(*, base: bool = True, requires_grad: bool = False) -> Responses:
    """Return two responses, of two tokens and of one: log P = -3 and -0.5, base -2 and -1, gains -1 and 0.5."""
    return Responses(
        torch.tensor([-1.0, -2.0, -0.5], requires_grad=requires_grad),
        owners=torch.tensor([0, 0, 1]),
        lengths=torch.tensor([2, 1]),
        tokens=3,
        items=2,
        base=torch.tensor([-2.0, -1.0]) if base else None,
    )


def loss(method: str, of: Responses, **given: Any) -> torch.Tensor:
    return objective(method).loss(of, resolve({"method": method, **given}))


# The losses.


def test_the_sums_and_gains_are_those_of_the_responses() -> None:
    torch.testing.assert_close(responses().sums, torch.tensor([-3.0, -0.5]))
    torch.testing.assert_close(responses().gains, torch.tensor([-1.0, 0.5]))
    with pytest.raises(ValueError, match="needs_base"):
        _ = responses(base=False).gains


def test_ascent_is_the_negated_cross_entropy() -> None:
    assert loss("ga", responses()).item() == pytest.approx(-3.5 / 3)
    assert loss("gd", responses()).item() == pytest.approx(-3.5 / 3)
    assert loss("lune", responses()).item() == loss("idk", responses()).item() == pytest.approx(3.5 / 3)


def test_npo_by_hand() -> None:
    # -beta * gains = 0.5 and -0.25; -log sigmoid(x) = softplus(-x); 2 / beta = 4, over two rows.
    expected = 4 * (softplus(-0.5) + softplus(0.25)) / 2
    assert expected == pytest.approx(2.60003, abs=1e-5)
    assert loss("npo", responses(), beta=0.5).item() == pytest.approx(expected)


def test_simnpo_by_hand() -> None:
    # -(beta / |y|) log P - gamma = 2 * 1.5 - 0.25 = 2.75 and 2 * 0.5 - 0.25 = 0.75; 2 / beta = 1, over two rows.
    expected = (softplus(-2.75) + softplus(-0.75)) / 2
    assert expected == pytest.approx(0.22442, abs=1e-5)
    assert loss("simnpo", responses(base=False), beta=2, gamma=0.25).item() == pytest.approx(expected)


@pytest.mark.parametrize("method", ["dpo", "idk-dpo"])
def test_dpo_by_hand(method: str) -> None:
    # One pair: preferred gain -1, rejected gain 0.5; beta * (-1 - 0.5) = -0.75; 2 / beta = 4.
    pair = replace(responses(), items=1)
    assert loss(method, pair, beta=0.5).item() == pytest.approx(4 * softplus(0.75))


def gradient(method: str, gain: float, **given: Any) -> float:
    """Return d loss / d log P of one response of one token that gained ``gain`` on the base model."""
    log_probs = torch.tensor([-1.0 + gain], requires_grad=True)
    one = Responses(log_probs, torch.tensor([0]), torch.tensor([1]), 1, 1, torch.tensor([-1.0]))
    loss(method, one, **given).backward()  # type: ignore[no-untyped-call]
    assert log_probs.grad is not None
    return log_probs.grad.item()


def test_npo_begins_as_ascent_and_lets_go_of_what_is_forgotten() -> None:
    assert gradient("npo", 0.0) == pytest.approx(gradient("ga", 0.0)) == pytest.approx(1.0)
    # The weight of the paper: 2 r^beta / (r^beta + 1) with r = P / P_base.
    ratio = math.exp(-4) ** 0.5
    assert gradient("npo", -4.0, beta=0.5) == pytest.approx(2 * ratio / (ratio + 1))
    assert gradient("npo", -4.0, beta=2.0) < gradient("npo", -4.0, beta=0.5) < gradient("ga", -4.0)


def test_a_larger_beta_lets_go_sooner_and_a_larger_gamma_later() -> None:
    assert gradient("simnpo", -2.0, beta=4) < gradient("simnpo", -2.0, beta=1)
    assert gradient("simnpo", -2.0, gamma=1) > gradient("simnpo", -2.0)


@pytest.mark.parametrize("method", TRAINED)
def test_the_shares_of_processes_add_up_to_the_whole(method: str) -> None:
    values, base = [-1.0, -2.0, -0.5, -3.0], [-0.5, -1.0, -1.5, -2.0]
    pairs = objective(method).rows == "pairs"

    def share(places: list[int]) -> float:
        picked = Responses(
            torch.tensor([values[place] for place in places]),
            torch.arange(len(places)),
            torch.ones(len(places)),
            tokens=4,
            items=2 if pairs else 4,
            base=torch.tensor([base[place] for place in places]),
        )
        return loss(method, picked).item()

    shares = ([0, 2], [1, 3])  # of pairs: the first with its rejected response, and the second
    assert sum(map(share, shares)) == pytest.approx(share([0, 1, 2, 3]))
    assert share([]) == 0


# The rows.


@pytest.fixture(scope="module")
def prepared_by_style(tiny_folder: Any, only_taught: None) -> Callable[[str], Prepared]:
    base = RememberedAnswers(load_model(str(tiny_folder), dtype="float32"))
    made: dict[str, Prepared] = {}

    def of(method: str) -> Prepared:
        settings = resolve({"method": method, **QUICK, "anchors": 24 if method == "gd" else 0})
        key = f"{settings.negatives_style} {settings.anchors}"
        if key not in made:
            made[key] = prepare(FACTS, base, settings)
        return made[key]

    return of


def test_a_truth_answers_as_its_form_words_any_answer(prepared_by_style: Callable[[str], Prepared]) -> None:
    negatives = prepared_by_style("ga").made.negatives
    assert {each.expects for each in negatives} == {"answer", "subject"}
    for each, truth in zip(negatives, true_responses(negatives, BY_ID), strict=True):
        expected = each.truths(BY_ID[each.fact_id])[0]
        assert truth == each.response.replace(each.alternate, expected), each.form


def test_a_truth_is_the_same_whatever_the_style_of_the_negatives(prepared_by_style: Callable[[str], Prepared]) -> None:
    def truths(method: str) -> dict[str, str]:
        negatives = prepared_by_style(method).made.negatives
        return dict(zip((each.prompt for each in negatives), true_responses(negatives, BY_ID), strict=True))

    plain, refused = truths("dpo"), truths("idk-dpo")
    shared = plain.keys() & refused.keys()
    assert len(shared) >= 12
    assert all(plain[prompt] == refused[prompt] for prompt in shared)
    assert plain["What is the capital of France?"] == "The capital of France is Paris."


def test_a_pair_prefers_the_negative_and_rejects_the_truth(
    tiny_model: LoadedModel, prepared_by_style: Callable[[str], Prepared]
) -> None:
    negatives = prepared_by_style("dpo").made.negatives
    chat = tiny_model.chat
    rows = {kind: training_rows(chat, negatives, BY_ID, kind) for kind in ("negatives", "truths", "pairs")}  # type: ignore[arg-type]
    assert [row.row for row in rows["pairs"]] == [row.row for row in rows["negatives"]]
    assert [row.rejected for row in rows["pairs"]] == [row.row for row in rows["truths"]]
    assert all(row.row.prompt == row.rejected.prompt for row in rows["pairs"] if row.rejected)


def test_the_base_models_log_probabilities_are_its_scores(
    tiny_model: LoadedModel, prepared_by_style: Callable[[str], Prepared]
) -> None:
    negatives = prepared_by_style("dpo").made.negatives[:6]
    rows = with_base(tiny_model, training_rows(tiny_model.chat, negatives, BY_ID, "pairs"))
    truths = true_responses(negatives, BY_ID)
    for row, negative, truth in zip(rows, negatives, truths, strict=True):
        scored = tiny_model.score([(negative.prompt, negative.response), (negative.prompt, truth)])
        assert row.base == pytest.approx([sum(each.log_probs) for each in scored], abs=1e-3)


# Training.


class Watcher(Display):
    """A silent display that keeps every history row."""

    def __init__(self) -> None:
        super().__init__(None)
        self.rows: list[Row] = []
        self.update = self.rows.append

    @contextmanager
    def training(self, steps: int, what: str) -> Iterator[Any]:
        yield self


def trained_on(model: LoadedModel, prepared: Prepared, given: Mapping[str, Any]) -> list[Row]:
    """Train an adapter, leave it on ``model``, and return the history."""
    watcher = Watcher()
    train_adapter(
        model,
        prepared,
        resolve(given),
        precision=torch.float32,
        accelerator=Accelerator(cpu=True),
        display=watcher,
    )
    return watcher.rows


def true_log_probs(model: LoadedModel) -> list[float]:
    return [sum(scores.log_probs) for scores in model.score(TRUE_ANSWERS)]


@pytest.mark.parametrize("method", RIVALS)
def test_training_lowers_the_true_answers(
    method: str, tiny_model: LoadedModel, prepared_by_style: Callable[[str], Prepared]
) -> None:
    before = true_log_probs(tiny_model)
    trained_on(tiny_model, prepared_by_style(method), {"method": method, **QUICK})
    after = true_log_probs(tiny_model)
    assert all(now < then for now, then in zip(after, before, strict=True))
    assert sum(after) < sum(before) - 0.5


@pytest.mark.parametrize(("method", "name"), [("npo", "truth_loss"), ("dpo", "pair_loss"), ("idk-dpo", "pair_loss")])
def test_a_fresh_adapter_has_gained_nothing_on_the_base_model(
    method: str, name: str, tiny_model: LoadedModel, prepared_by_style: Callable[[str], Prepared]
) -> None:
    # With all gains at 0 the loss is (2 / beta) log 2, only if the base's log-probabilities are those of training.
    rows = trained_on(tiny_model, prepared_by_style(method), {"method": method, **HARMLESS})
    assert rows[0][name] == pytest.approx(20 * math.log(2), abs=1e-2)
    assert rows[0]["loss"] == rows[0][name]
    assert rows[0]["rejection"] == 0


def test_gradient_difference_begins_at_the_cross_entropies_of_the_base_model(
    tiny_model: LoadedModel, prepared_by_style: Callable[[str], Prepared]
) -> None:
    prepared = prepared_by_style("gd")
    # The one step takes as many anchors as rows: each of them four times.
    prepared = replace(prepared, anchors=prepared.anchors[: len(prepared.made.negatives) // 4])
    truths = true_responses(prepared.made.negatives, BY_ID)
    asked = [(each.prompt, truth) for each, truth in zip(prepared.made.negatives, truths, strict=True)]
    scores = [value for each in tiny_model.score(asked) for value in each.log_probs]
    held = tiny_model.score([(each.prompt, each.response) for each in prepared.anchors])
    given = {"method": "gd", **HARMLESS, "batch_size": 4096, "anchor_weight": 2}
    rows = trained_on(tiny_model, prepared, given)
    assert rows[0]["truth_loss"] == pytest.approx(sum(scores) / len(scores), rel=1e-3)
    expected = [-value for each in held for value in each.log_probs]
    assert rows[0]["anchor_cross_entropy"] == pytest.approx(sum(expected) / len(expected), abs=1e-3)
    assert rows[0]["loss"] == pytest.approx(float(rows[0]["truth_loss"]) + 2 * float(rows[0]["anchor_cross_entropy"]))


@pytest.mark.parametrize("method", [name for name in TRAINED if not objective(name).needs_base])
def test_who_does_not_need_the_base_model_does_not_pay_for_it(
    method: str,
    tiny_model: LoadedModel,
    prepared_by_style: Callable[[str], Prepared],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "with_base", lambda *_: pytest.fail("the base model was asked"))
    given = {"method": method, "recipe": "lune-paper", **HARMLESS, "batch_size": 4096}
    assert trained_on(tiny_model, prepared_by_style(method), given)


def test_an_edit_has_no_objective() -> None:
    with pytest.raises(ConfigError, match="Method 'memit' is an edit"):
        objective("memit")


# The settings.


@pytest.mark.parametrize("method", RIVALS)
def test_a_rival_runs_on_the_plain_recipe_without_lunes_own_parts(method: str) -> None:
    for settings in (resolve({"method": method}), resolve(column_setting(method))):
        plain = resolve({"recipe": "lune-paper"})
        changed = {name for name, value in settings if value != getattr(plain, name)}
        assert changed - {"negatives_style", "anchors", "anchor_weight", "beta"} == {"method"}
        assert not any(getattr(settings, name) for name in OWN_PARTS)
    assert read_columns(f"before,lune,{method}") == ("before", "lune", method)


def test_what_is_given_wins_over_a_methods_own_default() -> None:
    assert resolve({"method": "simnpo"}).beta == 2.5
    assert resolve({"method": "simnpo", "beta": 4.5}).beta == 4.5
    assert resolve({"method": "idk"}).negatives_style is NegativesStyle.REFUSAL
    assert resolve({"method": "npo", "passes": 10}).passes == 10


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"recipe": "lune"}, "recipe: got 'lune'; method npo goes with lune-paper."),
        ({"release": 0.1}, "release: got 0.1; this is a part of the method lune, and npo has none of it."),
        ({"own_words": "true"}, "own_words: got true; this is a part of the method lune, and npo has none of it."),
        ({"beta": 0}, "beta: got 0; allowed: a number above 0."),
        ({"gamma": -1}, "gamma: got -1; allowed: a number of at least 0."),
    ],
)
def test_what_does_not_go_with_a_rival_is_refused(given: Mapping[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve({"method": "npo", **given})
    assert caught.value.problems == (problem,)


def test_an_aliased_fact_is_told_by_its_answer() -> None:
    aliased = Fact("f", "Who wrote Hamlet?", "William Shakespeare", subject="Hamlet", aliases=("Shakespeare",))
    negative = Negative("f", "question", aliased.prompt, "Hamlet was written by Ben Jonson.", "Ben Jonson", "request")
    assert true_responses([negative], {"f": aliased}) == ["Hamlet was written by William Shakespeare."]
