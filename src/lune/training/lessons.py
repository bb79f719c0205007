"""Teaching: cross-entropy on responses in a plain LoRA adapter, pass by pass, so that a killed run goes on."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from lune import adapters
from lune.chat import Encoded
from lune.errors import RunError
from lune.models import LoadedModel
from lune.outputs import refusals_named
from lune.settings import TeachingRecipe
from lune.training.forward import ResponseForward
from lune.training.token_log_probs import token_log_probs
from lune.training.updates import Diverged, Updates

LENGTH_NOISE = 8
"""Rows are put into batches by their length and up to this many tokens of chance: little padding, new batches."""

Row = dict[str, float | int | str]


def learn(
    trainee: LoadedModel,
    rows: Sequence[Encoded],
    recipe: TeachingRecipe,
    *,
    checkpoint: Path,
    report: Callable[[Row], None],
) -> list[Row]:
    """Put an adapter on ``trainee``, teach it ``rows``, and return one history row a pass.

    Args:
        trainee: The model in the precision to train in; it gets the adapter.
        rows: Prompts with their responses.
        recipe: How to teach.
        checkpoint: Written after every pass; where it is there, teaching goes on from it and ends in the same adapter
            as without the break.
        report: Called with a row a step and a row a pass.

    Raises:
        RunError: When the loss is not finite.
        OutputError: When the checkpoint cannot be written.
    """
    layers = range(len(adapters.decoder_layers(trainee.model)[1]))
    names = adapters.projections(trainee.model, layers)
    adapters.attach_lora(trainee, names, rank=recipe.rank, alpha=recipe.rank, dropout=0.0, seed=recipe.seed)
    parameters = adapters.trained(trainee.model)
    adapters.training_mode(trainee.model)  # without the base model's own dropout, as in forgetting
    forward = ResponseForward(trainee)
    steps_a_pass = math.ceil(len(rows) / recipe.batch_size)
    updates = Updates(
        parameters,
        learning_rate=recipe.learning_rate,
        weight_decay=0.0,
        warmup=recipe.warmup,
        max_grad_norm=recipe.max_grad_norm,
    )
    history = _resume(trainee, updates, checkpoint)
    for row in history:
        report(row)
    for number in range(len(history) + 1, recipe.passes + 1):
        if history and float(history[-1]["probability"]) >= recipe.goal:
            break
        try:
            probability = _one_pass(forward, rows, recipe, number=number, updates=updates, report=report)
        except Diverged as error:
            raise RunError(f"Teaching diverged in pass {number}: {error}.", hint="lower --learning-rate") from None
        plain = {"plain_pass_because": forward.plain_because} if forward.plain_because else {}
        history.append({"pass": number, "step": number * steps_a_pass, "probability": probability, **plain})
        _save(checkpoint, {"adapter": adapters.state(trainee.model), "updates": updates.state(), "history": history})
        report(history[-1])
    return history


def _one_pass(
    forward: ResponseForward,
    rows: Sequence[Encoded],
    recipe: TeachingRecipe,
    *,
    number: int,
    updates: Updates,
    report: Callable[[Row], None],
) -> float:
    """Train on every row once and return the rows' mean probability, each measured before its own step."""
    probabilities: list[float] = []
    groups = _groups(rows, recipe.batch_size, f"{recipe.seed} {number}")
    for place, group in enumerate(groups):
        logits, targets, owners = forward([rows[index] for index in group])
        log_p = token_log_probs(logits, targets[:, None])[0][:, 0]
        loss = -log_p.sum() / len(log_p)
        if not loss.isfinite():
            raise Diverged(f"the loss is {loss.item():.3g}")
        loss.backward()  # type: ignore[no-untyped-call]
        updates.step((number - 1 + (place + 0.5) / len(groups)) / recipe.passes)
        told = log_p.detach()
        probabilities += [math.exp(told[owners == row].mean().item()) for row in range(len(group))]
        report({"pass": number, "step": (number - 1) * len(groups) + place + 1, "loss": loss.item()})
    return sum(probabilities) / len(probabilities)


def _groups(rows: Sequence[Encoded], size: int, seed: str) -> list[list[int]]:
    """Return the places of ``rows`` in batches of about equal length, in an order of chance."""
    chooser = random.Random(seed)
    noisy = [len(row.ids) + chooser.random() * LENGTH_NOISE for row in rows]
    order = sorted(range(len(rows)), key=noisy.__getitem__)
    groups = [order[start : start + size] for start in range(0, len(order), size)]
    chooser.shuffle(groups)
    return groups


def _save(checkpoint: Path, state: dict[str, Any]) -> None:
    with refusals_named(checkpoint):
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        staged = checkpoint.with_name(f".{checkpoint.name}.partial-{os.getpid()}")
        torch.save(state, staged)
        staged.replace(checkpoint)


def _resume(trainee: LoadedModel, updates: Updates, checkpoint: Path) -> list[Row]:
    """Put back what a checkpoint holds and return its history; nothing where there is none or it is broken."""
    if not checkpoint.is_file():
        return []
    try:
        saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception:  # torch raises whatever it stumbles over in a file that is not whole
        return []
    adapters.load_state(trainee.model, saved["adapter"])
    updates.load_state(saved["updates"])
    return list(saved["history"])
