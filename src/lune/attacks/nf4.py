"""Rounds the merged weights to the 4 bits of NF4, as bitsandbytes loads them."""

from __future__ import annotations

import importlib.util

import torch

from lune.attacks.contract import AttackContext, Finding
from lune.attacks.quantising import by_weight, quantised

SOURCE = "https://arxiv.org/abs/2305.14314"
THREAT = "Whoever loads the merged weights in 4 bits, as is common on small machines, often without any ill will."
BLOCK = 64


def missing() -> str | None:
    """Return why this cannot be tried here: bitsandbytes is an extra."""
    if importlib.util.find_spec("bitsandbytes") is None:
        return "bitsandbytes is not installed; pip install 'lune-unlearn[quant]'."
    return None


def run(context: AttackContext) -> Finding:
    """Quantise every projection with bitsandbytes' own NF4 code, and compute with what it stands for in float32."""
    return quantised(context, {f"NF4, blocks of {BLOCK}": by_weight(round_trip)})


def round_trip(weight: torch.Tensor) -> torch.Tensor:
    """Return the weight as NF4 keeps it: each block of 64 scaled by its largest, to the 16 quantiles of a normal."""
    from bitsandbytes import functional

    packed, state = functional.quantize_4bit(weight, blocksize=BLOCK, quant_type="nf4")
    result: torch.Tensor = functional.dequantize_4bit(packed, state)
    return result
