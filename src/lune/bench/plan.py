"""What a bench is asked to do, checked before anything is loaded. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lune.benchmarks import Benchmark, Options
from lune.errors import ConfigError, did_you_mean
from lune.methods import METHODS
from lune.settings import RECIPES, ForgetSettings

BEFORE, REFERENCE = "before", "reference"
DEFAULT_COLUMNS = (BEFORE, "lune-paper", "lune", REFERENCE)
DEFAULT_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Plan:
    """A bench.

    Attributes:
        benchmark: The benchmark.
        options: Its options, defaults filled in.
        source: A local folder with its data; None for the hub.
        settings: The settings of each column, in the order of the table; their seed is replaced by those below.
        seeds: Seeds of unlearning. The models that are taught first are the same for all.
        limit: At most so many tasks; None for all.
        out: The bench's folder; finished cells in it are not run again.
    """

    benchmark: Benchmark
    options: Options
    source: Path | None
    settings: Mapping[str, ForgetSettings]
    seeds: tuple[int, ...]
    limit: int | None
    out: Path

    @property
    def model(self) -> str:
        """The base model, which every column shares."""
        return next(iter(self.settings.values())).model


def column_setting(column: str) -> dict[str, object]:
    """Return the setting that a column stands for: a recipe of the method lune, or a method with its own defaults."""
    if column in RECIPES:
        return {"method": "lune", "recipe": column}
    return {"method": column} if column in METHODS else {}


def read_columns(text: str) -> tuple[str, ...]:
    """Return the columns named in a comma separated list.

    Raises:
        ConfigError: When one is unknown, named twice, or none is named.
    """
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    known = list(dict.fromkeys([BEFORE, *RECIPES, *METHODS, REFERENCE]))
    problems = [
        f"--methods: unknown column '{name}'.{did_you_mean(name, known)}" for name in names if name not in known
    ]
    problems += [f"--methods: {name} is there twice" for name in dict.fromkeys(names) if names.count(name) > 1]
    if not names:
        problems = ["--methods: no column is named"]
    if problems:
        raise ConfigError(
            _first(problems), problems=problems, hint=f"--methods {','.join(DEFAULT_COLUMNS)}; also: {', '.join(known)}"
        )
    return names


def read_seeds(text: str | None, *, quick: bool) -> tuple[int, ...]:
    """Return the seeds named in a comma separated list; three where none is given, one of them in the quick setting.

    Raises:
        ConfigError: When one is not a whole number of at least 0, is there twice, or none is named.
    """
    if text is None:
        return DEFAULT_SEEDS[:1] if quick else DEFAULT_SEEDS
    names = [part.strip() for part in text.split(",") if part.strip()]
    problems = [
        f"--seeds: got '{name}'; allowed: whole numbers of at least 0" for name in names if not name.isdecimal()
    ]
    seeds = tuple(int(name) for name in names if name.isdecimal())
    problems += [f"--seeds: {seed} is there twice" for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1]
    if not names:
        problems = ["--seeds: no seed is named"]
    if problems:
        raise ConfigError(_first(problems), problems=problems, hint="--seeds 0,1,2")
    return seeds


def read_options(benchmark: Benchmark, changes: Sequence[str], *, quick: bool) -> Options:
    """Return a benchmark's options: the published values, the quick setting's over them, ``key=value`` texts over both.

    Raises:
        ConfigError: When a key is unknown or a value is not of the option's kind; all problems at once.
    """
    options = {**benchmark.settings, **(benchmark.quick if quick else {})}
    problems: list[str] = []
    for change in changes:
        key, equals, value = change.partition("=")
        if not equals:
            problems.append(f"--set {change}: allowed: key=value")
        elif key not in benchmark.settings:
            problems.append(
                f"--set {change}: {benchmark.name} has no option '{key}'.{did_you_mean(key, list(options))}"
            )
        elif isinstance(benchmark.settings[key], int) and not value.removeprefix("-").isdecimal():
            problems.append(f"--set {change}: allowed: a whole number")
        else:
            options[key] = int(value) if isinstance(benchmark.settings[key], int) else value
    if problems:
        known = ", ".join(f"{key}={value}" for key, value in benchmark.settings.items()) or "none"
        raise ConfigError(
            _first(problems), problems=problems, hint=f"options of {benchmark.name}, as published: {known}"
        )
    return options


def _first(problems: Sequence[str]) -> str:
    return problems[0] if len(problems) == 1 else f"{len(problems)} things are not valid; nothing was run."
