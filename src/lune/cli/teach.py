"""``lune teach``: facts taught to a model, and the reference that learns all but those to forget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lune.cli.forget import make_console
from lune.cli.options import QuietOption, with_settings
from lune.errors import ConfigError, unknown_name
from lune.outputs import RUNS_FOLDER, RunFolder, default_run_folder
from lune.settings import TeachingRecipe

if TYPE_CHECKING:
    from lune.benchmarks.task import Teaching
    from lune.records import Fact

RECIPE = TeachingRecipe()
_FIELDS = TeachingRecipe.model_fields

DataArgument = Annotated[
    str, typer.Argument(metavar="DATA", help="Prompts and answers: a .jsonl, .json or .csv file, or a benchmark.")
]
ForgetOption = Annotated[
    str | None,
    typer.Option("--forget", metavar="REQUEST", help="For a file: what the reference is not taught, by its prompts."),
]
FolderOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The benchmark's data; from the hub when not given.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option of the benchmark; may be repeated.")
]
QuickOption = Annotated[bool, typer.Option("--quick", help="The benchmark's quick setting.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", help="Folder to make; runs/taught-NAME when not given.")
]
PassesOption = Annotated[int, typer.Option("--passes", min=1, max=1000, help=_FIELDS["passes"].description)]
RateOption = Annotated[float, typer.Option("--learning-rate", min=1e-9, help=_FIELDS["learning_rate"].description)]
RankOption = Annotated[int, typer.Option("--rank", min=1, max=4096, help=_FIELDS["rank"].description)]
BatchOption = Annotated[int, typer.Option("--batch-size", min=1, max=4096, help=_FIELDS["batch_size"].description)]


@with_settings("model", "seed", "device", "dtype")
def teach(
    *,
    given: dict[str, object],
    data: DataArgument,
    forget: ForgetOption = None,
    folder: FolderOption = None,
    options: SetOption = None,
    quick: QuickOption = False,
    out: OutOption = None,
    passes: PassesOption = RECIPE.passes,
    learning_rate: RateOption = RECIPE.learning_rate,
    rank: RankOption = RECIPE.rank,
    batch_size: BatchOption = RECIPE.batch_size,
    quiet: QuietOption = False,
) -> None:
    """Teach a model facts it does not know, to have something to forget.

    Writes DIR/target, taught everything, and DIR/reference, taught the same without what is to be forgotten: ordinary
    model folders with the lessons merged in. What was taught before comes from the cache; a killed run goes on.

    Exit status: 0 the models know what they were taught, 1 they do not, 2 bad input, 3 the run failed.
    """
    from lune.bench.plan import read_options
    from lune.benchmarks import BENCHMARKS, benchmark
    from lune.cli.config import resolve_invocation

    settings = resolve_invocation(given, quiet=quiet).settings
    recipe = TeachingRecipe(
        passes=passes, learning_rate=learning_rate, rank=rank, batch_size=batch_size, seed=settings.seed
    )
    named = data in BENCHMARKS and not Path(data).is_file()
    chosen = benchmark(data) if named else None
    values = read_options(chosen, options or [], quick=quick) if chosen else {}
    if chosen is None:
        _refuse_benchmark_flags(data, folder=folder, options=options, quick=quick)
    elif not chosen.teaches:
        others = ", ".join(each for each in BENCHMARKS if benchmark(each).teaches)
        raise ConfigError(
            f"{data} asks for facts that models know already; there is nothing to teach.", hint=f"taught are: {others}"
        )
    elif forget is not None:
        raise ConfigError(f"--forget is for files; what {data} forgets is its own.", hint="choose it with --set")
    else:
        chosen.check(folder, values)
    lessons: tuple[Teaching | None, tuple[Fact, ...]] | None = None if chosen else _from_file(data, forget)
    default = RUNS_FOLDER / f"taught-{data if named else default_run_folder(data).name}"
    with RunFolder(out, default=default, force=None) as made:
        from lune.models import load_model
        from lune.progress import Display
        from lune.teaching import run_teach

        display = Display(make_console(quiet))
        with display.stage(f"loading {settings.model}"):
            model = load_model(settings.model, device=settings.device, dtype=settings.dtype)
        if chosen is not None:
            tasks = chosen.load(folder, values, model)
            lessons = tasks[0].teaching, tasks[0].facts
            if len(tasks) > 1:
                display.line(
                    f"{data} has {len(tasks)} tasks; what {tasks[0].name} forgets is left out of the reference and put "
                    "into facts.jsonl (another one: --set)"
                )
        assert lessons is not None and lessons[0] is not None  # a file, or a benchmark that teaches
        taught = run_teach(lessons[0], lessons[1], model, recipe, folder=made, display=display, dtype=settings.dtype)
    if quiet:
        typer.echo(made.target)
    raise typer.Exit(0 if all(each.knows for each in taught.values()) else 1)


def _from_file(data: str, forget: str | None) -> tuple[Teaching, tuple[Fact, ...]]:
    """Return what a file teaches, all but the prompts of the request to the reference, and the request."""
    from lune.benchmarks.task import Teaching
    from lune.facts import read_request, read_texts
    from lune.report.wording import count_of
    from lune.text import normalise

    texts = tuple(read_texts(data))
    facts = tuple(read_request(forget)) if forget else ()
    gone = {normalise(fact.prompt) for fact in facts}
    retained = tuple(pair for pair in texts if normalise(pair[0]) not in gone)
    missing = gone - {normalise(prompt) for prompt, _ in texts}
    if missing:
        first = next(fact.prompt for fact in facts if normalise(fact.prompt) in missing)
        raise ConfigError(
            f"{forget}: {len(missing)} of {count_of(len(facts), 'prompt')} not found in {data}, such as '{first}'.",
            hint="the prompts of --forget must stand in DATA as they are",
        )
    return Teaching(everything=texts, retained=retained if forget else ()), facts


def _refuse_benchmark_flags(data: str, *, folder: Path | None, options: Sequence[str] | None, quick: bool) -> None:
    from lune.benchmarks import BENCHMARKS

    wrong = [flag for flag, value in (("--data", folder), ("--set", options), ("--quick", quick)) if value]
    if wrong:
        what = f"{' and '.join(wrong)} {'needs' if len(wrong) == 1 else 'need'} a benchmark."
        raise ConfigError(f"{what} {unknown_name('benchmark', data, list(BENCHMARKS))}", hint="lune ls benchmarks")
