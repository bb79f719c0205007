"""``lune evaluate``: score a model, with or without an adapter, on probes from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lune.cli.forget import make_console
from lune.cli.options import ConfigOption, QuietOption, with_settings
from lune.errors import ConfigError, ModelError
from lune.outputs import ADAPTER, ADAPTER_CONFIG, check_output_file

AdapterOption = Annotated[
    Path | None, typer.Option("--adapter", metavar="DIR", help="A PEFT adapter to put on the model.")
]
ProbesOption = Annotated[
    Path | None,
    typer.Option(
        "--probes",
        metavar="FILE.jsonl",
        help="One object a line: prompt and answer (or expected, a list); kind, attack, id, fact_id, subject "
        "and relation are optional. A run's probes.jsonl fits.",
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE.json", help="Write the scores and answers there as JSON.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace the file given by --out if it is there.")]


EVALUATE_SETTINGS = ("device", "dtype", "seed")


@with_settings(*EVALUATE_SETTINGS)
def evaluate(
    *,
    given: dict[str, object],
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Hub id, local folder, or the built-in model's name.")],
    probes: ProbesOption = None,
    adapter: AdapterOption = None,
    config: ConfigOption = None,
    out: OutOption = None,
    force: ForceOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask a model the probes of a file and print how many it answers as expected.

    The probes of a run tell what the base model knew: then USR, APR and GUR are printed too.
    """
    from lune.cli.config import resolve_invocation
    from lune.facts import read_probe_file

    invocation = resolve_invocation(
        {**given, "model": model},
        config=config,
        settings=EVALUATE_SETTINGS,
        paths={"probes": probes, "adapter": adapter, "out": out},
        force=force,
        quiet=quiet,
    )
    settings = invocation.settings
    probes, adapter, out = (invocation.paths[name] for name in ("probes", "adapter", "out"))
    if probes is None:
        raise ConfigError("Missing option '--probes'.")
    asked = read_probe_file(str(probes))
    if adapter is not None:
        check_adapter(adapter)
    if out is not None:
        check_output_file(out, force=invocation.force)

    from lune.reevaluation import run_evaluate

    run_evaluate(
        model=settings.model,
        adapter=adapter,
        probes=asked.probes,
        before=asked.before,
        out=out,
        device=settings.device,
        dtype=settings.dtype,
        seed=settings.seed,
        console=make_console(invocation.quiet),
    )
    if invocation.quiet and out is not None:
        typer.echo(out)


def check_adapter(adapter: Path) -> None:
    """Raise ModelError when ``adapter`` is not the folder of a PEFT adapter."""
    if (adapter / ADAPTER_CONFIG).is_file():
        return
    inside = adapter / ADAPTER
    if (inside / ADAPTER_CONFIG).is_file():
        raise ModelError(f"{adapter} is a run folder, not an adapter.", hint=f"--adapter {inside}")
    what = f"has no {ADAPTER_CONFIG}" if adapter.is_dir() else "is not a folder"
    raise ModelError(
        f"{adapter} {what}, so it is no PEFT adapter.", hint="name the adapter folder of a run: RUN/adapter"
    )
