"""LoRA adapters: where they sit, attaching, integrity, saving and reloading.

Targets are found by what modules are, not by what a model family calls them: the decoder layers are the
model's longest list of equal blocks, and a projection is any linear map inside them.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from lune.errors import ConfigError, ModelError, RunError
from lune.models import LoadedModel
from lune.packing import pack_linears, unpack_linears
from lune.settings import AdapterKind, ForgetSettings

Tensor = torch.Tensor
KEYED_LAYERS = (1 / 15, 13 / 15)
"""From where to where in the depth ``auto`` places keyed adapters: not in the first and last few (docs/method.md)."""


def decoder_layers(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Return the name and the list of the model's decoder layers.

    Raises:
        ModelError: When there is no list of equal blocks.
    """
    lists = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len({type(block) for block in module}) == 1
    ]
    if not lists:
        raise ModelError(f"{type(model).__name__} has no list of decoder layers to adapt.", hint="use another model")
    return max(lists, key=lambda item: sum(p.numel() for p in item[1].parameters()))


def is_linear(module: nn.Module) -> bool:
    """Return whether ``module`` is a plain linear map (GPT-2's Conv1D is one)."""
    return isinstance(module, nn.Linear | Conv1D)


def sizes(module: nn.Module) -> tuple[int, int]:
    """Return (input width, output width) of a linear map."""
    rows, columns = module.weight.shape  # type: ignore[misc]
    return (int(rows), int(columns)) if isinstance(module, Conv1D) else (int(columns), int(rows))


def projections(model: nn.Module, layers: Sequence[int]) -> list[str]:
    """Return the full names of all attention and feed-forward projections in ``layers``."""
    root, blocks = decoder_layers(model)
    return [
        f"{root}.{layer}.{name}"
        for layer in layers
        for name, module in blocks[layer].named_modules()
        if is_linear(module)
    ]


def down_projections(model: nn.Module, layers: Sequence[int]) -> list[str]:
    """Return the full names of the feed-forward down-projections in ``layers``.

    A layer's down-projection is its linear map from the widest input back to the hidden width.

    Raises:
        ModelError: When a layer has none, as in models whose experts are fused.
    """
    root, blocks = decoder_layers(model)
    hidden = int(model.config.get_text_config().hidden_size)  # type: ignore[union-attr, operator]
    names = []
    for layer in layers:
        found = [
            (sizes(module)[0], name)
            for name, module in blocks[layer].named_modules()
            if is_linear(module) and sizes(module)[1] == hidden and sizes(module)[0] > hidden
        ]
        if not found:
            raise ModelError(
                f"Layer {layer} of {type(model).__name__} has no feed-forward down-projection for keyed adapters.",
                hint="use --adapter lora",
            )
        names.append(f"{root}.{layer}.{max(found)[1]}")
    return names


def training_mode(model: nn.Module) -> None:
    """Put the adapter's own dropout to work and no other: the base model must stay what the anchors recall."""
    model.eval()
    for name, module in model.named_modules():
        if "lora_dropout" in name:
            module.train()


