"""What the attacks by quantisation share: the merged and the base model, quantised alike and asked the same.

Only the projections inside the decoder layers are quantised, as the common loaders do; embeddings and the output head
keep their precision.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from lune import adapters
from lune.attacks.contract import AttackContext, Attempt, Finding, direct_answers
from lune.models import LoadedModel
from lune.packing import pack_linears, unpack_linears

Quantise = Callable[[LoadedModel], None]
"""Quantises the projections of a model in place."""


def quantised(context: AttackContext, forms: Mapping[str, Quantise]) -> Finding:
    """Ask every fact of the merged model and of the base model in each quantised form.

    Each form is a way to ship the model, so the one that gives back most is reported.
    """
    found: list[list[Attempt]] = []
    for factor in (1.0, 0.0):
        attempts: list[Attempt] = []
        for name, quantise in forms.items():
            model = adapters.merged(context.shipped, factor=factor)
            unpack_linears(model.model)
            quantise(model)
            pack_linears(model.model)
            attempts += context.attempts(name, direct_answers(model, context.facts))
        found.append(attempts)
    note = "The merged model and the base model were quantised alike: decoder projections only."
    return Finding(found[0], found[1], strongest_form=True, details={"note": note})


def by_weight(round_trip: Callable[[torch.Tensor], torch.Tensor]) -> Quantise:
    """Return what replaces every projection's weight by what quantising and dequantising leaves of it.

    Args:
        round_trip: Takes and returns a float32 weight, [outputs, inputs].
    """

    def quantise(model: LoadedModel) -> None:
        layers = range(len(adapters.decoder_layers(model.model)[1]))
        for name in adapters.projections(model.model, list(layers)):
            module = model.model.get_submodule(name)
            turned = not isinstance(module, torch.nn.Linear)  # GPT-2's Conv1D keeps its weight as [inputs, outputs]
            weight = module.weight.data.T if turned else module.weight.data
            result = round_trip(weight.contiguous().float())
            module.weight.data.copy_(result.T if turned else result)

    return quantise
