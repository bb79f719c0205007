"""``lune ls``: what methods, metrics, attacks and benchmarks there are."""

from __future__ import annotations

from typing import Annotated

import typer

from lune.listing import KINDS, rows

KindArgument = Annotated[str, typer.Argument(metavar="KIND", help=f"One of: {', '.join(KINDS)}.")]


def ls(kind: KindArgument) -> None:
    """List what there is of a kind."""
    listed = rows(kind)
    if not listed:
        typer.echo(f"There are no {kind} yet.")
        return

    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for place, title in enumerate(listed[0]):
        table.add_column(title, no_wrap=place == 0)
    for row in listed:
        table.add_row(*row.values())
    Console().print(table)