def chosen_layers(text: str, total: int, kind: AdapterKind) -> list[int]:
    """Return the layers that ``--layers`` means for a model of ``total`` layers.

    Raises:
        ConfigError: When the text is none of ``all``, ``auto``, ``top:K``, ``A-B``, or out of range.
    """
    if text == "auto" and kind is AdapterKind.KEYED:
        low, high = KEYED_LAYERS
        return list(range(int(low * total), max(1, -int(-high * total // 1))))
    if text in {"all", "auto"}:
        return list(range(total))
    head, _, tail = text.partition(":") if text.startswith("top") else text.partition("-")
    if head == "top" and tail.isdigit() and 1 <= int(tail) <= total:
        return list(range(total - int(tail), total))
    if head.isdigit() and tail.isdigit() and int(head) <= int(tail) < total:
        return list(range(int(head), int(tail) + 1))
    raise ConfigError(
        f"--layers got '{text}'; allowed: all, auto, top:K with K up to {total}, or A-B within 0-{total - 1}.",
        hint="--layers auto",
    )


def attach(loaded: LoadedModel, settings: ForgetSettings, keys: Mapping[str, Tensor] | None) -> None:
    """Put a fresh adapter on the model, in place.

    Args:
        loaded: The model; its ``model`` becomes the PEFT model.
        settings: Adapter kind, layers, rank, alpha, dropout.
        keys: For keyed adapters, the down-projection A [K, D] of each module, by name. It is fixed; only B
            is trained. The rank is K, which may differ between modules.
    """
    ranks: dict[str, int] = {}
    if keys is not None:
        names = list(keys)
        ranks = {name: len(a) for name, a in keys.items()}
        rank = max(ranks.values())
        alpha, dropout = float(rank), 0.0
    else:
        total = len(decoder_layers(loaded.model)[1])
        names = projections(loaded.model, chosen_layers(settings.layers, total, settings.adapter))
        rank, alpha, dropout = settings.rank, settings.alpha, settings.dropout
    peft_model = attach_lora(loaded, names, rank=rank, alpha=alpha, dropout=dropout, seed=settings.seed, ranks=ranks)
    for name, a in (keys or {}).items():
        weight = peft_model.base_model.model.get_submodule(name).lora_A["default"].weight
        weight.data.copy_(a)
        weight.requires_grad_(False)


def attach_lora(
    loaded: LoadedModel,
    names: Sequence[str],
    *,
    rank: int,
    alpha: float,
    dropout: float,
    seed: int,
    ranks: Mapping[str, int] | None = None,
) -> Any:
    """Put a fresh LoRA adapter on the modules of these full names, in place, and return the PEFT model.

    Args:
        loaded: The model; its ``model`` becomes the PEFT model.
        names: Full names of linear maps.
        rank: The adapter's rank.
        alpha: Its scale's numerator.
        dropout: Its dropout.
        seed: Seed of the random start of A.
        ranks: Ranks of modules that have another, by full name; their scale is 1.
    """
    other = {name: own for name, own in (ranks or {}).items() if own != rank}
    places = [loaded.model.get_submodule(name) for name in names]
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        bias="none",
        target_modules=list(names),
        task_type="CAUSAL_LM",
        rank_pattern=other,
        alpha_pattern=dict(other),
        fan_in_fan_out=any(isinstance(place, Conv1D) for place in places),
    )
    torch.manual_seed(seed)
    with peft_quiet():
        peft_model: Any = get_peft_model(loaded.model, config)
    # PEFT records where the weights were read from, which for the built-in model is a cache folder of this machine.
    config.base_model_name_or_path = loaded.published_id
    loaded.model = peft_model
    return peft_model


@contextmanager
def peft_quiet() -> Iterator[None]:
    """Keep from the user that PEFT calls a name which transformers is about to rename."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
        yield


def rank(model: PeftModel) -> int:
    """Return the adapter's rank, the largest where modules differ."""
    return int(model.peft_config["default"].r)  # type: ignore[attr-defined]


def adapted_layers(model: PeftModel) -> list[int]:
    """Return the numbers of the adapted decoder layers."""
    names = (name.split(".lora_B")[0] for name in state(model) if "lora_B" in name)
    return sorted({next(int(part) for part in name.split(".") if part.isdigit()) for name in names})


def adapted_kinds(model: PeftModel) -> list[str]:
    """Return the last parts of the adapted modules' names, such as ``down_proj``."""
    return sorted({name.split(".lora_B")[0].rsplit(".", 1)[-1] for name in state(model) if "lora_B" in name})


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that training moves."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def state(model: PeftModel) -> dict[str, Tensor]:
    """Return a copy of the adapter's tensors, on the CPU."""
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}


def megabytes(model: PeftModel) -> float:
    """Return what the adapter's tensors take on disk, in units of 10^6 bytes."""
    tensors = get_peft_model_state_dict(model, save_embedding_layers=False).values()
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors)) / 1e6


def load_state(model: PeftModel, tensors: Mapping[str, Tensor]) -> None:
    """Put the adapter's tensors back."""
    set_peft_model_state_dict(model, dict(tensors))


