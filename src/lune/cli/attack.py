"""``lune attack``: try to bring back what a run has forgotten."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from lune.attacks import chosen_attacks
from lune.cli.forget import make_console
from lune.cli.options import QuietOption, with_settings
from lune.outputs import check_output_file

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder of `lune forget`.")]
WithOption = Annotated[
    str | None,
    typer.Option(
        "--with", metavar="NAMES", help="Attacks, separated by commas; `lune ls attacks` lists them. Default: all."
    ),
]
BudgetOption = Annotated[
    Literal["quick", "standard", "strong"],
    typer.Option("--budget", metavar="LEVEL", help="What each attack may spend: quick, standard or strong."),
]
ModelOption = Annotated[
    str | None,
    typer.Option("--model", metavar="TEXT", help="Where the run's base model is now. Default: as the run names it."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FILE.json", help="Write the results there. Default: RUN/attacks.json."),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file given by --out if it is there.")]


@with_settings("device", "dtype", "seed")
def attack(
    *,
    context: typer.Context,
    given: dict[str, object],
    run: RunArgument,
    with_: WithOption = None,
    budget: BudgetOption = "standard",
    model: ModelOption = None,
    out: OutOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Attack a finished run: relearning, quantisation, prompts, vectors, sampling, hidden states, a weaker adapter.

    Prints what each attack brings back and writes it into the run folder, where the report takes it up.
    """
    from lune.attacks.folder import RESULTS, read_attacked_run
    from lune.cli.config import resolve_invocation

    names = chosen_attacks(with_)
    settings = resolve_invocation(given).settings
    attacked = read_attacked_run(run)
    if out is not None:
        check_output_file(out, force=force)

    from lune.attacks.run import run_attacks

    run_attacks(
        attacked,
        names,
        level=budget,
        seed=settings.seed,
        model=model,
        device=settings.device,
        dtype=settings.dtype,
        out=out,
        command=str(context.obj),
        console=make_console(quiet),
    )
    if quiet:
        typer.echo(out or run / RESULTS)
