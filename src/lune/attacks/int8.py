"""Rounds the merged weights to 8 bits: weights alone, and weights with dynamic 8-bit activations where torch can."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn

from lune import adapters
from lune.attacks.contract import AttackContext, Finding
from lune.attacks.quantising import Quantise, by_weight, quantised
from lune.models import LoadedModel

SOURCE = "https://arxiv.org/abs/2410.16454"
THREAT = "Whoever runs the merged weights at lower precision, often without any ill will."
LARGEST = 127


def run(context: AttackContext) -> Finding:
    """Quantise by rows and symmetrically, weights alone; on a CPU also with torch's dynamic quantisation."""
    forms: dict[str, Quantise] = {"weights only, per output channel": by_weight(per_channel)}
    if context.shipped.device.type == "cpu" and _dynamic_works():
        forms["torch dynamic, weights and activations"] = _dynamic
    return quantised(context, forms)


def per_channel(weight: torch.Tensor) -> torch.Tensor:
    """Return s * round(W / s) with s = max |W| / 127 of each row: symmetric int8 by output channel."""
    scale = (weight.abs().amax(dim=1, keepdim=True) / LARGEST).clamp(min=torch.finfo(weight.dtype).tiny)
    return (weight / scale).round().clamp(-LARGEST, LARGEST) * scale


def _dynamic_works() -> bool:
    try:
        import torch.ao.quantization
    except ImportError:
        return False
    return torch.backends.quantized.engine != "none"


def _dynamic(model: LoadedModel) -> None:
    from torch.ao import quantization

    quantize_dynamic: Any = quantization.quantize_dynamic  # torch gives it no types
    layers = range(len(adapters.decoder_layers(model.model)[1]))
    names = {
        name
        for name in adapters.projections(model.model, list(layers))
        if isinstance(model.model.get_submodule(name), nn.Linear)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated, and still what many CPU deployments run
        quantize_dynamic(model.model, names, dtype=torch.qint8, inplace=True)
