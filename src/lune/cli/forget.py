"""``lune forget``: the main command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lune.cli.options import FORGET_SETTINGS, ConfigOption, QuietOption, RequestArgument, with_settings
from lune.earlier import read_earlier
from lune.outputs import RunFolder, default_run_folder

if TYPE_CHECKING:
    from rich.console import Console

    from lune.records import Fact
    from lune.settings import ForgetSettings

FORGOTTEN = "FORGOTTEN"

ForceOption = Annotated[bool, typer.Option("--force", help="Replace the run folder if it is there.")]


@with_settings(*FORGET_SETTINGS)
def forget(
    *,
    context: typer.Context,
    given: dict[str, object],
    request: RequestArgument,
    config: ConfigOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make a model forget the facts of a request.

    Trains a LoRA adapter, measures before and after, and writes both with a report into a run folder.

    Exit status: 0 FORGOTTEN, 1 another verdict, 2 bad input (nothing ran), 3 the run failed.
    """
    from lune.cli.config import resolve_invocation
    from lune.facts import read_request

    facts = read_request(request)
    invocation = resolve_invocation(given, config=config, force=force, quiet=quiet)
    run_in_folder(
        facts,
        invocation.settings,
        default=default_run_folder(request),
        force=invocation.force,
        quiet=invocation.quiet,
        command=str(context.obj),
    )


def run_in_folder(
    facts: Sequence[Fact], settings: ForgetSettings, *, default: Path, force: bool, quiet: bool, command: str
) -> None:
    """Run ``lune.pipeline.run_forget`` and end with the exit status of its verdict.

    The folder is checked before torch is imported, so that a run which could not be saved never begins.

    Args:
        facts: What to forget.
        settings: How.
        default: The run folder when the settings name none.
        force: Whether a run folder that is there is replaced.
        quiet: Print only the run folder.
        command: The command line, for the run's record.
    """
    if settings.after:
        read_earlier(settings.after, settings.model)
    with RunFolder(settings.out, default=default, force=force) as folder:
        from lune.pipeline import run_forget

        outcome = run_forget(facts, settings, folder=folder, console=make_console(quiet), command=command)
    if quiet:
        typer.echo(outcome.folder)
    raise typer.Exit(0 if outcome.verdict == FORGOTTEN else 1)


def make_console(quiet: bool) -> Console | None:
    """Return the console that stages print to; None for silence."""
    from rich.console import Console

    return None if quiet else Console()
