"""``lune bench``: a published benchmark, its own protocol beside USR, APR, GUR and MIA."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lune.cli.forget import make_console
from lune.cli.options import FORGET_SETTINGS, ConfigOption, QuietOption, flag, with_settings
from lune.errors import ConfigError, OutputError, RequestError
from lune.outputs import RUNS_FOLDER

if TYPE_CHECKING:
    from lune.bench.plan import Plan
    from lune.settings import ForgetSettings

NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME",
        help="The benchmark; `lune ls benchmarks` lists them. With --table: bench folders, --out when none is named.",
        show_default=False,
    ),
]
DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="A local folder of its data; the hub when not given.")
]
MethodsOption = Annotated[
    str,
    typer.Option(
        "--methods",
        metavar="NAMES",
        help="Columns, comma separated: before, recipes, methods, and reference, the model never taught the facts.",
    ),
]
SeedsOption = Annotated[
    str | None,
    typer.Option(
        "--seeds", metavar="N,N,...", help="Seeds of unlearning. Default: 0,1,2; with --quick 0.", show_default=False
    ),
]
LimitOption = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="At most so many tasks.")]
QuickOption = Annotated[bool, typer.Option("--quick", help="The benchmark's small setting, for two cores.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="An option of the benchmark; may be given several times."),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Bench folder, runs/bench-NAME(-quick) when not given; finished cells stay."
    ),
]
JobsOption = Annotated[
    int,
    typer.Option(
        "--jobs", metavar="N", min=1, help="Columns and seeds beside each other, each with its share of the cores."
    ),
]
TableOption = Annotated[
    bool, typer.Option("--table", help="Run nothing: make the table from bench folders, in --out or the first.")
]


@with_settings("model", "device", "dtype")
def bench(
    *,
    context: typer.Context,
    given: dict[str, object],
    names: NamesArgument = None,
    data: DataOption = None,
    methods: MethodsOption = "before,lune-paper,lune,reference",
    seeds: SeedsOption = None,
    limit: LimitOption = None,
    quick: QuickOption = False,
    options: SetOption = None,
    config: ConfigOption = None,
    out: OutOption = None,
    jobs: JobsOption = 1,
    table: TableOption = False,
    quiet: QuietOption = False,
) -> None:
    r"""Measure unlearning on a published benchmark.

    Every cell (task, column, seed) is a run folder; a bench that was stopped goes on with the cells that are missing.
    Facts a model cannot know are taught first. Ends with table.md, table.csv, table.json and table.svg.

    Exit status: 0 all cells are there, 2 bad input (nothing ran), 3 a cell failed, 130 stopped by Ctrl-C (the finished
    cells stay).
    """
    if table:
        _only_a_table(context, given)
        folders = [Path(name) for name in names or []] or ([out] if out else [])
        if not folders:
            raise ConfigError("--table needs the folder of a bench.", hint="lune bench --table runs/bench-world")
        _make_table(folders, out or folders[0], quiet)
        return
    if not names:
        raise ConfigError("Which benchmark? None was named.", hint="lune ls benchmarks")
    if len(names) > 1:
        raise ConfigError(f"One benchmark at a time; got {len(names)}: {', '.join(names)}.", hint="lune ls benchmarks")
    plan = _plan(
        names[0], given, data=data, methods=methods, seeds=seeds, limit=limit, quick=quick, changes=options or [],
        config=config, out=out or RUNS_FOLDER / f"bench-{names[0]}{'-quick' if quick else ''}",
    )  # fmt: skip

    try:
        if jobs > 1 and len(plan.settings) * len(plan.seeds) > 1:
            from lune.bench.side_by_side import run_side_by_side

            words = _words(names[0], given, plan, quick=quick, changes=options or [], config=config)
            say = make_console(quiet)
            run_side_by_side(
                words,
                list(plan.settings),
                plan.seeds,
                jobs=jobs,
                say=lambda line: say.print(line, highlight=False, soft_wrap=True, markup=False) if say else None,
            )

        from lune.bench.runner import run_bench

        run_bench(plan, console=make_console(quiet), command=str(context.obj))
    except ConfigError:  # refused: nothing was run, and the table that is there stays
        raise
    except BaseException:
        _table_of_finished(plan.out, quiet)
        raise
    _table_of_finished(plan.out, quiet)


def _table_of_finished(out: Path, quiet: bool) -> None:
    if any(out.glob("*/*/seed-*/run.json")):
        _make_table([out], out, quiet)


def _words(
    name: str, given: dict[str, object], plan: Plan, *, quick: bool, changes: list[str], config: Path | None
) -> list[str]:
    """Return the bench as it is typed, but for its columns and seeds."""
    paths = {"data": plan.source, "limit": plan.limit, "config": config, "out": plan.out}
    flags = {**given, **{name: value for name, value in paths.items() if value is not None}}
    words = ["bench", name, *(["--quick"] if quick else [])]
    words += [word for key, value in flags.items() for word in (flag(key), str(value))]
    return [*words, *(word for change in changes for word in ("--set", change))]


def _plan(
    name: str,
    given: dict[str, object],
    *,
    data: Path | None,
    methods: str,
    seeds: str | None,
    limit: int | None,
    quick: bool,
    changes: list[str],
    config: Path | None,
    out: Path,
) -> Plan:
    """Return the plan, everything checked that can be without loading a model.

    Raises:
        LuneError: When anything given cannot be used.
    """
    from lune.bench.cells import unusable
    from lune.bench.plan import Plan, read_columns, read_options, read_seeds
    from lune.benchmarks import BENCHMARKS, benchmark
    from lune.errors import Gathered, unknown_name

    found = Gathered()
    columns, numbers = found.get(lambda: read_columns(methods)), found.get(lambda: read_seeds(seeds, quick=quick))
    settings = found.get(lambda: _settings(columns or (), given, config))
    missing = data is not None and not data.is_dir()
    if missing:
        found.errors.append(
            RequestError(f"--data: there is no folder {data}.", hint="leave --data out to read from the hub")
        )
    if name not in BENCHMARKS:
        found.errors.append(ConfigError(unknown_name("benchmark", name, list(BENCHMARKS)), hint="lune ls benchmarks"))
        found.refuse()
    chosen = benchmark(name)
    options = found.get(lambda: read_options(chosen, changes, quick=quick))
    if options is not None and not missing:
        found.get(lambda: chosen.check(data, options))
    if problems := found.get(lambda: unusable(out, name, options)):
        several = problems if len(problems) > 1 else ()
        found.errors.append(OutputError(f"{problems[0]}.", problems=several, hint="name another --out"))
    found.refuse()
    assert numbers is not None and settings is not None and options is not None  # refused otherwise
    return Plan(chosen, options, data, settings, numbers, limit, out)


def _settings(columns: Sequence[str], given: dict[str, object], config: Path | None) -> dict[str, ForgetSettings]:
    """Return the settings of each column; where no column is known the flags are looked at all the same."""
    from lune.bench.plan import column_setting
    from lune.cli.config import resolve_invocation

    # A bench says these itself, by its columns, --seeds and --out.
    allowed = [name for name in FORGET_SETTINGS if name not in ("method", "recipe", "seed", "out", "after")]
    return {
        column: resolve_invocation(
            {**given, **column_setting(column)}, config=config, settings=allowed, switches=()
        ).settings
        for column in columns or ("",)
    }


def _only_a_table(context: typer.Context, given: dict[str, object]) -> None:
    """Refuse what a table of finished cells has no use for.

    Raises:
        ConfigError: When such a flag was given.
    """
    flags = {"options": "--set"}
    names = ("data", "methods", "seeds", "limit", "quick", "options", "config", "jobs")
    sources = {name: context.get_parameter_source(name) for name in names}
    asked = [
        flags.get(name, f"--{name}") for name, source in sources.items() if source and source.name == "COMMANDLINE"
    ]
    asked += [f"--{name.replace('_', '-')}" for name in given]
    if asked:
        raise ConfigError(
            f"--table shows every finished cell of the folders; it has no use for {', '.join(asked)}.",
            hint="lune bench --table runs/bench-world",
        )


def _make_table(folders: list[Path], out: Path, quiet: bool) -> None:
    from lune.bench.cells import foreign_files
    from lune.bench.table import FILES, write_table

    there = [name for name in FILES if (out / name).exists()]
    ours = len(there) == len(FILES)  # a table that was made here before
    if (taken := [name for name in there if name in foreign_files(out)]) and not ours:
        raise OutputError(
            f"{out} is no bench folder and holds {', '.join(taken)} already, which would be overwritten.",
            hint="name another --out",
        )
    write_table(folders, out, console=make_console(quiet))
    if quiet:
        typer.echo(out)
    else:
        typer.echo(f"table: {', '.join(str(out / name) for name in FILES)}")
