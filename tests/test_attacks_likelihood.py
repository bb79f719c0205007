"""The attacks that read likelihoods and hidden states instead of answers, on a finished run of the tiny model."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from rich.console import Console

from attacked import FORGOTTEN, HELD_OUT, context_of, make_run
from lune import adapters
from lune.attacks import attack
from lune.attacks.contract import AttackContext, direct_answers
from lune.attacks.folder import read_attacked_run
from lune.attacks.logit_lens import lead_of
from lune.attacks.outcome import AttackResult, meaning
from lune.attacks.run import make_attack, results_table
from lune.records import Fact
from tiny import CAPITALS, fact, question

UNTRAINED = [country for country in CAPITALS if country not in FORGOTTEN][:12]
"""Countries that the run did not have to forget."""


@pytest.fixture(scope="module")
def context(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> AttackContext:
    """The context of attacks on four capitals forgotten by force, three of which have held-out alternates."""
    return context_of(make_run(tiny_folder, tmp_path_factory.mktemp("runs") / "run"))


def result_of(name: str, context: AttackContext) -> AttackResult:
    return make_attack(attack(name), context)


def asked_of(context: AttackContext, facts: Sequence[Fact], held_out: Mapping[str, Sequence[str]]) -> AttackContext:
    """Return a context of other facts, which the base model is taken to answer as it answers now."""
    with context.shipped.model.disable_adapter():
        said = dict(zip([each.id for each in facts], context.shipped.answer([f.prompt for f in facts]), strict=True))
    return replace(context, facts=tuple(facts), held_out=held_out, answers=said, base_answers=said)


def test_the_run_folder_gives_the_alternates_that_no_training_saw(context: AttackContext) -> None:
    assert context.held_out == {country.lower(): tuple(HELD_OUT.get(country, ())) for country in FORGOTTEN}


def test_alternates_are_not_needed_to_read_a_run(tiny_folder: Path, tmp_path: Path) -> None:
    folder = make_run(tiny_folder, tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    del record["facts"]["list"]
    (folder / "run.json").write_text(json.dumps(record))
    assert read_attacked_run(folder).held_out == {}


# Multiple choice by likelihood.


def test_the_chosen_option_is_the_likeliest_sentence(context: AttackContext) -> None:
    finding = attack("choice").run(context)
    for country, attempt in zip(HELD_OUT, finding.attempts, strict=True):
        options = [CAPITALS[country], *HELD_OUT[country]]
        scored = context.shipped.score([(question(country), f"The capital of {country} is {x}.") for x in options])
        likeliest = max(zip(scored, options, strict=True), key=lambda pair: pair[0].mean_log_prob)[1]
        assert (attempt.fact_id, attempt.answer) == (country.lower(), likeliest)
    assert [attempt.answer for attempt in finding.base or ()] == [CAPITALS[country] for country in HELD_OUT]


def test_the_share_that_guessing_gives_stands_beside(context: AttackContext) -> None:
    result = result_of("choice", context)
    right = sum(row.leaked_after for row in result.facts)
    assert result.details["accuracy"] == pytest.approx(right / 3)
    assert result.details["base_accuracy"] == result.base_gives == 1.0
    assert result.details["chance"] == pytest.approx((1 / 4 + 1 / 3 + 1 / 3) / 3)
    assert result.details["facts not tried"] == 1
    assert "Uniform guessing gives 31%" in meaning(result)


@pytest.mark.parametrize("known", [True, False])
def test_the_truth_chosen_or_shunned_by_more_than_chance_is_said(context: AttackContext, known: bool) -> None:
    """A model that always prefers another answer to the one asked for shuns it."""
    others = {country: [c for c in CAPITALS.values() if c != CAPITALS[country]][-2:] for country in UNTRAINED}
    facts = [fact(c) if known else Fact(c.lower(), question(c), others[c][0]) for c in UNTRAINED]
    options = {c.lower(): others[c] if known else [CAPITALS[c], others[c][1]] for c in UNTRAINED}
    with adapters.scaled(context.shipped.model, 0.0):
        result = result_of("choice", asked_of(context, facts, options))
    assert result.details["below_chance"] is not known
    assert result.details["accuracy"] == float(known)
    tail = result.details["p_above" if known else "p_below"]
    assert tail == pytest.approx((1 / 3 if known else 2 / 3) ** 12)
    assert f"so {'many' if known else 'few'} are unlikely" in meaning(result)
    assert f"picked for {12 * known} of 12 facts" in meaning(result)
    assert result.recovered.value is result.usr_after.value is None, "some are right by chance, so nothing came back"


def test_the_terminal_shows_how_many_were_picked(context: AttackContext) -> None:
    result = result_of("choice", context)
    shown = io.StringIO()
    Console(width=200, file=shown).print(results_table([result]))
    picked = sum(each.leaked_after for each in result.facts)
    assert f"picks {picked} of {len(result.facts)}" in shown.getvalue()


@pytest.mark.parametrize("name", ["choice", "logit-lens"])
def test_without_alternates_it_is_not_tried(context: AttackContext, name: str) -> None:
    result = result_of(name, replace(context, held_out={"france": ()}))
    assert "held-out alternate" in result.skipped
    assert meaning(result).startswith("Not tried:")


# Logit lens.


@torch.no_grad()
def by_hand(context: AttackContext, country: str, options: Sequence[str], layer: int) -> tuple[str, int]:
    """Return the likeliest option of a layer read behind "The capital of ... is", and the rank of the first option."""
    chat, model = context.shipped.chat, context.shipped.model
    lead = f"The capital of {country} is"
    rows = [chat.encode(question(country), f"{lead} {option}").ids for option in options]
    place = len(chat.encode(question(country)).ids) + len(context.shipped.tokenizer(lead)["input_ids"])
    hidden = model(input_ids=torch.tensor([rows[0][:place]]), output_hidden_states=True).hidden_states[layer + 1]
    inner = model.get_base_model()
    states = hidden[0, -1] if layer == 1 else inner.model.norm(hidden[0, -1])  # the last state is normed already
    logits = inner.lm_head(states)
    scores = [float(logits[row[place]]) for row in rows]
    return options[scores.index(max(scores))], int((logits > scores[0]).sum()) + 1


def test_each_layer_is_read_behind_the_base_models_own_lead(context: AttackContext) -> None:
    finding = attack("logit-lens").run(context)
    ranks = finding.details["median rank of the answer by layer"]
    assert isinstance(ranks, dict)
    for layer in (0, 1):
        found = [by_hand(context, country, [CAPITALS[country], *HELD_OUT[country]], layer) for country in HELD_OUT]
        said = [attempt.answer for attempt in finding.attempts if attempt.form == f"layer {layer}"]
        assert said == [option for option, _ in found]
        assert ranks["unlearned"][layer] == sorted(rank for _, rank in found)[1]
    assert [attempt.answer for attempt in finding.base or () if attempt.form == "layer 1"] == ["Paris", "Tokyo", "Rome"]
    assert ranks["base"][1] == 1.0 < ranks["unlearned"][1]


def test_the_layer_that_gives_most_is_reported_with_all_of_them_as_a_curve(context: AttackContext) -> None:
    result = result_of("logit-lens", context)
    assert result.usr_after.value is None
    picked = sum(each.leaked_after for each in result.facts)
    assert 1 - picked / len(result.facts) == pytest.approx(min(result.by_form.values()))
    assert result.by_form[result.form] == min(result.by_form.values())
    assert result.curves[0].points == tuple((float(n), result.by_form[f"layer {n}"]) for n in (0, 1))
    assert result.details["facts not tried"] == 1


@pytest.mark.parametrize("known", [True, False])
def test_what_a_layer_gives_is_set_against_chance(context: AttackContext, known: bool) -> None:
    """The tiny model's last layer knows each capital; of others that it was not taught it picks none."""
    others = {country: [c for c in CAPITALS.values() if c != CAPITALS[country]][-2:] for country in UNTRAINED}
    facts = [fact(c) if known else Fact(c.lower(), question(c), others[c][0]) for c in UNTRAINED]
    held_out = {c.lower(): others[c] if known else [CAPITALS[c], others[c][1]] for c in UNTRAINED}
    with adapters.scaled(context.shipped.model, 0.0):
        leads = {c.lower(): f"The capital of {c} is {each.answer}" for c, each in zip(UNTRAINED, facts, strict=True)}
        asked = replace(asked_of(context, facts, held_out), base_answers=leads)
        result = result_of("logit-lens", asked)
    by_layer = result.details["against chance by layer"]
    assert isinstance(by_layer, dict)
    assert by_layer["unlearned"] == by_layer["base"], "an adapter at scale 0 is the base model"
    last = by_layer["unlearned"][-1]
    right = round(last["picked"] * 12)
    assert right == (12 if known else 0)
    assert last["above_chance"] == pytest.approx(1.0 if known else -0.5)
    assert last["p_above"] == pytest.approx((1 / 3) ** 12 if known else 1.0)
    assert last["auc"] == 1.0 if known else last["auc"] < 0.6
    p_best = result.details["p of the best layer"]
    assert isinstance(p_best, float)
    assert (p_best < 0.001) is known
    assert (
        f"Guessing alone gives 33% in one layer, and more in the best of 2: so many are {'un' if known else 'noth'}"
        in (meaning(result))
    )
    assert "1.00 (95 % interval 0.60 to 1.00)" in meaning(result) or not known


