"""The training objectives, by name: one module each, which offers ``loss`` and ``SOURCE``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from lune.catalogue import catalogue
from lune.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from torch import Tensor

METHODS = catalogue(__name__)


def objective(name: str) -> Callable[[Tensor, int], Tensor]:
    """Return the loss function of a method.

    Raises:
        ConfigError: When there is no method of that name.
    """
    if name not in METHODS:
        raise ConfigError(unknown_name("method", name, list(METHODS)), hint="lune ls methods")
    loss: Callable[[Tensor, int], Tensor] = import_module(METHODS[name].module).loss
    return loss
