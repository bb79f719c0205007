"""Keys answer 1 to their subject and next to nothing to everything else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from architectures import CONFIGS, make_random
from lune import adapters, keys
from lune.evaluation import RememberedAnswers
from lune.keys import RIDGE, KeyContext, KeySet, key_context, whitened_keys
from lune.models import LoadedModel
from lune.preparation import prepare
from lune.probes.anchors import ANCHOR_TOKENS
from lune.settings import resolve
from lune.training import adapter_keys
from tiny import CAPITALS, fact, question

COUNTRIES = list(CAPITALS)


def inputs(loaded: LoadedModel, name: str, ids: tuple[int, ...]) -> torch.Tensor:
    """Return what the module ``name`` reads at each of ``ids``, in a plain forward pass."""
    seen: list[torch.Tensor] = []
    module = loaded.model.get_submodule(name)
    handle = module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0][0]))
    loaded.model(input_ids=torch.tensor([ids]))
    handle.remove()
    return seen[0].double()


@pytest.mark.parametrize("chat", [True, False])
def test_a_context_is_where_the_subject_was_read(chat: bool) -> None:
    loaded = make_random("llama", chat=chat)
    context = key_context(loaded, "France", "In France, what is the capital?")
    assert context is not None
    read = loaded.tokenizer.decode(context.row.ids[: context.position + 1])
    assert read.endswith("In France")
    assert key_context(loaded, "france", "In France, what is the capital?") == KeyContext(
        "france", context.row, context.position
    )
    assert key_context(loaded, "Japan", "In France, what is the capital?") is None


@pytest.mark.parametrize(
    ("subject", "prompt", "read"),
    [
        ("AI", "Who paid for AI in Dubai, said AI?", "said AI"),
        ("Au", "Is Au found in Australia?", "Is Au"),
        ("Straße", "Weißstraße near Straße, now?", "near Straße"),
    ],
)
def test_only_the_whole_name_in_the_users_turn_is_a_key(subject: str, prompt: str, read: str) -> None:
    loaded = make_random("llama")
    context = key_context(loaded, subject, prompt)
    assert context is not None
    assert str(loaded.tokenizer.decode(context.row.ids[: context.position + 1])).endswith(read)


def test_the_templates_own_words_are_no_key() -> None:
    loaded = make_random("llama")
    rendered = loaded.chat.render("Hello?")
    word = next(word for word in rendered.replace("<", " ").replace(">", " ").split() if word.isalpha())
    assert key_context(loaded, word, "Hello?") is None


def test_the_last_mention_counts(tiny_model: LoadedModel) -> None:
    context = key_context(tiny_model, "France", "Hint: think of France. What is the capital of France?")
    assert context is not None
    assert str(tiny_model.tokenizer.decode(context.row.ids[: context.position + 1])).count("France") == 2


@pytest.mark.parametrize("family", CONFIGS)
def test_keys_are_the_ridge_regression_on_what_a_plain_forward_pass_reads(family: str) -> None:
    loaded = make_random(family)
    prompts = ["What is the capital of France?", "Tell me about France.", "Name a colour of Lyon."]
    found = [key_context(loaded, "Lyon" if "Lyon" in prompt else "France", prompt) for prompt in prompts]
    contexts = [context for context in found if context]
    texts = [loaded.chat.encode(prompt, "Paris is.") for prompt in ("Name a city.", "What is the capital?")]
    modules = adapters.down_projections(loaded.model, [0, 1])
    other = key_context(loaded, "Nice", "Name a colour of Nice.")
    assert other is not None
    made = whitened_keys(loaded, [KeySet(modules, contexts, [other], 0.3)], texts)
    assert list(made) == modules
    name = modules[1]
    read = [inputs(loaded, name, context.row.ids)[context.position] for context in contexts]
    means = torch.stack([(read[0] + read[1]) / 2, read[2]])
    # What all texts share counts once for every text in the moment, and not at all in the ridge.
    shared = next(
        place for place, pair in enumerate(zip(*(text.ids for text in texts), strict=False)) if len(set(pair)) > 1
    )
    own = torch.cat([inputs(loaded, name, text.ids)[shared:] for text in texts])
    x = torch.cat([inputs(loaded, name, text.ids) for text in texts])
    ridge = RIDGE * (own.square().sum(0) / len(own)).mean()
    moment = x.T @ x / len(own) + ridge * torch.eye(x.shape[1])
    apart = inputs(loaded, name, other.row.ids)[other.position]
    # Every context of a subject counts by its share in the subject's mean; France has two, Lyon one.
    own_moment = (read[0].outer(read[0]) + read[1].outer(read[1])) / 2 + read[2].outer(read[2])
    expected = torch.linalg.solve(moment + 0.3 * apart.outer(apart) + own_moment, means.T).T
    expected /= (expected * means).sum(-1, keepdim=True)
    torch.testing.assert_close(made[name].double(), expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max()))
    torch.testing.assert_close((made[name].double() * means).sum(-1), torch.ones(2).double(), rtol=1e-3, atol=0)


def test_a_key_answers_its_subject_and_hardly_any_other(tiny_model: LoadedModel) -> None:
    def context(country: str) -> KeyContext:
        made = key_context(tiny_model, country, question(country))
        assert made is not None
        return made

    name = adapters.down_projections(tiny_model.model, [0])[0]
    texts = [tiny_model.chat.encode(question(country), f"It is {CAPITALS[country]}.") for country in COUNTRIES[2:]]
    made = whitened_keys(tiny_model, [KeySet([name], [context("France"), context("Germany")])], texts)[name].double()
    for row, country in enumerate(("France", "Germany")):
        response = [
            float(made[row] @ inputs(tiny_model, name, context(other).row.ids)[context(other).position])
            for other in COUNTRIES
        ]
        own = response.pop(COUNTRIES.index(country))
        assert own == pytest.approx(1, abs=1e-3)
        assert max(map(abs, response)) < 0.5


def test_more_owners_than_rows_share_them_and_are_answered_all_the_same(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts = [made for each in COUNTRIES[:4] if (made := key_context(tiny_model, each, question(each)))]
    name = adapters.down_projections(tiny_model.model, [0])[0]
    others = [made for each in COUNTRIES[4:] if (made := key_context(tiny_model, each, question(each)))]
    texts = [tiny_model.chat.encode(question(country), CAPITALS[country]) for country in COUNTRIES[4:]]

    def at(places: list[KeyContext]) -> torch.Tensor:
        return torch.stack([inputs(tiny_model, name, place.row.ids)[place.position] for place in places])

    alone = whitened_keys(tiny_model, [KeySet([name], contexts, others)], texts)[name].double()
    monkeypatch.setattr(keys, "MOST_ROWS", 3 / alone.shape[1])
    shared = whitened_keys(tiny_model, [KeySet([name], contexts, others)], texts)[name].double()
    assert alone.shape[0] == 4 and shared.shape[0] == 3
    own = whitened_keys(tiny_model, [KeySet([name], contexts, others, shared=False)], texts)[name].double()
    assert torch.equal(own, alone), "an edit needs a row for each"
    codes = shared @ at(contexts).T  # [3, 4]
    assert float(codes.norm(dim=0).mean()) == pytest.approx(1, abs=1e-3)
    assert float(codes.norm(dim=0).min()) > 3 * float((shared @ at(others).T).norm(dim=0).mean())
    # The best approximation of rank 3 of what the four rows answer, up to its scale.
    answers = alone @ at(contexts).T
    left = torch.linalg.svd(answers)[0][:, :3]
    wanted = left @ left.T @ answers
    found = left @ torch.linalg.lstsq(codes.T, (left.T @ answers).T).solution.T @ codes
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-2)


def test_a_subject_in_the_prefix_that_all_prompts_share_is_read_there() -> None:
    loaded = make_random("llama")
    prompts = ["France: which city leads it?", "France: which colours has its flag of old?"]
    contexts = [context for prompt in prompts if (context := key_context(loaded, "France", prompt))]
    name = adapters.down_projections(loaded.model, [0])[0]
    made = whitened_keys(loaded, [KeySet([name], contexts)], [loaded.chat.encode("Name a colour.")])[name][0].double()
    for context in contexts:
        assert float(made @ inputs(loaded, name, context.row.ids)[context.position]) == pytest.approx(1, abs=1e-2)


def test_wide_models_take_several_passes_with_the_same_result(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = key_context(tiny_model, "France", question("France"))
    assert context is not None
    modules = adapters.down_projections(tiny_model.model, [0, 1])
    texts = [tiny_model.chat.encode(question("Japan"))]
    once = whitened_keys(tiny_model, [KeySet(modules, [context])], texts)
    monkeypatch.setattr(keys, "MOMENT_BYTES", 1)
    twice = whitened_keys(tiny_model, [KeySet(modules, [context])], texts)
    assert all(torch.equal(once[name], twice[name]) for name in modules)


def test_sets_of_keys_are_made_as_each_alone_and_places_of_one_row_are_told_apart(tiny_model: LoadedModel) -> None:
    low, high = adapters.down_projections(tiny_model.model, [0, 1])
    subject = key_context(tiny_model, "France", question("France"))
    assert subject is not None
    row = tiny_model.chat.encode(question("France"), "The capital of France is Paris.")
    places = [KeyContext(f"key {place}", row, place) for place in (len(row.prompt) - 1, len(row.prompt) + 4)]
    texts = [tiny_model.chat.encode(question(country), CAPITALS[country]) for country in COUNTRIES[2:6]]
    sets = [KeySet([low], [subject]), KeySet([high], places)]
    made = whitened_keys(tiny_model, sets, texts)
    assert (made[low].shape[0], made[high].shape[0]) == (1, 2)
    for keys_alone in sets:
        for name, a in whitened_keys(tiny_model, [keys_alone], texts).items():
            torch.testing.assert_close(made[name], a, rtol=1e-4, atol=1e-5)
    read = inputs(tiny_model, high, row.ids)[[place.position for place in places]]
    torch.testing.assert_close(made[high].double() @ read.T, torch.eye(2).double(), rtol=0, atol=0.2)


def test_answers_are_keys_where_the_true_one_would_begin(tiny_model: LoadedModel) -> None:
    facts = [fact("France"), fact("Japan")]
    prepared = prepare(facts, RememberedAnswers(tiny_model), resolve({"anchors": 20}))
    contexts = adapter_keys._answers(tiny_model, prepared)
    assert {context.owner for context in contexts} == {each.id for each in facts}
    answers = {each.id: each.answer for each in facts}
    negatives = {
        tiny_model.chat.encode(each.prompt, each.response): each for each in prepared.made.negatives if each.alternate
    }
    for context in contexts:
        end = context.position + 1 - len(context.row.prompt)
        negative = negatives[context.row]
        true = negative.response.replace(negative.alternate, answers[context.owner])
        wanted = tiny_model.chat.encode(negative.prompt, true).response
        assert context.row.response[:end] == wanted[:end], "up to here both say the same"
        assert context.row.response[end] != wanted[end], "and here they part"


def test_without_a_wrong_answer_in_the_true_ones_place_all_keys_are_subjects(tiny_model: LoadedModel) -> None:
    settings = resolve({"anchors": 20})
    prepared = prepare([fact("France"), fact("Japan")], RememberedAnswers(tiny_model), settings)
    made = adapter_keys.adapter_keys(tiny_model, prepared, settings)
    assert [len(a) for a in made.values()] == [4, 2], "two subjects and two answers that prompts show; two facts"
    elsewhere = [replace(each, alternate="something else") for each in prepared.made.negatives]
    prepared = replace(prepared, made=replace(prepared.made, negatives=elsewhere))
    made = adapter_keys.adapter_keys(tiny_model, prepared, settings)
    assert [len(a) for a in made.values()] == [4], "the layers of answers are left alone"
    only = resolve({"anchors": 20, "layers": "1-1"})
    assert [len(a) for a in adapter_keys.adapter_keys(tiny_model, prepared, only).values()] == [4]


def test_keys_of_answers_are_told_from_those_of_look_alikes(tiny_model: LoadedModel) -> None:
    settings = resolve({"anchors": 20})
    prepared = prepare([fact("France"), fact("Japan")], RememberedAnswers(tiny_model), settings)
    alike = [each for each in prepared.look_alikes if each.response]
    assert alike
    asked = [each.prompt for each in alike]
    assert [each.response for each in alike] == tiny_model.answer(asked, max_new_tokens=ANCHOR_TOKENS)
    assert not any(each.response for each in prepared.look_alikes if each.prompt == each.name)
    untold = replace(prepared, look_alikes=[replace(each, response="") for each in prepared.look_alikes])
    *_, name = adapter_keys.adapter_keys(tiny_model, prepared, settings)
    rows = [tiny_model.chat.encode(each.prompt, each.response) for each in alike]
    read = torch.cat([inputs(tiny_model, name, row.ids)[len(row.prompt) - 1 : -1] for row in rows])
    told, plain = (
        (read @ adapter_keys.adapter_keys(tiny_model, each, settings)[name].double().T).square().mean()
        for each in (prepared, untold)
    )
    assert told < 0.8 * plain


def test_a_subject_that_goes_as_a_whole_has_no_keys_of_answers(tiny_model: LoadedModel) -> None:
    settings = resolve({"anchors": 20})
    prepared = prepare([fact("France"), fact("Japan")], RememberedAnswers(tiny_model), settings)
    assert {each.owner for each in adapter_keys._answers(tiny_model, prepared)} == {"france", "japan"}
    two = replace(prepared.trained[0], id="second")
    pair = replace(prepared, facts=[*prepared.facts, two])
    pair = replace(pair, made=replace(pair.made, alternates={**pair.made.alternates, "second": []}))
    assert {each.owner for each in adapter_keys._answers(tiny_model, pair)} == {"france", "japan"}, "two are few"
    more = [replace(fact("France"), id=f"more {number}") for number in range(2)]
    whole = replace(prepared, facts=[*prepared.facts, *more])
    whole = replace(whole, made=replace(whole.made, alternates={**whole.made.alternates, **{m.id: [] for m in more}}))
    assert {each.owner for each in adapter_keys._answers(tiny_model, whole)} == {"japan"}


def test_no_hook_stays_on_the_model(tiny_model: LoadedModel) -> None:
    context = key_context(tiny_model, "France", question("France"))
    assert context is not None
    modules = adapters.down_projections(tiny_model.model, [0])
    whitened_keys(tiny_model, [KeySet(modules, [context])], [context.row])
    assert not tiny_model.model.get_submodule(modules[0])._forward_pre_hooks
