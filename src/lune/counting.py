"""How far a long loop over texts has come, told to the display of the run; nobody need listen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Listener = Callable[[int, int], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call ``listener`` with the texts done and all texts of a loop, after each batch, while the context lasts.

    Of several the innermost is called.
    """
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.pop()


def tell(done: int, total: int) -> None:
    """Say that ``done`` of ``total`` texts of the present loop are done."""
    if _listeners:
        _listeners[-1](done, total)
