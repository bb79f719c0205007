"""Rounds the merged weights to GGUF's Q4_0, the 4 bits that llama.cpp and its kin run."""

from __future__ import annotations

import torch
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize

from lune.attacks.contract import AttackContext, Finding
from lune.attacks.quantising import by_weight, quantised

SOURCE = "https://github.com/ggml-org/ggml/blob/master/docs/gguf.md"
THREAT = "Whoever converts the merged weights for a local runner, often without any ill will."
BLOCK = 32


def run(context: AttackContext) -> Finding:
    """Quantise every projection with the quantiser of the gguf package, which the converter uses as well."""
    return quantised(context, {"Q4_0": by_weight(round_trip)})


def round_trip(weight: torch.Tensor) -> torch.Tensor:
    """Return the weight as Q4_0 keeps it, in blocks of 32; rows that are no multiple of 32 wide stay as they are."""
    if weight.shape[1] % BLOCK:
        return weight
    kind = GGMLQuantizationType.Q4_0
    values = dequantize(quantize(weight.cpu().numpy(), kind), kind)
    return torch.from_numpy(values).to(weight.device)
