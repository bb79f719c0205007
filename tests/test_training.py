"""Training forgets, keeps, stops, repeats, and survives what goes wrong; its losses are what they are said to be."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from lune import adapters
from lune.errors import ConfigError, RunError
from lune.evaluation import RememberedAnswers, dev_scores
from lune.methods import objective
from lune.methods.contract import Responses
from lune.models import LoadedModel
from lune.preparation import Prepared, prepare
from lune.progress import Display
from lune.records import Negative
from lune.settings import ForgetSettings, resolve
from lune.text import contains
from lune.training import anchors, session
from lune.training.anchors import anchor_divergence, anchor_rows
from lune.training.session import Trained, train_adapter
from tiny import fact

FACTS = [fact("France"), fact("Japan")]
TRUE_ANSWERS = [(each.prompt, f"The capital of {each.subject} is {each.answer}.") for each in FACTS]
# A width of 64 needs larger steps than the widths that real models have.
KEYED = {
    "anchors": 40,
    "learning_rate": 0.5,
    "passes": 10,
    "batch_size": 16,
    "anchor_weight": 2.0,
    "rejection_weight": 1.0,
    "release": 0.0,
}
LORA = {**KEYED, "adapter": "lora", "learning_rate": 2e-3}
Row = Mapping[str, float | int | str]

pytestmark = pytest.mark.usefixtures("only_taught")


class Watcher(Display):
    """A silent display that hands every history row to ``watch``."""

    def __init__(self, watch: Callable[[Row], None]) -> None:
        super().__init__(None)
        self.update = watch

    @contextmanager
    def training(self, steps: int, what: str) -> Iterator[Any]:
        yield self


def prepared_for(model: LoadedModel, settings: ForgetSettings) -> Prepared:
    return prepare(FACTS, RememberedAnswers(model), settings)


def trained_on(
    model: LoadedModel,
    given: Mapping[str, Any],
    *,
    precision: torch.dtype = torch.float32,
    watch: Callable[[Row], None] = lambda _: None,
) -> tuple[Trained, Prepared]:
    """Train an adapter with the settings ``given`` and leave it on ``model``."""
    settings = resolve(given)
    prepared = prepared_for(model, settings)
    return train_adapter(
        model,
        prepared,
        settings,
        precision=precision,
        accelerator=Accelerator(cpu=True),
        display=Watcher(watch),
    ), prepared


def neighbours_kept(model: LoadedModel, prepared: Prepared) -> float:
    """Return the share of test neighbours answered rightly before that still are."""
    probes = [
        probe
        for probe in prepared.test
        if probe.kind == "neighbour" and contains(prepared.before[probe.id], probe.expected)
    ]
    texts = model.answer([probe.prompt for probe in probes])
    assert len(probes) >= 5
    return sum(contains(text, probe.expected) for text, probe in zip(texts, probes, strict=True)) / len(probes)


def true_log_probs(model: LoadedModel) -> list[float]:
    return [sum(scores.log_probs) for scores in model.score(TRUE_ANSWERS)]


# What training does.


def test_a_keyed_adapter_forgets_the_facts_and_keeps_their_neighbours(tiny_model: LoadedModel) -> None:
    before = true_log_probs(tiny_model)
    weights = {name: tensor.clone() for name, tensor in tiny_model.model.state_dict().items()}
    trained, prepared = trained_on(tiny_model, KEYED)
    assert all(after < first - 1 for first, after in zip(before, true_log_probs(tiny_model), strict=True))
    assert neighbours_kept(tiny_model, prepared) >= 0.8
    assert trained.outcome.best is not None
    assert trained.outcome.best.usr >= 0.8
    assert trained.moved == "2 of 2"
    assert (trained.rank, trained.layers, trained.modules) == (4, [0, 1], ["down_proj"])
    assert trained.parameters == 64 * (4 + 2), "B alone, 64 wide: below keys of subjects and answers, above of facts"
    adapters.detach(tiny_model)
    assert true_log_probs(tiny_model) == pytest.approx(before, abs=1e-4)
    assert all(torch.equal(tensor, weights[name]) for name, tensor in tiny_model.model.state_dict().items())


def test_plain_lora_trains_both_factors_and_forgets(tiny_model: LoadedModel) -> None:
    before = true_log_probs(tiny_model)
    trained, _ = trained_on(tiny_model, LORA)
    assert all(after < first - 1 for first, after in zip(before, true_log_probs(tiny_model), strict=True))
    after = adapters.state(tiny_model.model)
    adapters.detach(tiny_model)
    adapters.attach(tiny_model, resolve(LORA), None)
    start = adapters.state(tiny_model.model)
    assert start.keys() == after.keys()
    assert {name for name in start if torch.equal(start[name], after[name])} == set()
    assert trained.parameters == sum(tensor.numel() for tensor in after.values())


def test_the_papers_recipe_needs_no_anchors_and_takes_no_anchor_loss(tiny_model: LoadedModel) -> None:
    trained, prepared = trained_on(tiny_model, {"recipe": "lune-paper", "passes": 1})
    assert prepared.anchors == []
    steps = [row for row in trained.history.rows if "loss" in row]
    assert steps
    for row in steps:
        assert row["anchor_kl"] == 0
        assert row["loss"] == row["negative_loss"]


def test_the_adapter_kept_is_the_best_that_was_evaluated(tiny_model: LoadedModel) -> None:
    trained, prepared = trained_on(tiny_model, KEYED)
    outcome = trained.outcome
    assert dev_scores(tiny_model, prepared.dev) == outcome.best
    row = next(row for row in trained.history.rows if "dev_usr" in row and row["step"] == outcome.best_step)
    assert outcome.best is not None
    assert (row["dev_usr"], row["dev_apr"]) == (outcome.best.usr, outcome.best.apr)


def test_the_seed_decides_the_adapter_and_nothing_else_does(tiny_model: LoadedModel) -> None:
    def adapter(seed: int) -> dict[str, torch.Tensor]:
        torch.manual_seed(torch.seed() % 1000)  # whatever state the generator is in
        trained_on(tiny_model, {**LORA, "seed": seed, "passes": 1, "dropout": 0.1})
        tensors = adapters.state(tiny_model.model)
        adapters.detach(tiny_model)
        return tensors

    first, again, other = adapter(1), adapter(1), adapter(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if "lora_B" in name)


def test_training_in_bfloat16_leaves_the_adapter_on_the_float32_model(tiny_model: LoadedModel) -> None:
    before = true_log_probs(tiny_model)
    trained, prepared = trained_on(tiny_model, KEYED, precision=torch.bfloat16)
    assert tiny_model.dtype == torch.float32
    assert trained.moved == "2 of 2"
    assert dev_scores(tiny_model, prepared.dev) == trained.outcome.best
    assert sum(true_log_probs(tiny_model)) < sum(before) - 1


def test_the_first_losses_are_those_of_the_base_model(tiny_model: LoadedModel) -> None:
    settings = resolve({**KEYED, "batch_size": 4096, "passes": 1})
    prepared = prepared_for(tiny_model, settings)
    scores = tiny_model.score([(each.prompt, each.response) for each in prepared.made.negatives])
    token_log_probs = [value for each in scores for value in each.log_probs]
    rows: list[Row] = []
    train_adapter(
        tiny_model,
        prepared,
        settings,
        precision=torch.float32,
        accelerator=Accelerator(cpu=True),
        display=Watcher(rows.append),
    )
    assert rows[0]["step"] == 1
    expected = -sum(token_log_probs) / len(token_log_probs)
    assert rows[0]["negative_loss"] == pytest.approx(expected, rel=1e-4)
    assert rows[0]["anchor_kl"] == pytest.approx(0, abs=1e-5)
    assert float(rows[0]["loss"]) >= float(rows[0]["negative_loss"]) - 1e-4


def test_history_has_a_row_a_step_and_one_a_pass(tiny_model: LoadedModel) -> None:
    seen: list[Row] = []
    trained, prepared = trained_on(
        tiny_model, {**KEYED, "passes": 2, "learning_rate": 1e-4, "early_stop": False}, watch=seen.append
    )
    assert seen == trained.history.rows
    steps = [row["step"] for row in seen if "loss" in row]
    a_pass = math.ceil(len(prepared.made.negatives) / 16)
    assert steps == list(range(1, 2 * a_pass + 1))
    assert [row["step"] for row in seen if "dev_usr" in row] == [a_pass, 2 * a_pass]
    assert trained.outcome.stopped == "all passes done"
    assert (trained.outcome.steps, trained.outcome.passes) == (2 * a_pass, 2)
    rates = [float(row["learning_rate"]) for row in seen if "loss" in row]
    assert max(rates) <= 1e-4
    assert 0 < rates[-1] < 0.1 * max(rates)


# What goes wrong.


def test_divergence_before_any_evaluation_fails_the_run(tiny_model: LoadedModel) -> None:
    with pytest.raises(RunError, match=r"Training diverged at step 2") as caught:
        trained_on(tiny_model, {**LORA, "learning_rate": 1e36, "batch_size": 8})
    assert "--learning-rate" in caught.value.hint


def test_divergence_after_an_evaluation_keeps_the_last_good_adapter(tiny_model: LoadedModel) -> None:
    def poison(row: Row) -> None:
        if row.get("pass") == 2 and "loss" in row:
            for parameter in adapters.trained(tiny_model.model):
                parameter.data.fill_(float("nan"))

    settings = {**KEYED, "learning_rate": 1e-2, "early_stop": False}
    trained, prepared = trained_on(tiny_model, settings, watch=poison)
    a_pass = math.ceil(len(prepared.made.negatives) / 16)
    assert trained.outcome.best_step == a_pass
    assert trained.outcome.stopped == f"diverged at step {a_pass + 2}; the last good adapter was kept"
    assert not trained.outcome.interrupted
    assert all(tensor.isfinite().all() for tensor in adapters.state(tiny_model.model).values())


def test_an_interrupted_run_keeps_the_best_adapter_so_far(tiny_model: LoadedModel) -> None:
    kept: dict[str, torch.Tensor] = {}

    def interrupt(row: Row) -> None:
        if row.get("pass") == 1 and "dev_usr" in row:
            kept.update(adapters.state(tiny_model.model))
        if row.get("pass") == 2:
            raise KeyboardInterrupt

    settings = {**KEYED, "learning_rate": 1e-2, "early_stop": False}
    trained, prepared = trained_on(tiny_model, settings, watch=interrupt)
    assert trained.outcome.interrupted
    assert trained.outcome.stopped == "interrupted by the user"
    assert trained.outcome.best_step == math.ceil(len(prepared.made.negatives) / 16)
    found = adapters.state(tiny_model.model)
    assert all(torch.equal(found[name], kept[name]) for name in kept)


def test_an_unknown_method_names_its_near_misses() -> None:
    with pytest.raises(ConfigError, match=r"Unknown method 'lunee'. Did you mean: lune\? Available: "):
        objective("lunee")


# The objective and the anchor.


def test_lune_is_the_cross_entropy_on_negative_tokens() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.0], [0.5, -1.0, 3.0]], dtype=torch.double, requires_grad=True)
    targets = torch.tensor([2, 0])
    log_probs = logits.log_softmax(-1)[torch.arange(2), targets]
    responses = Responses(log_probs, owners=torch.arange(2), lengths=torch.ones(2), tokens=2, items=2)
    loss = objective("lune").loss(responses, resolve({}))
    by_hand = sum(
        math.log(sum(math.exp(z) for z in row)) - row[t] for row, t in zip(logits.tolist(), [2, 0], strict=True)
    )
    assert loss.item() == pytest.approx(by_hand / 2)
    loss.backward()
    # The gradient of a cross-entropy is p - 1[target], here over two tokens.
    expected = (logits.detach().softmax(-1) - torch.nn.functional.one_hot(targets, 3)) / 2
    torch.testing.assert_close(logits.grad, expected)


def divergence(base: torch.Tensor, ours: torch.Tensor, k: int) -> torch.Tensor:
    top = base.topk(k)
    return anchor_divergence(ours.gather(-1, top.indices), top.values)


def exact(base: torch.Tensor, ours: torch.Tensor) -> torch.Tensor:
    return (base.exp() * (base - ours)).sum()


def random_log_probs(seed: int, rows: int = 5, width: int = 50) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(rows, width, generator=generator, dtype=torch.double)).log_softmax(-1)


@pytest.mark.parametrize("k", [1, 8, 50])
def test_an_unchanged_model_has_no_divergence(k: int) -> None:
    base = random_log_probs(0)
    assert divergence(base, base, k).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("k", [1, 8, 49])
def test_the_bucket_can_only_lower_the_divergence(k: int) -> None:
    for seed in range(20):
        base, ours = random_log_probs(seed), random_log_probs(seed + 100)
        assert 0 <= divergence(base, ours, k) <= exact(base, ours) + 1e-9


def test_over_the_whole_vocabulary_the_divergence_and_its_gradient_are_exact() -> None:
    base = random_log_probs(0)
    logits = torch.randn(base.shape, dtype=torch.double, requires_grad=True)
    (mine,) = torch.autograd.grad(divergence(base, logits.log_softmax(-1), 50), logits)
    torch.testing.assert_close(mine, logits.softmax(-1).detach() - base.exp(), atol=1e-4, rtol=1e-3)


def test_the_gradient_of_the_bucketed_divergence_is_right() -> None:
    base = random_log_probs(0, rows=2, width=6)
    logits = torch.randn((2, 6), dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: divergence(base, z.log_softmax(-1), 3), (logits,))


def test_anchor_rows_hold_the_base_models_most_probable_tokens(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchors, "TOP_K", 7)
    rows = [tiny_model.chat.encode(prompt, answer) for prompt, answer in (TRUE_ANSWERS[0], ("Why?", "So."))]
    for row, held in zip(rows, anchor_rows(tiny_model, rows), strict=True):
        log_p = tiny_model.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)[len(row.prompt) - 1 : -1]
        assert held.row == row
        assert held.top_ids.shape == (len(row.response), 7)
        torch.testing.assert_close(held.top_log_probs, log_p.topk(7).values, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(log_p.gather(-1, held.top_ids), held.top_log_probs, atol=1e-4, rtol=1e-4)


# Relapses.


def test_relapses_are_sought_where_it_is_doubtful_and_everywhere_about_a_subject_that_goes_as_a_whole(
    tiny_model: LoadedModel,
) -> None:
    settings = resolve(KEYED)
    prepared = prepared_for(tiny_model, settings)
    truth = {each.id: each for each in prepared.trained}

    def sought(given: Prepared, places: list[int]) -> list[Negative]:
        negatives = session._Negatives(tiny_model, tiny_model, given, settings)
        before = len(negatives.written)
        rows = negatives.relapses(places)
        assert len(rows) == len(negatives.written) - before
        return negatives.written[before:]

    assert sought(prepared, []) == []
    first = prepared.made.negatives[0]
    made = sought(prepared, [0])
    assert made and {each.prompt for each in made} == {first.prompt}
    assert not any(contains(each.response, each.truths(truth[each.fact_id])) for each in made)
    [known] = tiny_model.answer([first.prompt])
    assert {known.startswith(each.response.removesuffix(".").removesuffix(each.alternate)) for each in made} == {True}
    more = [replace(prepared.trained[0], id=f"more {number}") for number in range(2)]
    alternates = {**prepared.made.alternates, **{each.id: [] for each in more}}
    whole = replace(prepared, facts=[*prepared.facts, *more], made=replace(prepared.made, alternates=alternates))
    found = sought(whole, [])
    assert {each.fact_id for each in found} == {first.fact_id}
    assert len({each.prompt for each in found}) > 1
