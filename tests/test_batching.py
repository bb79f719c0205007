"""Shared prefixes and left padding change nothing: every row gets the logits it would get alone."""

from __future__ import annotations

import pytest
import torch
from transformers import DynamicLayer

from architectures import CONFIGS, make_random
from lune.batching import _RoomyLayer, batches, last_positions, make_batch, response_logits
from lune.chat import Encoded

CPU = torch.device("cpu")
PAIRS = [
    ("Name a colour.", "Paris"),
    ("What is the capital of France?", "The capital of France is Paris."),
    ("What is the capital of France? Name a colour. Name a colour.", "France is"),
]


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("family", CONFIGS)
def test_every_family_gives_a_row_in_a_batch_the_logits_of_a_plain_forward_pass(family: str, chat: bool) -> None:
    loaded = make_random(family, chat=chat)
    rows = [loaded.chat.encode(*pair) for pair in PAIRS]
    batch = make_batch(rows, [0, 1, 2], loaded.pad_id, CPU)
    if chat:
        assert len(batch.prefix) > 5, "the template's system message is shared"
    logits, targets, owners = response_logits(loaded.model, batch, config=loaded.model.config)
    for place, row in enumerate(rows):
        alone = loaded.model(input_ids=torch.tensor([row.ids])).logits[0]
        start = len(row.prompt) - 1
        assert targets[owners == place].tolist() == list(row.response)
        torch.testing.assert_close(logits[owners == place], alone[start : start + len(row.response)])


@pytest.mark.parametrize("window", [8, 20, 40])
def test_an_attention_window_shorter_than_the_rows_is_kept_exactly(window: int) -> None:
    loaded = make_random("mistral", sliding_window=window)
    assert loaded.model.config.sliding_window == window
    rows = [loaded.chat.encode(*pair) for pair in PAIRS]
    batch = make_batch(rows, [0, 1, 2], loaded.pad_id, CPU)
    logits, _, owners = response_logits(loaded.model, batch, config=loaded.model.config)
    for place, row in enumerate(rows):
        alone = loaded.model(input_ids=torch.tensor([row.ids])).logits[0, len(row.prompt) - 1 : -1]
        torch.testing.assert_close(logits[owners == place], alone, atol=1e-4, rtol=1e-4)
    prompts = [prompt for prompt, _ in PAIRS]
    assert loaded.answer(prompts, max_new_tokens=8) == [loaded.answer([p], max_new_tokens=8)[0] for p in prompts]


def test_a_joined_batch_holds_the_same_rows() -> None:
    rows = [Encoded((5, 6, 7, 8), (9,)), Encoded((5, 6, 4), (3,)), Encoded((5, 6, 7), (3,))]
    joined = make_batch(rows, [0, 1, 2], 0, CPU).joined()
    plain = make_batch(rows, [0, 1, 2], 0, CPU, share=False)
    assert joined.ids.tolist() == plain.ids.tolist()
    assert joined.mask.tolist() == plain.mask.tolist()
    assert joined.positions.tolist() == plain.positions.tolist()
    assert joined.prefix.tolist() == []


def test_gradients_flow_through_the_shared_prefix() -> None:
    loaded = make_random("llama")
    weight = loaded.model.model.layers[0].self_attn.v_proj.weight.requires_grad_()
    rows = [loaded.chat.encode(*pair) for pair in PAIRS]
    gradients = []
    for share in (True, False):
        logits, targets, _ = response_logits(
            loaded.model, make_batch(rows, [0, 1, 2], loaded.pad_id, CPU, share=share), config=loaded.model.config
        )
        loss = torch.nn.functional.cross_entropy(logits, targets)
        gradients.append(torch.autograd.grad(loss, weight)[0])
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


def test_what_rows_share_stands_once_in_front_and_the_rest_is_padded_on_the_left() -> None:
    rows = [Encoded((5, 6, 7, 8), (9,)), Encoded((5, 6, 4), (3, 2, 1))]
    batch = make_batch(rows, [0, 1], 0, CPU)
    assert batch.prefix.tolist() == [5, 6]
    assert batch.ids.tolist() == [[0, 7, 8, 9], [4, 3, 2, 1]]
    assert batch.full_mask.tolist() == [[1, 1, 0, 1, 1, 1], [1, 1, 1, 1, 1, 1]]
    assert batch.positions.tolist() == [[2, 2, 3, 4], [2, 3, 4, 5]]
    assert batch.responses.tolist() == [1, 3]


def test_the_last_prompt_token_of_each_row_stays_outside_the_prefix() -> None:
    # Its logits predict the response's first token.
    batch = make_batch([Encoded((5, 6), (7,)), Encoded((5, 6), (8,))], [0, 1], 0, CPU)
    assert batch.prefix.tolist() == [5]
    assert batch.ids.tolist() == [[6, 7], [6, 8]]


def test_rows_of_like_length_share_a_batch_and_know_where_they_came_from() -> None:
    rows = [Encoded(tuple(range(length))) for length in (9, 2, 8, 3)]
    made = list(batches(rows, 2, 0, CPU))
    assert [batch.order for batch in made] == [[1, 3], [2, 0]]


def test_last_positions_is_an_index_of_the_end() -> None:
    assert last_positions(7, 3, CPU).tolist() == [4, 5, 6]


def test_keys_and_values_written_in_place_are_those_of_a_growing_copy_also_past_the_room_made_for_them() -> None:
    torch.manual_seed(0)
    roomy, growing = _RoomyLayer(room=2), DynamicLayer()  # type: ignore[no-untyped-call]

    def grow(rows: int, tokens: int) -> None:
        new = torch.randn(2, rows, 3, tokens, 4)
        for found, expected in zip(roomy.update(*new), growing.update(*new), strict=True):
            assert torch.equal(found, expected)
        assert roomy.get_seq_length() == growing.get_seq_length()

    grow(1, 5)
    for layer in (roomy, growing):
        layer.batch_repeat_interleave(4)
    grow(4, 3)
    before = roomy.keys
    grow(4, 1)
    assert before is not None and roomy.keys.data_ptr() == before.data_ptr(), "nothing was copied"
    for layer in (roomy, growing):
        layer.batch_select_indices(torch.tensor([0, 3]))
    for tokens in (1, 1, 4, 1):
        grow(2, tokens)
