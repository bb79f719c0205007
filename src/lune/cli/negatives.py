"""``lune negatives``: propose and check negative examples, and show them, without training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lune.cli.forget import make_console
from lune.cli.options import FORGET_SETTINGS, ConfigOption, QuietOption, RequestArgument, with_settings
from lune.errors import ConfigError
from lune.outputs import check_output_file

NEGATIVES_SETTINGS = (
    "model",
    "seed",
    "device",
    "dtype",
    *(name for name in FORGET_SETTINGS if name.startswith("negatives_")),
)

OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.jsonl", help="Write the negatives there, one a line.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file given by --out if it is there.")]


@with_settings(*NEGATIVES_SETTINGS)
def negatives(
    *,
    given: dict[str, object],
    request: RequestArgument,
    config: ConfigOption = None,
    out: OutOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Show the negative examples that `lune forget` would train on.

    Each is a plausible wrong answer that passed every check; those that failed are listed with the reason.
    """
    from lune.cli.config import resolve_invocation
    from lune.facts import read_request

    facts = read_request(request)
    invocation = resolve_invocation(
        given, config=config, settings=NEGATIVES_SETTINGS, paths={"out": out}, force=force, quiet=quiet
    )
    out = invocation.paths["out"]
    if invocation.quiet and out is None:
        raise ConfigError("--quiet without --out would show nothing.", hint="add --out FILE.jsonl, or drop --quiet")
    if out is not None:
        check_output_file(out, force=invocation.force)

    from lune.pipeline import run_negatives

    run_negatives(facts, invocation.settings, out=out, console=make_console(invocation.quiet))
    if invocation.quiet and out is not None:
        typer.echo(out)
