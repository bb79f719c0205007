"""The examples that every help text ends in."""

from __future__ import annotations


def epilog(*examples: str) -> str:
    """Return the end of a help text: each example on a line of its own.

    Args:
        examples: Commands that run as they stand.
    """
    # "[" would begin markup.
    return "\n".join(["Examples:", *(f"  {example}".replace("[", r"\[") for example in examples)])
