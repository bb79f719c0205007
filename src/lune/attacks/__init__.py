"""The attacks on a finished run: a module each, offering ``SOURCE``, ``THREAT`` and ``run``; ``missing`` is optional.

``THREAT``
    Who could do this, and what they must have for it, in one sentence.
``run(context)``
    Makes the attack and returns a ``lune.attacks.contract.Finding``: every answer it drew out, and curves where there
    are any. It must leave the model of the context as it found it, and give the same for the same seed.
``missing()``
    Why the attack cannot be made on this machine, or None.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from lune.catalogue import Entry, catalogue
from lune.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from lune.attacks.contract import AttackContext, Finding

ATTACKS = catalogue(__name__)


@dataclass(frozen=True)
class Attack:
    """An attack's parts; the package's docstring says what each does.

    Attributes:
        entry: Its name, summary and source.
        threat: Who could do it.
        run: Makes it.
        missing: Why it cannot be made here, or None.
    """

    entry: Entry
    threat: str
    run: Callable[[AttackContext], Finding]
    missing: Callable[[], str | None]


def chosen_attacks(text: str | None) -> list[str]:
    """Return the names in a comma-separated list, each once and in its order; all attacks for None.

    Raises:
        ConfigError: When the list is empty or has names of no attack; all of them are named.
    """
    if text is None:
        return list(ATTACKS)
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    problems = [unknown_name("attack", name, list(ATTACKS)) for name in names if name not in ATTACKS]
    if not names:
        problems = [f"--with names no attack. Available: {', '.join(ATTACKS)}."]
    if problems:
        summary = problems[0] if len(problems) == 1 else f"{len(problems)} attacks are not known; nothing was run."
        raise ConfigError(summary, hint="lune ls attacks", problems=problems)
    return names


def attack(name: str) -> Attack:
    """Return an attack by its name.

    Raises:
        ConfigError: When there is none of that name.
    """
    chosen_attacks(name)
    module = import_module(ATTACKS[name].module)
    return Attack(ATTACKS[name], module.THREAT, module.run, getattr(module, "missing", _nothing_missing))


def _nothing_missing() -> str | None:
    return None
