"""The one settings tree: flags, YAML keys, ``--help``, the reference page and the run record come from it.

A recipe is a named set of values for these settings; what the user gives explicitly wins over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from lune.errors import ConfigError, did_you_mean, unknown_name
from lune.methods import METHODS
from lune.methods import method as method_of
from lune.methods.contract import Edit

BUILT_IN_MODEL = "smollm2-135m"
KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false", Path: "a path"}
"""What a setting of a type takes, in words."""
PLAIN_RECIPE = "lune-paper"
"""What every method but lune runs with, as in its paper: an ordinary LoRA adapter, none of lune's own parts."""
OWN_PARTS = ("rejection_weight", "release", "own_words")
"""What belongs to the method lune: they presuppose negatives to train on."""
_NO_REAL_BOUND = 1e30  # a limit as high as this keeps float32 finite and tells a reader nothing


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
    out: Path | None = Field(
        None, description="Run folder to make; runs/REQUEST-NAME when not given, with -2, -3 ... where taken."
    )
    after: Path | None = Field(
        None, description="Run folder of an earlier request: its adapter stays in force, the new one holds both."
    )
    method: str = Field("lune", description="Training objective; `lune ls methods` lists them.")
    recipe: Literal["lune", "lune-paper"] = Field(
        "lune", description="Named set of defaults for all below; methods other than lune go with lune-paper."
    )
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
        AdapterKind.KEYED, description="lora: A and B trained; keyed: A fixed to keys of subjects and answers."
    )
    layers: str = Field(
        "auto",
        pattern=r"^(all|auto|top:[1-9]\d*|\d+-\d+)$",
        description="Decoder layers adapted: all, auto, top:K or A-B (zero-based, inclusive).",
    )
    rank: int = Field(
        16,
        ge=1,
        le=4096,
        description="LoRA rank; keyed adapters take one row per key, up to a quarter of the input's width.",
    )
    alpha: float = Field(
        16.0,
        gt=0,
        description="LoRA scale numerator, the update being alpha / rank * B A; a keyed adapter's scale is 1.",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="LoRA dropout; keyed adapters have none.")
    learning_rate: float = Field(2.5e-2, gt=0, le=1e37, description="Peak learning rate of AdamW.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay.")
    warmup: float = Field(0.05, ge=0, le=1, description="Share of all steps that warm up linearly.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient norm is clipped to this.")
    passes: int = Field(4, ge=1, le=1000, description="Most passes over the negatives.")
    batch_size: int = Field(8, ge=1, le=4096, description="Negatives in one step, over all processes.")
    anchors: int = Field(200, ge=0, description="Self-made questions whose base answers are held by KL; 0 for none.")
    anchor_weight: float = Field(6.0, ge=0, description="Weight of the KL to the base model on the anchors.")
    rejection_weight: float = Field(
        2.0, ge=0, description="Weight of pushing down the true answer where the way to it parts from the negative one."
    )
    release: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="A negative whose true answer is less probable than this is pushed less and rests; 0 for never.",
    )
    own_words: bool = Field(
        True, description="Put every second alternate into the model's own answer, in the true one's place."
    )
    beta: float = Field(
        0.1,
        gt=0,
        description="Of npo, dpo, idk-dpo and simnpo (there 2.5): the higher, the sooner a forgotten answer is let go.",
    )
    gamma: float = Field(
        0.0, ge=0, description="Of simnpo: the higher, the less probable an answer becomes before it is let go."
    )
    prefix_cache_mb: float = Field(
        512.0,
        ge=0,
        description="Memory, in MB, for what the layers below the lowest adapted one give; a file holds the rest.",
    )
    recompute: bool = Field(
        False, description="Compute layers of packed rows again on the way back: less memory, more time."
    )
    early_stop: bool = Field(True, description="Stop when the dev probes are forgotten and utility still stands.")
    max_utility_drop: float = Field(
        0.005, ge=0, le=1, description="Largest drop of dev GUR an early stop may accept (the paper: 0.005)."
    )


