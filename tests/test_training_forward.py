"""The forward pass of training gives what the plain padded pass gives: packed rows, kept states, lean LoRA layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn

from architectures import make_random
from lune import adapters
from lune.batching import make_batch, response_logits
from lune.chat import Encoded
from lune.models import LoadedModel
from lune.packed_rows import pack, packed_attention, shared_tokens
from lune.settings import resolve
from lune.training import lean_lora
from lune.training.forward import ResponseForward

Tensor = torch.Tensor
PAIRS = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Name a colour.", "Paris"),
    ("Question: \nAnswer:", "What is France?"),
    ("What is the capital of France?", "is"),
]


def encoded(model: LoadedModel, pairs: Sequence[tuple[str, str]] = PAIRS) -> list[Encoded]:
    return [model.chat.encode(prompt, response) for prompt, response in pairs]


def adapted(family: str, layers: str = "all", *, dropout: float = 0.0, **more: Any) -> LoadedModel:
    """Return a random model with a LoRA adapter that does something."""
    model = make_random(family, **more)
    adapters.attach(model, resolve({"adapter": "lora", "layers": layers, "rank": 3, "dropout": dropout}), None)
    generator = torch.Generator().manual_seed(4)
    tensors = adapters.state(model.model)
    moved = {name: 0.3 * torch.randn(tensor.shape, generator=generator) for name, tensor in tensors.items()}
    adapters.load_state(model.model, moved)
    return model


def losses_and_gradients(model: LoadedModel, logits: Tensor, targets: Tensor) -> tuple[Tensor, list[Tensor]]:
    losses = nn.functional.cross_entropy(logits.float(), targets, reduction="none")
    losses.sum().backward()  # type: ignore[no-untyped-call]
    gradients = [weight.grad.clone() for weight in adapters.trained(model.model) if weight.grad is not None]
    for weight in adapters.trained(model.model):
        weight.grad = None
    return losses.detach(), gradients


def plain(model: LoadedModel, rows: Sequence[Encoded]) -> tuple[Tensor, Tensor, Tensor]:
    batch = make_batch(rows, list(range(len(rows))), model.pad_id, model.device)
    return response_logits(model.model, batch, config=model.model.config)


@pytest.mark.parametrize("layers", ["all", "top:1"])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "gemma", "phi", "gpt2", "gpt_neox"])
def test_losses_and_gradients_are_those_of_the_padded_pass(family: str, layers: str) -> None:
    model = adapted(family, layers)
    rows = encoded(model)
    logits, targets, owners = plain(model, rows)
    expected = losses_and_gradients(model, logits, targets)
    forward = ResponseForward(model, 1 if layers == "top:1" else 0, 1.0)
    for _ in range(2):  # the second time from what is kept
        found_logits, found_targets, found_owners = forward(rows)
        found = losses_and_gradients(model, found_logits, found_targets)
        assert forward.plain_because == ""
        assert torch.equal(found_targets, targets)
        assert torch.equal(found_owners, owners)
        assert torch.allclose(found[0], expected[0], atol=1e-4)
        assert len(found[1]) == len(expected[1]) > 0
        for one, other in zip(found[1], expected[1], strict=True):
            assert (one - other).norm() <= 1e-3 * other.norm()
    assert forward.frozen.texts == (4 if layers == "top:1" else 0)
    forward.close()


def test_frozen_layers_run_once_a_text_and_the_rest_every_time() -> None:
    model = adapted("llama", "top:1")
    rows = encoded(model)
    forward = ResponseForward(model, 1, 1.0)
    ran = [0, 0]
    for place, layer in enumerate(adapters.decoder_layers(model.model)[1]):
        name = "down_proj"
        getattr(layer.mlp, name).register_forward_hook(  # type: ignore[union-attr]
            lambda *_, place=place: ran.__setitem__(place, ran[place] + 1)
        )
    forward(rows[:3])
    before = list(ran)
    forward(rows[:3])
    assert [after - then for after, then in zip(ran, before, strict=True)] == [0, 1]
    forward(rows)  # one of them is new
    assert forward.frozen.texts == 4
    assert ran[0] == before[0] + 1


@pytest.mark.parametrize("layers", ["all", "top:1"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma"])
def test_layers_computed_again_give_the_same_gradients_and_remember_less(family: str, layers: str) -> None:
    model = adapted(family, layers)
    rows = encoded(model)
    frozen = 1 if layers == "top:1" else 0

    def run(recompute: bool) -> tuple[tuple[Tensor, list[Tensor]], int, int]:
        forward = ResponseForward(model, frozen, 1.0, recompute=recompute)
        forward(rows)  # the first call also compares the ways of computing
        ran, remembered = [0], [0]

        def remember(tensor: Tensor) -> Tensor:
            remembered[0] += tensor.numel()
            return tensor

        last = adapters.decoder_layers(model.model)[1][-1]
        hook = last.register_forward_pre_hook(lambda *_: ran.__setitem__(0, ran[0] + 1))
        inner = next(module for module in last.modules() if isinstance(module, LoraLinear))
        again = inner.register_forward_pre_hook(lambda *_: ran.__setitem__(0, ran[0] + 10))
        with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
            logits, targets, _ = forward(rows)
        found = losses_and_gradients(model, logits, targets)
        hook.remove()
        again.remove()
        assert forward.plain_because == ""
        forward.close()
        return found, ran[0], remembered[0]

    expected, ran, remembered = run(recompute=False)
    found, ran_again, remembered_less = run(recompute=True)
    assert (ran, ran_again) == (11, 21), "the layer is entered once, its maps run once more on the way back"
    assert remembered_less < 0.7 * remembered
    assert torch.allclose(found[0], expected[0], atol=1e-5)
    for one, other in zip(found[1], expected[1], strict=True):
        assert (one - other).norm() <= 1e-4 * other.norm()


def test_states_beyond_the_budget_are_kept_in_a_file_and_read_back() -> None:
    model = adapted("llama", "top:1")
    rows = encoded(model)
    small = ResponseForward(model, 1, 0.0)
    large = ResponseForward(model, 1, 1.0)
    assert torch.equal(small(rows)[0], large(rows)[0])
    size = sum(len(row.ids) for row in rows) * 32 * 4 / 1e6
    assert (small.frozen.in_memory_mb, small.frozen.on_disk_mb) == pytest.approx((0.0, size))
    assert (large.frozen.in_memory_mb, large.frozen.on_disk_mb) == pytest.approx((size, 0.0))
    small.close()
    large.close()
    assert small.frozen.texts == 0


def test_a_model_whose_attention_needs_more_takes_the_plain_pass_and_says_why() -> None:
    model = adapted("mistral", sliding_window=8)
    rows = encoded(model)
    expected = plain(model, rows)[0]
    forward = ResponseForward(model)
    assert torch.allclose(forward(rows)[0], expected, atol=1e-3)
    assert "window" in forward.plain_because


def test_a_text_longer_than_the_window_that_comes_later_ends_the_packing() -> None:
    model = adapted("mistral", sliding_window=52)
    rows = encoded(model)
    assert max(len(row.ids) for row in rows) <= 52
    forward = ResponseForward(model)
    forward(rows)
    assert forward.plain_because == ""
    longer = encoded(model, [*PAIRS, ("What is the capital of France? " * 4, "Paris")])
    found, targets, _ = forward(longer)
    assert len(found) == len(targets)
    assert "window" in forward.plain_because
    assert torch.allclose(found, plain(model, longer)[0], atol=1e-3)


def test_one_row_decides_nothing() -> None:
    model = adapted("llama")
    layer = adapters.decoder_layers(model.model)[1][0]
    layer.register_forward_hook(lambda _layer, _inputs, output: output + 0.5 * output.roll(1, dims=1))
    rows = encoded(model)
    forward = ResponseForward(model)
    assert torch.allclose(forward(rows[:1])[0], plain(model, rows[:1])[0], atol=1e-3)
    forward(rows)
    assert "other logits" in forward.plain_because


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma"])
@pytest.mark.parametrize("prompts", [("a",) * 3, ("What is the capital of France?" * 3,) * 3])
def test_a_long_shared_beginning_or_none_changes_nothing(family: str, prompts: tuple[str, ...]) -> None:
    model = adapted(family, chat=False)
    responses = ("Paris", "is", "The capital")
    rows = encoded(model, list(zip(prompts, responses, strict=True)))
    if len(prompts[0]) == 1:
        rows = [Encoded(row.prompt[-1:], row.response) for row in rows]
    logits, targets, _ = plain(model, rows)
    expected = losses_and_gradients(model, logits, targets)
    forward = ResponseForward(model)
    found = losses_and_gradients(model, *forward(rows)[:2])
    assert forward.plain_because == ""
    assert pack(rows, model.device).apart == (len(prompts[0]) > 1)
    assert torch.allclose(found[0], expected[0], atol=1e-3)
    for one, other in zip(found[1], expected[1], strict=True):
        assert (one - other).norm() <= 1e-3 * other.norm()


def test_maps_that_compute_in_their_own_way_keep_it() -> None:
    model = adapted("llama")
    rows = encoded(model)
    layer = next(module for module in model.model.modules() if isinstance(module, LoraLinear))
    base: Any = layer.get_base_layer()
    base.register_forward_hook(lambda _map, _inputs, output: 3 * output)
    expected = plain(model, rows)[0]
    assert torch.allclose(ResponseForward(model)(rows)[0], expected, atol=1e-3)


def test_an_interrupted_block_leaves_the_layers_as_they_were() -> None:
    model = adapted("llama", "top:1")
    rows = encoded(model)
    forward = ResponseForward(model, 1, 1.0)
    expected = forward(rows)[0]
    head = model.model.get_output_embeddings()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    handle = head.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        forward(rows)
    handle.remove()
    assert model.model.config._attn_implementation == "sdpa"
    assert not any("forward" in module.__dict__ for module in model.model.modules())
    assert torch.allclose(plain(model, rows)[0], expected, atol=1e-3)


def test_a_model_that_packed_rows_would_change_takes_the_plain_pass() -> None:
    model = adapted("llama")
    rows = encoded(model)
    expected = plain(model, rows)[0]
    layer = adapters.decoder_layers(model.model)[1][0]
    # A layer that looks from one place of the sequence to the next, as convolutions and recurrent layers do.
    layer.register_forward_hook(lambda _layer, _inputs, output: output + 0.5 * output.roll(1, dims=1))
    unpacked = plain(model, rows)[0]
    forward = ResponseForward(model)
    assert torch.allclose(forward(rows)[0], unpacked, atol=1e-3)
    assert not torch.allclose(unpacked, expected, atol=1e-2)
    assert "other logits" in forward.plain_because


def test_dropout_falls_on_the_adapter_alone_and_only_in_training() -> None:
    model = adapted("llama", dropout=0.5)
    rows = encoded(model)
    forward = ResponseForward(model)
    model.model.eval()
    expected = plain(model, rows)[0]
    assert torch.allclose(forward(rows)[0], expected, atol=1e-3)
    adapters.training_mode(model.model)
    torch.manual_seed(0)
    dropped = forward(rows)[0]
    assert not torch.allclose(dropped, expected, atol=1e-2)
    torch.manual_seed(0)
    assert torch.allclose(forward(rows)[0], dropped)
    with model.model.disable_adapter(), torch.no_grad():
        assert torch.allclose(forward(rows)[0], plain(model, rows)[0], atol=1e-4)


def test_a_dropped_input_is_dropped_on_the_way_back_as_well() -> None:
    torch.manual_seed(0)
    x, a, b = (torch.randn(size, requires_grad=True, dtype=torch.float64) for size in ((5, 8), (2, 8), (3, 2)))
    weight = torch.randn(3, 8, dtype=torch.float64)
    mask = lean_lora._mask(x, 0.5)
    product: Any = lean_lora._AdaptedProduct.apply
    assert torch.allclose(product(x, weight, None, a, b, 0.7, mask), x @ weight.T + 0.7 * (x * mask) @ a.T @ b.T)
    assert torch.autograd.gradcheck(lambda *given: product(given[0], weight, None, *given[1:], 0.7, mask), (x, a, b))


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_a_mask_drops_its_share_and_keeps_the_mean(share: float) -> None:
    torch.manual_seed(0)
    mask = lean_lora._mask(torch.zeros(399, 501), share)
    assert sorted(mask.unique().tolist()) == pytest.approx([0.0, 1 / (1 - share)])
    assert (mask == 0).float().mean().item() == pytest.approx(share, abs=0.005)
    assert mask.mean().item() == pytest.approx(1, abs=0.01)
    # Neighbouring numbers come of one draw and must not go together.
    together = ((mask[:, :-1] == 0) & (mask[:, 1:] == 0)).float().mean().item()
    assert together == pytest.approx(share**2, abs=0.005)


def test_half_precision_products_move_float32_adapters() -> None:
    model = adapted("llama")
    rows = encoded(model)
    exact = losses_and_gradients(model, *ResponseForward(model)(rows)[:2])
    half = model.copied(torch.bfloat16)
    for weight in adapters.trained(half.model):
        weight.data = weight.data.float()
    found = losses_and_gradients(half, *ResponseForward(half)(rows)[:2])
    assert {gradient.dtype for gradient in found[1]} == {torch.float32}
    one, other = (torch.cat([gradient.flatten() for gradient in each]) for each in (found[1], exact[1]))
    assert nn.functional.cosine_similarity(one, other, dim=0) > 0.8


def test_packed_rows_hold_every_token_once() -> None:
    model = make_random("llama")
    rows = encoded(model)
    shared = shared_tokens(rows)
    packed = pack(rows, model.device)
    assert packed.shared == shared > 0
    assert packed.ids.shape[1] == shared + sum(len(row.ids) - shared for row in rows)
    assert packed.targets.tolist() == [token for row in rows for token in row.response]
    behind = torch.cat([packed.ids[0], torch.tensor([-1])])[packed.predicting + 1]
    inside = torch.diff(packed.owners, append=torch.tensor([-1])) == 0  # else the next token is of another row
    assert torch.equal(behind[inside], packed.targets[inside])


def test_the_attention_of_a_model_is_its_own_again_behind_the_block() -> None:
    model = make_random("llama")
    packed = pack(encoded(model), model.device)
    with packed_attention(model.model, packed):
        assert model.model.config._attn_implementation != "sdpa"
    assert model.model.config._attn_implementation == "sdpa"
