"""The unlearning methods, by name: one module each, which offers ``METHOD`` and ``SOURCE``.

These modules are read for their defaults before a run begins, so they import torch only inside their loss.
"""

from __future__ import annotations

from importlib import import_module

from lune.catalogue import catalogue
from lune.errors import ConfigError, unknown_name
from lune.methods.contract import Edit, Objective

METHODS = catalogue(__name__)


def objective(name: str) -> Objective:
    """Return what a method trains on and its loss.

    Raises:
        ConfigError: When there is no method of that name, or it trains nothing.
    """
    found = method(name)
    if isinstance(found, Edit):
        raise ConfigError(f"Method '{name}' is an edit and has no loss to train.", hint="lune ls methods")
    return found


def method(name: str) -> Objective | Edit:
    """Return a method.

    Raises:
        ConfigError: When there is none of that name.
    """
    if name not in METHODS:
        raise ConfigError(unknown_name("method", name, list(METHODS)), hint="lune ls methods")
    found: Objective | Edit = import_module(METHODS[name].module).METHOD
    return found
