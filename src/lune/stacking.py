"""One request on top of another: the earlier adapter in the weights while training, both in one adapter when saved.

With the earlier update s1 B1 A1 and the new one s2 B2 A2, W + s1 B1 A1 + s2 B2 A2 is W plus one product: A's rows
stacked, B's columns side by side. So what ships is an ordinary LoRA adapter for the bare base model, whose rank is the
sum of both.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import LoraLayer

from lune import adapters
from lune.earlier import KINDS, EarlierRun, has_record
from lune.errors import ModelError
from lune.evaluation import ask, probe_scores
from lune.facts import read_probe_file
from lune.models import LoadedModel, load_model
from lune.records import EarlierScores

Tensor = torch.Tensor
Products = Mapping[str, tuple[Tensor, Tensor]]
"""By module: A [K, D] and scale * B [O, K]."""


@dataclass(frozen=True)
class Standing:
    """What a new request stands on.

    Attributes:
        run: The earlier run.
        base: The bare base model.
        products: The earlier adapter.
    """

    run: EarlierRun
    base: LoadedModel
    products: Products


def load_with(
    model_id: str, earlier: EarlierRun | None, *, device: str, dtype: str
) -> tuple[LoadedModel, Standing | None]:
    """Return the model, as it answers since an earlier request where there is one, and what it stands on then.

    Raises:
        ModelError: When it cannot be loaded, or the earlier run is of another one.
    """
    if earlier is None:
        return load_model(model_id, device=device, dtype=dtype), None
    # In float32 the sum of weights and adapter answers as weights with the adapter beside them do.
    return stand_on(load_model(model_id, device=device, dtype="float32"), earlier)


def stand_on(base: LoadedModel, run: EarlierRun) -> tuple[LoadedModel, Standing]:
    """Return the model as it answers since the earlier request, with the adapter in its weights, and what it stands on.

    Args:
        base: The bare base model, which stays as it is.
        run: The earlier run.

    Raises:
        ModelError: When the base model has other weights than that run's, or the adapter does not fit.
    """
    if run.sha256 and base.sha256 != run.sha256:
        raise ModelError(
            f"The weights of '{base.id}' are not those of {run.folder}: SHA-256 {base.sha256[:12]}..., "
            f"the run has {run.sha256[:12]}....",
            hint="name the model that the earlier run was made with by --model",
        )
    adapted = adapters.reload(base, run.adapter)
    products = products_of(adapted.model)
    model = adapters.merged(adapted)
    adapters.detach(adapted)
    return model, Standing(run, base, products)


def products_of(model: Any) -> dict[str, tuple[Tensor, Tensor]]:
    """Return a LoRA adapter's matrices, the scale in B, by full name of the module in the bare model."""
    found = {}
    for name, module in model.base_model.model.named_modules():
        if isinstance(module, LoraLayer):
            (own,) = module.active_adapters
            pair: Any = (module.lora_A[own], module.lora_B[own])
            a, b = (part.weight.detach().float() for part in pair)
            found[name] = (a.clone(), b * module.scaling[own])
    return found


def attach_both(standing: Standing, new: Products) -> LoadedModel:
    """Put the earlier adapter and the new one on the bare base model, in place, as one; return that model."""
    both = {
        name: [each[name] for each in (standing.products, new) if name in each]
        for name in dict.fromkeys([*standing.products, *new])
    }
    joined = {
        name: (torch.cat([a for a, _ in parts]), torch.cat([b for _, b in parts], 1)) for name, parts in both.items()
    }
    ranks = {name: len(a) for name, (a, _) in joined.items()}
    rank = max(ranks.values())
    model = adapters.attach_lora(
        standing.base, list(joined), rank=rank, alpha=float(rank), dropout=0.0, seed=0, ranks=ranks
    )
    for name, (a, b) in joined.items():
        layer = model.base_model.model.get_submodule(name)
        layer.lora_A["default"].weight.data.copy_(a)
        layer.lora_B["default"].weight.data.copy_(b)
    return standing.base


def keep_earlier_adapter(standing: Standing, folder: Path) -> None:
    """Put the earlier adapter at ``folder``: what was forgotten stays so where a new request trains nothing."""
    shutil.copytree(standing.run.adapter, folder)


def ask_earlier(model: LoadedModel, run: EarlierRun) -> list[EarlierScores]:
    """Ask the probes of all earlier requests again; of a folder that is gone only the name is returned.

    Raises:
        RequestError: When the probes of an earlier run cannot be read.
    """
    return [
        _ask_again(model, str(folder)) if has_record(folder) else EarlierScores(str(folder)) for folder in run.chain
    ]


def _ask_again(model: LoadedModel, folder: str) -> EarlierScores:
    stored = read_probe_file(f"{folder}/probes.jsonl")
    probes = [probe for probe in stored.probes if probe.kind in KINDS]
    answers = ask(model, probes)
    before = {probe.id: stored.before[probe.id] for probe in probes}
    scores = probe_scores(probes, [answers[probe.id] for probe in probes], before)
    known = sum(before[probe.id][1] for probe in probes if probe.kind == "direct")
    return EarlierScores(folder, known, scores["usr"], scores["paraphrase_usr"], scores["apr"], scores["gur_neighbour"])
