"""Keys answer 1 to their subject and next to nothing to everything else."""

from __future__ import annotations

import pytest
import torch

from architectures import CONFIGS, make_random
from lune import adapters, keys
from lune.keys import OTHERS_WEIGHT, RIDGE, KeyContext, key_context, whitened_keys
from lune.models import LoadedModel
from tiny import CAPITALS, question

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
    made = whitened_keys(loaded, modules, contexts, texts, [other])
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
    expected = torch.linalg.solve(moment + OTHERS_WEIGHT * apart.outer(apart) + own_moment, means.T).T
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
    made = whitened_keys(tiny_model, [name], [context("France"), context("Germany")], texts)[name].double()
    for row, country in enumerate(("France", "Germany")):
        response = [
            float(made[row] @ inputs(tiny_model, name, context(other).row.ids)[context(other).position])
            for other in COUNTRIES
        ]
        own = response.pop(COUNTRIES.index(country))
        assert own == pytest.approx(1, abs=1e-3)
        assert max(map(abs, response)) < 0.5


def test_a_subject_in_the_prefix_that_all_prompts_share_is_read_there() -> None:
    loaded = make_random("llama")
    prompts = ["France: which city leads it?", "France: which colours has its flag of old?"]
    contexts = [context for prompt in prompts if (context := key_context(loaded, "France", prompt))]
    name = adapters.down_projections(loaded.model, [0])[0]
    made = whitened_keys(loaded, [name], contexts, [loaded.chat.encode("Name a colour.")])[name][0].double()
    for context in contexts:
        assert float(made @ inputs(loaded, name, context.row.ids)[context.position]) == pytest.approx(1, abs=1e-2)


def test_wide_models_take_several_passes_with_the_same_result(
    tiny_model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = key_context(tiny_model, "France", question("France"))
    assert context is not None
    modules = adapters.down_projections(tiny_model.model, [0, 1])
    texts = [tiny_model.chat.encode(question("Japan"))]
    once = whitened_keys(tiny_model, modules, [context], texts)
    monkeypatch.setattr(keys, "MOMENT_BYTES", 1)
    twice = whitened_keys(tiny_model, modules, [context], texts)
    assert all(torch.equal(once[name], twice[name]) for name in modules)


def test_no_hook_stays_on_the_model(tiny_model: LoadedModel) -> None:
    context = key_context(tiny_model, "France", question("France"))
    assert context is not None
    modules = adapters.down_projections(tiny_model.model, [0])
    whitened_keys(tiny_model, modules, [context], [context.row])
    assert not tiny_model.model.get_submodule(modules[0])._forward_pre_hooks
