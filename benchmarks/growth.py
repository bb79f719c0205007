"""Time and memory of one whole pass against the number of facts, at two model sizes."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from benchmarks.arms import settings_of, train
from benchmarks.material import first_facts, tokens
from benchmarks.measures import PeakMemory, take_first_steps
from benchmarks.plan import WIDE_FAST_LAYERS
from lune.hardware import pick_device, pick_dtype, pick_evaluation_dtype
from lune.models import LoadedModel, load_model
from lune.packing import pack_linears
from lune.preparation import Prepared

WIDTH_FACTOR = 4
WIDE_LAYERS = 6


def load(size: str, source: str) -> LoadedModel:
    """Return the model itself, or a random one of its family, four times as wide and of few layers."""
    loaded = load_model(source)
    if size == "built-in":
        return loaded
    config: Any = AutoConfig.from_pretrained(loaded.source)
    for name in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"):
        setattr(config, name, WIDTH_FACTOR * getattr(config, name))
    config.num_hidden_layers = min(WIDE_LAYERS, config.num_hidden_layers)
    config.layer_types = None
    torch.manual_seed(0)
    factory: Any = AutoModelForCausalLM
    network = factory.from_config(config)
    where = pick_device("auto")
    count = sum(parameter.numel() for parameter in network.parameters())
    network = network.to(where, pick_evaluation_dtype("auto", pick_dtype("auto", where), where, count))
    network.requires_grad_(False)
    network.eval()
    pack_linears(network)
    return LoadedModel(network, loaded.tokenizer, "wide", source, None, "")


def measure(arm: str, size: str, model: LoadedModel, prepared: Prepared, facts: int) -> dict[str, Any]:
    """Train one whole pass over the negatives of the first facts and return its time and memory.

    ``pass_s`` is the time of the steps alone; ``stage_s`` has also what stands before them once a run (copy of the
    model, keys, anchors' distributions).
    """
    part = first_facts(prepared, facts)
    layers = WIDE_FAST_LAYERS if size == "wide" and arm == "lune-fast" else None
    settings = settings_of(arm, passes=1, layers=layers)
    take_first_steps()
    with PeakMemory() as memory:
        trained = train(model, part, settings, lambda row: None)
    return {
        "pass_s": trained.outcome.seconds,
        "stage_s": trained.seconds,
        "memory_above_weights_mb": memory.above_mb,
        "steps": trained.outcome.steps,
        "negatives": len(part.made.negatives),
        "negative_tokens": tokens(model, part.made.negatives),
        "parameters": sum(parameter.numel() for parameter in model.model.parameters()),
        "trained_parameters": trained.parameters,
    }
