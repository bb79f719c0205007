"""LoRA layers without what costs a small batch its time: y = W x + s B A x as one step forward and one back.

PEFT's layer casts its input to the adapter's precision, makes three products, a scaled copy and a sum, each remembered
for the way back. Here the products run in the precision of the frozen weights, the update is added into the first
product's result, and for the way back only A x is kept, beside x where A is trained. A and B stay what the optimiser
moves, in their own precision, so half-precision products train float32 adapters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from transformers.pytorch_utils import Conv1D

Tensor = torch.Tensor


class _AdaptedProduct(torch.autograd.Function):
    """y = x W^T + bias + s (m x A^T) B^T for x [N, I], W [O, I], A [R, I], B [O, R]; W and the bias are frozen.

    The mask m [N, I] of a dropout, 0 or 1 / (1 - p), is all that is kept of it; None without dropout.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 (autograd functions take no names)
        context: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scale: float,
        mask: Tensor | None,
    ) -> Tensor:
        """Return y [N, O] in the precision of ``x``."""
        down, up = a.to(x.dtype), b.to(x.dtype)
        seen = x if mask is None else x * mask
        inner = seen @ down.T
        y = x @ weight.T if bias is None else torch.addmm(bias, x, weight.T)
        y.addmm_(inner, up.T, alpha=scale)
        context.save_for_backward(seen if a.requires_grad else None, inner, weight, down, up, mask)
        context.scale, context.precisions = scale, (a.dtype, b.dtype)
        return y

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients by x, A and B; None where nobody asks for one."""
        (gradient,) = gradients
        seen, inner, weight, down, up, mask = context.saved_tensors
        wanted = context.needs_input_grad
        by_inner = (gradient @ up).mul_(context.scale)
        by_x = None
        if wanted[0]:
            by_x = gradient @ weight
            by_x = by_x.addmm_(by_inner, down) if mask is None else by_x.addcmul_(by_inner @ down, mask)
        by_a = (by_inner.T @ seen).to(context.precisions[0]) if wanted[3] else None
        by_b = (gradient.T @ inner).mul_(context.scale).to(context.precisions[1]) if wanted[4] else None
        return by_x, None, None, by_a, by_b, None, None


def _mask(x: Tensor, share: float) -> Tensor:
    """Return 0 with probability ``share``, else 1 / (1 - share), for every number of ``x``.

    torch's own dropout draws a number of 64 bits for each on a CPU and takes a third of a training step. Here four
    share one, so ``share`` is met to 1 in 65,536.
    """
    if x.device.type != "cpu":
        return nn.functional.dropout(torch.ones_like(x), share)
    drawn = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    levels = drawn.view(torch.int16)[: x.numel()].view_as(x)
    return (levels >= round(share * 2**16) - 2**15).to(x.dtype).mul_(1 / (1 - share))


@contextmanager
def lean_lora(model: nn.Module) -> Iterator[None]:
    """Let the model's LoRA layers compute as above inside the block; layers of another kind stay as they are."""
    layers = [module for module in model.modules() if isinstance(module, LoraLinear) and _fits(module)]
    try:
        for layer in layers:
            layer.forward = partial(_forward, layer)  # type: ignore[method-assign]
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def _fits(layer: LoraLinear) -> bool:
    """Return whether the layer is plain LoRA on a plain frozen map: what is derived from one may compute otherwise."""
    base = layer.get_base_layer()
    if type(base) not in (nn.Linear, Conv1D) or base._forward_hooks or base._forward_pre_hooks:
        return False
    # float16 has too little room for the products behind the gradients of A and B.
    plain = base.weight.dtype in (torch.float32, torch.bfloat16) and not base.weight.requires_grad
    own = "forward" in layer.__dict__ or bool(layer.lora_variant) or any(layer.lora_bias.values())
    return plain and not own


def _forward(layer: LoraLinear, x: Tensor, *arguments: Any, **named: Any) -> Tensor:
    """Return what the layer gives for x [..., I]."""
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if not torch.is_grad_enabled() or layer.disable_adapters or layer.merged or len(active) != 1:
        return LoraLinear.forward(layer, x, *arguments, **named)
    (name,) = active
    base: Any = layer.get_base_layer()
    weight = base.weight.T if isinstance(base, Conv1D) else base.weight
    a, b, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    flat = x.reshape(-1, x.shape[-1])
    dropout = layer.lora_dropout[name]
    share = dropout.p if isinstance(dropout, nn.Dropout) and dropout.training else 0.0
    mask = _mask(flat, share) if share else None
    y = _AdaptedProduct.apply(flat, weight, base.bias, a, b, scale, mask)  # type: ignore[no-untyped-call]
    shaped: Tensor = y.reshape(*x.shape[:-1], y.shape[-1])
    return shaped