def test_options_that_begin_alike_are_left_out(context: AttackContext) -> None:
    held_out = {"france": ["Paris Hill", "Dublin", "Dublin Bay"], "japan": ["Tokyo Bay"]}
    result = result_of("logit-lens", replace(context, held_out=held_out))
    assert result.details["chance"] == pytest.approx(1 / 2)
    assert result.details["alternates left out"] == 2
    assert [row.id for row in result.facts] == ["france"]


@pytest.mark.parametrize(
    ("answer", "spellings", "expected"),
    [
        ("The capital of France is Paris.", ["Paris"], "The capital of France is"),
        ("Moby-Dick was written by Herman Melville.", ["Melville", "Herman Melville"], "Moby-Dick was written by"),
        ("He wrote “Hamlet”.", ["Hamlet"], "He wrote"),
        ("It is parisian, paris.", ["Paris"], "It is parisian,"),
        ("Paris.", ["Paris"], ""),
        ("J. R. R. Tolkien", ["JRR Tolkien"], ""),
    ],
)
def test_the_lead_ends_where_the_fact_begins(answer: str, spellings: list[str], expected: str) -> None:
    assert lead_of(answer, spellings) == expected


@pytest.mark.parametrize("name", ["choice", "logit-lens"])
def test_model_and_adapter_are_left_as_they_were(context: AttackContext, name: str) -> None:
    model = context.shipped.model
    weights = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in model.modules()]
    result_of(name, context)
    assert [len(module._forward_hooks) for module in model.modules()] == hooks
    assert all(torch.equal(weights[key], tensor) for key, tensor in model.state_dict().items())
    assert direct_answers(context.shipped, context.facts) == list(context.answers.values())
