"""The training objectives, by name. Each lives in a module of its own, which is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from lune.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class MethodInfo:
    """What is told about a method without importing it.

    Attributes:
        name: What ``--method`` takes.
        summary: What it does, in one sentence.
        paper: Where it was published.
        module: The module that implements it.
    """

    name: str
    summary: str
    paper: str
    module: str


METHODS: dict[str, MethodInfo] = {
    method.name: method
    for method in (
        MethodInfo(
            name="lune",
            summary="Cross-entropy on plausible wrong answers in a LoRA adapter; the true answer is never trained on.",
            paper="https://arxiv.org/abs/2512.07375",
            module="lune.methods.lune",
        ),
    )
}


def objective(name: str) -> Callable[[Tensor, int], Tensor]:
    """Return the loss function of a method.

    Raises:
        ConfigError: When there is no method of that name.
    """
    if name not in METHODS:
        raise ConfigError(unknown_name("method", name, list(METHODS)), hint="lune ls methods")
    loss: Callable[[Tensor, int], Tensor] = import_module(METHODS[name].module).loss
    return loss
