"""Make a language model forget named facts, and measure what was forgotten and what was kept.

``lune.forget(...)`` and ``lune.evaluate(...)`` are the same stages as the commands of those names. They
are imported when first used, so that ``import lune`` and ``lune --help`` do not load torch.
"""

from __future__ import annotations

import logging
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lune.pipeline import forget
    from lune.reevaluation import evaluate

__version__ = "0.1.0"

__all__ = ["__version__", "evaluate", "forget"]

# Where it is installed, PEFT imports it at once, and it warns of kernels that nothing here needs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

_LAZY = {"evaluate": "lune.reevaluation", "forget": "lune.pipeline"}


def __getattr__(name: str) -> object:
    """Import ``forget`` and ``evaluate`` when they are first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'lune' has no attribute '{name}'")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    """Name the lazy functions too, for completion and ``help()``."""
    return sorted({*globals(), *_LAZY})
