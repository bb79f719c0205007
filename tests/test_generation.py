"""Our decoding gives what transformers' own `generate` gives, row by row, and stops where it should."""

from __future__ import annotations

import pytest
import torch

from architectures import CONFIGS, make_random
from lune.chat import Encoded
from lune.generation import Chooser, decode
from lune.models import LoadedModel
from tiny import CAPITALS, question

PROMPTS = [
    "What is the capital of France?",
    "Name a colour.",
    "What is the capital of France? Name a colour. Tell me about Paris.",
    "is",
]


def generated(loaded: LoadedModel, rows: list[Encoded], count: int) -> list[list[int]]:
    """Return the ids that transformers' greedy `generate` writes after each row, up to a stop token."""
    result = []
    for row in rows:
        ids = torch.tensor([row.ids])
        stop = sorted(loaded.chat.stop_ids)
        whole = loaded.model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=count, eos_token_id=stop
        )
        new = whole[0, len(row.ids) :].tolist()
        result.append([token for token in new if token not in loaded.chat.stop_ids])
    return result


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("family", CONFIGS)
def test_a_batch_is_decoded_as_transformers_generates_each_row_alone(family: str, chat: bool) -> None:
    loaded = make_random(family, chat=chat)
    rows = [loaded.chat.encode(prompt) for prompt in PROMPTS]
    texts = loaded.answer(PROMPTS, max_new_tokens=12)
    assert len(set(texts)) > 1, "the answers depend on the prompts"
    for text, ids in zip(texts, generated(loaded, rows, 12), strict=True):
        expected = str(loaded.tokenizer.decode(ids, skip_special_tokens=True)).strip()
        assert text == (expected.splitlines()[0].strip() if expected else "")


def test_rows_that_end_early_leave_the_batch_and_the_others_go_on_as_before(tiny_model: LoadedModel) -> None:
    prompts = [question(country) for country in CAPITALS] + ["What colour is snow?", "Tell me about Japan."]
    expected = generated(tiny_model, [tiny_model.chat.encode(prompt) for prompt in prompts], 24)
    assert len({len(ids) for ids in expected}) > 2, "the rows end at different steps"
    assert tiny_model.answer(prompts) == [tiny_model.tokenizer.decode(ids).strip() for ids in expected]


def test_the_batch_size_changes_no_answer(tiny_model: LoadedModel) -> None:
    rows = [tiny_model.chat.encode(question(country)) for country in CAPITALS]

    def answers(batch_size: int) -> list[str]:
        return decode(
            tiny_model.model,
            tiny_model.tokenizer,
            rows,
            stop_ids=tiny_model.chat.stop_ids,
            max_new_tokens=12,
            batch_size=batch_size,
            choose=Chooser(),
        )

    assert answers(1) == answers(5) == answers(100)
    assert answers(7) == [f"The capital of {country} is {capital}." for country, capital in CAPITALS.items()]


def test_max_new_tokens_cuts_an_answer(tiny_model: LoadedModel) -> None:
    assert tiny_model.answer([question("France")], max_new_tokens=2) == ["The capital"]


def test_a_system_message_replaces_the_templates_own(tiny_model: LoadedModel) -> None:
    rendered = tiny_model.chat.render("x", system="Be brief.")
    assert "Be brief." in rendered
    assert "Answer in one sentence." not in rendered


def test_sampling_repeats_with_its_seed_and_never_begins_with_a_banned_word() -> None:
    loaded = make_random("llama")
    first = loaded.sample(PROMPTS, count=3, seed=5, max_new_tokens=6)
    assert [len(texts) for texts in first] == [3, 3, 3, 3]
    assert loaded.sample(PROMPTS, count=3, seed=5, max_new_tokens=6) == first
    assert loaded.sample(PROMPTS, count=3, seed=6, max_new_tokens=6) != first


def test_a_banned_words_first_token_never_occurs(tiny_model: LoadedModel) -> None:
    asked = [question("France")]
    assert tiny_model.sample(asked, count=4, seed=0, temperature=0.01) == [["The capital of France is Paris."] * 4]
    banned = tiny_model.sample(asked, count=4, seed=0, temperature=0.01, banned=["Paris"])
    assert all("Paris" not in text for text in banned[0])


def test_choosing_is_greedy_at_temperature_zero_and_follows_the_odds_above() -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0]]).repeat(4000, 1)
    assert set(Chooser()(logits).tolist()) == {1}
    counts = torch.bincount(Chooser(1.0, seed=1)(logits), minlength=3) / 4000
    torch.testing.assert_close(counts, logits[0].softmax(-1), atol=0.03, rtol=0)
    assert 1 not in Chooser(1.0, seed=1, banned=[1])(logits).tolist()


def test_no_prompts_give_no_answers(tiny_model: LoadedModel) -> None:
    assert tiny_model.answer([]) == []
    assert tiny_model.sample([], count=3, seed=0) == []
    assert tiny_model.score([]) == []
