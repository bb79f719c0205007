"""``lune ls``: what methods, metrics, attacks and benchmarks there are."""

from __future__ import annotations

from typing import Annotated

import typer

from lune.listing import KINDS, groups

KindArgument = Annotated[str, typer.Argument(metavar="KIND", help=f"One of: {', '.join(KINDS)}.")]


def ls(kind: KindArgument) -> None:
    """List what there is of a kind."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for heading, rows in groups(kind):
        if heading:
            console.print(heading, style="bold", highlight=False)
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for place, title in enumerate(rows[0]):
            table.add_column(title, no_wrap=place == 0)
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
        if heading:
            console.print()
