"""The benchmarks: a module each.

Each offers ``SOURCE``, ``SETTINGS``, ``QUICK``, ``check``, ``load``, ``measure`` and ``protocol``. Where the facts are
made up, so that a model must be taught them first, it has ``TEACHES``; where ``--data`` may be a user's own facts and
not a published set, ``TAKES_OWN_FACTS``.

``check(source, options)``
    Raises what is wrong with the options and with a local folder, all at once, before a model is there. What only the
    hub's data can show is left to ``load``.
``load(source, options, base)``
    Reads the data and returns the tasks of the benchmark. ``source`` is a local folder of the published layout, or None
    for the hub; ``options`` are ``SETTINGS`` with what the user changed; ``base`` answers for benchmarks that keep what
    a model knows.
``measure(model, task)``
    Runs the benchmark's own protocol on one model and returns what can be stored as JSON, sample by sample.
``protocol(task, measured)``
    Turns what was measured on the models of a task, by name (``before``, ``reference``, and the methods), into the
    published scores of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lune.benchmarks.task import Task
from lune.catalogue import catalogue
from lune.errors import ConfigError, unknown_name

if TYPE_CHECKING:
    from lune.language_model import LanguageModel
    from lune.models import LoadedModel

BENCHMARKS = catalogue(__name__)
Options = Mapping[str, str | int]
Measured = dict[str, Any]


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's parts; the package's docstring says what each does.

    Attributes:
        name: What ``lune bench`` takes.
        settings: The options it knows, with the published values.
        quick: The options of the quick setting, for a machine without a GPU.
        check: Checks options and a local folder without a model.
        load: Reads the tasks.
        measure: Runs the protocol on one model.
        protocol: Makes the published scores.
        teaches: Whether its facts are made up, so that every task has something to teach.
        takes_own_facts: Whether a folder or file given to it may hold a user's own facts: nothing of those is cached.
    """

    name: str
    settings: Options
    quick: Options
    check: Callable[[Path | None, Options], None]
    load: Callable[[Path | None, Options, LanguageModel], Sequence[Task]]
    measure: Callable[[LoadedModel, Task], Measured]
    protocol: Callable[[Task, Mapping[str, Measured]], dict[str, dict[str, float | None]]]
    teaches: bool = False
    takes_own_facts: bool = False


def benchmark(name: str) -> Benchmark:
    """Return a benchmark by its name.

    Raises:
        ConfigError: When there is none of that name.
    """
    if name not in BENCHMARKS:
        raise ConfigError(unknown_name("benchmark", name, list(BENCHMARKS)), hint="lune ls benchmarks")
    module = import_module(BENCHMARKS[name].module)
    return Benchmark(
        name,
        module.SETTINGS,
        module.QUICK,
        module.check,
        module.load,
        module.measure,
        module.protocol,
        teaches=getattr(module, "TEACHES", False),
        takes_own_facts=getattr(module, "TAKES_OWN_FACTS", False),
    )
