"""The one settings tree: flags, YAML keys, ``--help``, the reference page and the run record come from it.

A recipe is a named set of values for these settings; what the user gives explicitly wins over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

BUILT_IN_MODEL = "smollm2-135m"


class NegativesStyle(StrEnum):
    """What a negative example answers; all but ``alternative`` are the paper's ablation arms."""

    CONTRADICTION = "contradiction"
    ALTERNATIVE = "alternative"
    REFUSAL = "refusal"
    IRRELEVANT = "irrelevant"
    RANDOM = "random"


class AdapterKind(StrEnum):
    """How the adapter's down-projection A is chosen."""

    LORA = "lora"
    KEYED = "keyed"


class ForgetSettings(BaseModel):
    """Everything that decides a run of ``lune forget``. Unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    model: str = Field(BUILT_IN_MODEL, description="Hub id, local folder, or the built-in model's name.")
    out: Path | None = Field(None, description="Run folder to make; runs/REQUEST-NAME when not given.")
    method: str = Field("lune", description="Training objective; `lune ls methods` lists them.")
    recipe: Literal["lune", "lune-paper"] = Field("lune", description="Named set of defaults for all below.")
    seed: int = Field(0, ge=0, description="Seed of everything random.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where to compute.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="Precision of the model; auto takes what the hardware does fast."
    )

    negatives_style: NegativesStyle = Field(NegativesStyle.ALTERNATIVE, description="What a negative example answers.")
    negatives_per_fact: int = Field(
        8, ge=4, le=64, description="Distinct valid alternates wanted for a fact; at least 4."
    )
    negatives_endpoint: str | None = Field(
        None, description="URL of an OpenAI-compatible API that proposes more alternates."
    )
    negatives_endpoint_model: str | None = Field(
        None, description="Model name at the endpoint; its first model when not given."
    )

    adapter: AdapterKind = Field(
        AdapterKind.KEYED, description="lora: A and B trained; keyed: A fixed to subject keys."
    )
    layers: str = Field(
        "auto",
        pattern=r"^(all|auto|top:[1-9]\d*|\d+-\d+)$",
        description="Decoder layers adapted: all, auto, top:K or A-B (zero-based, inclusive).",
    )
    rank: int = Field(16, ge=1, le=4096, description="LoRA rank; keyed adapters take one row per key instead.")
    alpha: float = Field(16.0, gt=0, description="LoRA scale numerator: the update is alpha / rank * B A.")
    dropout: float = Field(0.0, ge=0, lt=1, description="LoRA dropout.")
    learning_rate: float = Field(5e-2, gt=0, le=1e37, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay.")
    warmup: float = Field(0.05, ge=0, le=1, description="Share of all steps that warm up linearly.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient norm is clipped to this.")
    passes: int = Field(4, ge=1, le=1000, description="Most passes over the negatives.")
    batch_size: int = Field(8, ge=1, le=4096, description="Negatives in one step, over all processes.")
    anchors: int = Field(160, ge=0, description="Self-made questions whose base answers are held by KL; 0 for none.")
    anchor_weight: float = Field(6.0, ge=0, description="Weight of the KL to the base model on the anchors.")
    rejection_weight: float = Field(
        2.0, ge=0, description="Weight of pushing down the true answer where the way to it parts from the negative one."
    )
    early_stop: bool = Field(True, description="Stop when the dev probes are forgotten and utility still stands.")
    max_utility_drop: float = Field(
        0.005, ge=0, le=1, description="Largest drop of dev GUR an early stop may accept (the paper: 0.005)."
    )


class TeachingRecipe(BaseModel):
    """How texts are taught. The defaults are for models of about 10^8 weights and a few hundred texts."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    rank: int = Field(32, ge=1, le=4096, description="Rank of the LoRA adapter on every projection; alpha is the same.")
    learning_rate: float = Field(2e-3, gt=0, le=1e37, description="Peak learning rate of AdamW, cosine to 0.")
    passes: int = Field(5, ge=1, le=1000, description="Most passes over the texts.")
    batch_size: int = Field(8, ge=1, le=4096, description="Texts in one step.")
    goal: float = Field(
        0.98, gt=0, le=1, description="Mean probability of the texts over a pass that ends teaching early."
    )
    warmup: float = Field(0.05, ge=0, le=1, description="Share of all steps that warm up linearly.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient norm is clipped to this.")
    seed: int = Field(0, ge=0, description="Seed of the adapter's start and of the order of the texts.")


RECIPES: Mapping[str, Mapping[str, Any]] = {
    "lune": {},
    # LUNE (arXiv 2512.07375), App. B.1 and Sec. 4.5.
    "lune-paper": {
        "adapter": AdapterKind.LORA,
        "passes": 4,
        "batch_size": 8,
        "layers": "all",
        "rank": 16,
        "alpha": 16.0,
        "dropout": 0.05,
        "learning_rate": 2e-4,
        "weight_decay": 0.01,
        "warmup": 0.05,
        "max_grad_norm": 1.0,
        "anchors": 0,
        "anchor_weight": 0.0,
        "rejection_weight": 0.0,
    },
}


def resolve(given: Mapping[str, Any]) -> ForgetSettings:
    """Return the settings for what the user gave, over the recipe's values, over the defaults.

    Args:
        given: Setting name (snake_case) to value, only those given explicitly.

    Raises:
        pydantic.ValidationError: When a key is unknown or a value is not allowed.
    """
    recipe = RECIPES.get(str(given.get("recipe", "lune")), {})
    return ForgetSettings.model_validate({**recipe, **given})
