"""Make a language model forget named facts, and measure what was forgotten and what was kept.

``lune.forget(...)`` and ``lune.evaluate(...)`` are the same stages as the commands of those names. They
are imported when first used, so that ``import lune`` and ``lune --help`` do not load torch.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lune.pipeline import evaluate, forget

__version__ = "0.1.0"

__all__ = ["__version__", "evaluate", "forget"]

# Where it is installed, PEFT imports it at once, and it warns of kernels that nothing here needs.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

_LAZY = frozenset({"evaluate", "forget"})


def __getattr__(name: str) -> object:
    """Import ``forget`` and ``evaluate`` when they are first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'lune' has no attribute '{name}'")
    from lune import pipeline

    return getattr(pipeline, name)


def __dir__() -> list[str]:
    """Name the lazy functions too, for completion and ``help()``."""
    return sorted({*globals(), *_LAZY})