def check_moved(model: PeftModel) -> str:
    """Return "N of N" for the adapter matrices that training moved from their start at zero.

    Raises:
        RunError: When any B is still all zero or holds numbers that are not finite: such an adapter does nothing.
    """
    matrices = {name: tensor for name, tensor in state(model).items() if "lora_B" in name}
    dead = [name for name, tensor in matrices.items() if not tensor.any()]
    broken = [name for name, tensor in matrices.items() if not tensor.isfinite().all()]
    if dead or broken or not matrices:
        raise RunError(
            f"The adapter did not train: {len(dead)} of {len(matrices)} B matrices are still zero, "
            f"{len(broken)} hold numbers that are not finite.",
            hint="raise --learning-rate or --passes if zero, lower --learning-rate if not finite",
            problems=(dead + broken)[:8],
        )
    return f"{len(matrices)} of {len(matrices)}"


def check_same(expected: Sequence[str], found: Sequence[str]) -> str:
    """Return "N of N" for answers that the reloaded adapter gives as the trained one did.

    Raises:
        RunError: When any differs: what is on the disk is not what was trained.
    """
    different = [f"{one!r} became {other!r}" for one, other in zip(expected, found, strict=True) if one != other]
    if different:
        raise RunError(
            f"The adapter read back from disk answers {len(different)} of {len(expected)} prompts differently.",
            hint="run again; if it happens again, the disk or an installed library is at fault",
            problems=different[:8],
        )
    return f"{len(found)} of {len(expected)}"


def card(loaded: LoadedModel, verdict: str, scores: str) -> str:
    """Return the model card that goes with the adapter: its verdict and scores travel with it."""
    return f"""---
base_model: {loaded.published_id}
library_name: peft
tags: [unlearning, lora]
---

# Unlearning adapter

Made with lune from `{loaded.id}` (weights SHA-256 `{loaded.sha256}`), so that with this adapter on, the base model no
longer gives the facts of one forget request as answers. Measured when it was made: **{verdict}** ({scores}).
`../run.json` and `../report.html` say how; an adapter whose verdict is not `FORGOTTEN` did not do its work.

The base weights are unchanged and still know the facts: whoever removes the adapter has them back.

```python
from peft import PeftModel

model = PeftModel.from_pretrained(base_model, "adapter")
```
"""


def save(model: PeftModel, folder: Path) -> None:
    """Write the adapter so that plain ``peft.PeftModel.from_pretrained(base, folder)`` loads it."""
    # Left to choose, PEFT asks the hub whether the vocabulary was resized; it never is here.
    model.save_pretrained(str(folder), save_embedding_layers=False)


def detach(loaded: LoadedModel) -> None:
    """Take the adapter off again, in place; the base weights were never changed."""
    loaded.model = loaded.model.unload()


def reload(base: LoadedModel, folder: Path) -> LoadedModel:
    """Return ``base`` with the adapter read from disk, as any PEFT user would load it.

    Raises:
        ModelError: When the folder holds no adapter that fits the model.
    """
    try:
        with peft_quiet():
            model: Any = PeftModel.from_pretrained(base.model, str(folder))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ModelError(
            f"'{folder}' holds no adapter for '{base.id}': {str(error).strip().splitlines()[0]}",
            hint="give the adapter/ folder of a run made with the same model",
        ) from error
    model.eval()
    return LoadedModel(model, base.tokenizer, base.id, base.source, base.revision, base.sha256)


@contextmanager
def scaled(model: nn.Module, factor: float) -> Iterator[None]:
    """Multiply the update of the model's LoRA adapter by ``factor`` inside the block: W + factor * scale * B A."""
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    before = [dict(layer.scaling) for layer in layers]
    try:
        for layer in layers:
            layer.scaling.update({name: factor * scale for name, scale in layer.scaling.items()})
        yield
    finally:
        for layer, scaling in zip(layers, before, strict=True):
            layer.scaling.update(scaling)


def merged(loaded: LoadedModel, *, factor: float = 1.0) -> LoadedModel:
    """Return a copy of the model in float32 with the adapter merged into its weights; ``loaded`` stays as it is.

    Args:
        loaded: A model with a LoRA adapter.
        factor: What the adapter's update is multiplied by; 0 gives a copy of the base model.
    """
    twin = copy.deepcopy(loaded.model)
    unpack_linears(twin)  # packed layers answer from the weights they were packed with
    twin = twin.to(torch.float32)
    with scaled(twin, factor):
        plain = twin.merge_and_unload()
    plain.requires_grad_(False)
    plain.eval()
    pack_linears(plain)
    return LoadedModel(plain, loaded.tokenizer, loaded.id, loaded.source, loaded.revision, loaded.sha256)
