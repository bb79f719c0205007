"""``lune demo``: the main command on facts that ship with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lune.cli.forget import run_in_folder
from lune.cli.options import ConfigOption, QuietOption, with_settings
from lune.outputs import RUNS_FOLDER

DEMO_REQUEST = Path(__file__).parents[1] / "data" / "demo.jsonl"

ForceOption = Annotated[bool, typer.Option("--force", help="Replace the folder given by --out if it is there.")]


DEMO_SETTINGS = ("out", "recipe", "seed")


@with_settings(*DEMO_SETTINGS, described={"out": "Run folder to make; runs/demo, replaced each time, when not given."})
def demo(
    *,
    context: typer.Context,
    given: dict[str, object],
    config: ConfigOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make the built-in model forget six real facts and show what changed.

    Without --out the result goes to runs/demo, in place of the demo's last one.
    """
    from lune.cli.config import resolve_invocation
    from lune.facts import read_request

    facts = read_request(str(DEMO_REQUEST))
    invocation = resolve_invocation(given, config=config, settings=DEMO_SETTINGS, force=force, quiet=quiet)
    run_in_folder(
        facts,
        invocation.settings,
        default=RUNS_FOLDER / "demo",
        force=invocation.force or invocation.settings.out is None,
        quiet=invocation.quiet,
        command=str(context.obj),
    )
