"""The unlearning methods, by name: one module each, which offers ``OBJECTIVE`` and ``SOURCE``.

These modules are read for their defaults before a run begins, so they import torch only inside their loss.
"""

from __future__ import annotations

from importlib import import_module

from lune.catalogue import catalogue
from lune.errors import ConfigError, unknown_name
from lune.methods.contract import Objective

METHODS = catalogue(__name__)


def objective(name: str) -> Objective:
    """Return what a method trains on and its loss.

    Raises:
        ConfigError: When there is no method of that name.
    """
    if name not in METHODS:
        raise ConfigError(unknown_name("method", name, list(METHODS)), hint="lune ls methods")
    found: Objective = import_module(METHODS[name].module).OBJECTIVE
    return found
