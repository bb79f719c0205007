"""Decoder layers that remember only what enters them, and run again on the way back: less memory, more time.

What the layers compute depends on blocks that are left by then (packed attention, lean LoRA layers), so these are
entered again for every layer that runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputed(layers: Sequence[nn.Module], inside: Callable[[], AbstractContextManager[object]]) -> Iterator[None]:
    """Let ``layers`` forget what they compute, inside the block, where gradients are wanted.

    Args:
        layers: Decoder layers without anything that a second run would change, such as a key/value cache.
        inside: Makes the blocks that a layer must stand in to compute the same again.
    """
    if not torch.is_grad_enabled():
        yield
        return
    try:
        for layer in layers:
            plain = layer.forward
            layer.forward = partial(
                checkpoint, plain, use_reentrant=False, context_fn=lambda: (nullcontext(), inside())
            )
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)