class TeachingRecipe(BaseModel):
    """How texts are taught. The defaults are for models of about 10^8 weights and a few hundred texts."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    rank: int = Field(32, ge=1, le=4096, description="Rank of the LoRA adapter on every projection; alpha is the same.")
    learning_rate: float = Field(3e-3, gt=0, le=1e37, description="Peak learning rate of AdamW, cosine to 0.")
    passes: int = Field(10, ge=1, le=1000, description="Most passes over the texts.")
    batch_size: int = Field(16, ge=1, le=4096, description="Texts in one step.")
    goal: float = Field(
        0.95, gt=0, le=1, description="Mean probability of the texts over a pass that ends teaching early."
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
        "release": 0.0,
        "own_words": False,
    },
}


def resolve(
    given: Mapping[str, Any], *, origins: Mapping[str, str] | None = None, problems: Sequence[str] = ()
) -> ForgetSettings:
    """Return the settings for what the user gave, over the method's defaults, over the recipe's, over the general ones.

    A method other than lune runs with the plain recipe, and lune's own parts cannot be given to it.

    Args:
        given: Setting name (snake_case) to value, only those given explicitly.
        origins: Setting name to where its value came from, as messages name it (``--rank``,
            ``settings.yaml:3: rank``); the setting's own name where there is none.
        problems: What the caller found wrong already; it is reported together with what is found here.

    Raises:
        ConfigError: When a setting is unknown or a value is not allowed; ``problems`` names everything.
    """
    where = {**{name: name for name in given}, **(origins or {})}
    found = list(problems)
    method = given.get("method", "lune")
    known = isinstance(method, str) and method in METHODS
    if isinstance(method, str) and not known:
        found.append(f"{where['method']}: {unknown_name('method', method, list(METHODS))}")
    rival = known and method != "lune"
    named = {"recipe": PLAIN_RECIPE} if rival else {}
    recipe = RECIPES.get(str({**named, **given}.get("recipe", "lune")), {})
    own = method_of(str(method)).defaults if known else {}
    try:
        settings = ForgetSettings.model_validate({**named, **recipe, **own, **given})
    except ValidationError as error:
        raise _refused(found + [_problem(details, where) for details in error.errors()]) from error
    if rival and settings.recipe != PLAIN_RECIPE:
        found.append(f"{where['recipe']}: got {shown(settings.recipe)}; method {method} goes with {PLAIN_RECIPE}.")
    elif rival:
        values = {name: getattr(settings, name) for name in OWN_PARTS}
        found += [
            f"{where[name]}: got {shown(value)}; this is a part of the method lune, and {method} has none of it."
            for name, value in values.items()
            if value
        ]
    style = own.get("negatives_style", NegativesStyle.ALTERNATIVE)
    if rival and settings.negatives_style != style:
        found.append(f"{where['negatives_style']}: got {shown(settings.negatives_style)}; method {method} has {style}.")
    if known and isinstance(method_of(str(method)), Edit) and settings.adapter is not AdapterKind.KEYED:
        found.append(f"{where['adapter']}: got {shown(settings.adapter)}; method {method} writes a keyed adapter.")
    if found:
        raise _refused(found)
    return settings


def _refused(problems: Sequence[str]) -> ConfigError:
    summary = problems[0] if len(problems) == 1 else f"{len(problems)} settings are not valid; nothing was run."
    return ConfigError(summary, problems=problems)


def _problem(details: ErrorDetails, where: Mapping[str, str]) -> str:
    """Return one of pydantic's findings with where the value came from, and what is allowed."""
    if not details["loc"]:  # a check of several settings together
        return details["msg"].removeprefix("Value error, ")
    name = str(details["loc"][0])
    if name not in ForgetSettings.model_fields:
        return f"unknown setting '{name}'.{did_you_mean(name, list(ForgetSettings.model_fields))}"
    text = f"{where.get(name, name)}: got {shown(details['input'])}; "
    if details["type"] in ("value_error", "assertion_error"):
        text += details["msg"].removeprefix("Value error, ")
    else:
        text += f"allowed: {allowed(name, whole=details['type'] == 'less_than_equal')}."
    return text + (did_you_mean(details["input"], choices(name)) if isinstance(details["input"], str) else "")


def shown(value: object) -> str:
    """Return a value that was refused, as messages show it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else str(value)


def choices(name: str) -> tuple[str, ...]:
    """Return the values a setting is chosen from; empty when it is not a choice."""
    kind = kind_of(ForgetSettings.model_fields[name])
    if get_origin(kind) is Literal:
        return tuple(str(choice) for choice in get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return tuple(str(member.value) for member in kind)
    return ()


def allowed(name: str, *, whole: bool = False) -> str:
    """Return in words what values a setting takes; ``whole`` with bounds that only keep numbers finite."""
    if name == "layers":
        return "all, auto, top:K or A-B (zero-based, inclusive)"
    if named := choices(name):
        return ", ".join(named)
    field = ForgetSettings.model_fields[name]
    constraints = [each for each in field.metadata if whole or not _keeps_finite(each)]
    limits = " and ".join(text for text in map(_limit, constraints) if text)
    return f"{KINDS[kind_of(field)]} {limits}".strip()


def kind_of(field: FieldInfo) -> Any:
    """Return the type of a setting's value, without the None of an optional one."""
    if get_origin(field.annotation) is Literal:
        return field.annotation
    kinds = [part for part in get_args(field.annotation) if part is not type(None)]
    return kinds[0] if kinds else field.annotation


def _keeps_finite(constraint: object) -> bool:
    return isinstance(constraint, annotated_types.Le) and float(str(constraint.le)) >= _NO_REAL_BOUND


def _limit(constraint: object) -> str:
    """Return one constraint of a number in words."""
    match constraint:
        case annotated_types.Ge(ge=bound):
            return f"of at least {bound}"
        case annotated_types.Gt(gt=bound):
            return f"above {bound}"
        case annotated_types.Le(le=bound):
            return f"at most {bound}"
        case annotated_types.Lt(lt=bound):
            return f"below {bound}"
        case _:
            return ""
