"""The table of a bench in four forms: Markdown, CSV, JSON, and a figure of forgetting against what was kept."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from lune.bench.plan import BEFORE, REFERENCE
from lune.bench.results import ALL_TASKS, PROBE_COUNTS, Row, Spread, as_json, read_cells, rows
from lune.listing import TABLE_NAMES
from lune.outputs import refusals_named, write_json, write_text
from lune.report.figures import Panel, Point, scatter

FILES = ("table.md", "table.csv", "table.json", "table.svg")
MOST_FULL = 6
"""Tasks up to which each has a table of its own; of more only the main scores are listed."""
MAIN = ("usr", "apr", "gur_neighbour", "gur_general", "gur", "mia_loss")
_STYLE = """
svg { background: #ffffff; font: 13px system-ui, "Segoe UI", "Liberation Sans", Arial, sans-serif; }
text { fill: #1b2127; paint-order: stroke; stroke: #ffffff; stroke-width: 3px; }
.strong { font-weight: 600; } .tick { fill: #56616c; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.grid { stroke: #d6dade; } .error { stroke: #56616c; } .line { fill: none; stroke: #1d5b80; stroke-width: 1.5; }
.mark-0 { fill: #1d5b80; } .mark-1 { fill: #ffffff; stroke: #a2521b; stroke-width: 1.5; }
"""
_NOTES = (
    "Mean ± standard deviation over seeds (sample deviation; none for one seed). USR, APR and the verdict count the "
    "facts that the model knew before: with few of them a share says little. `gur_neighbour` is the share of "
    "neighbouring facts kept: a method that forgets everything around has a high USR and a low `gur_neighbour`. An MIA "
    "AUC is to be that of the reference where there is one, and 0.5 where true answers are compared with wrong ones. "
    "`before` is the model before forgetting, `reference` the one that was taught the retained part only."
)
Grid = tuple[list[str], list[list[str]]]
"""Headings and lines of a table."""


def write_table(folders: Sequence[Path], out: Path, *, console: Console | None = None) -> list[Row]:
    """Make the table from the run folders of benches and write it to ``out`` in its four forms.

    Args:
        folders: Bench folders.
        out: The folder for table.md, table.csv, table.json and table.svg.
        console: Where it is shown; None for silence.

    Raises:
        OutputError: When a folder holds no cells, or the files cannot be written.
    """
    table = rows(read_cells(folders))
    with refusals_named(out):
        out.mkdir(parents=True, exist_ok=True)
    write_text(out / "table.md", markdown(table))
    write_text(out / "table.csv", as_csv(table))
    write_json(out / "table.json", as_json(table))
    write_text(out / "table.svg", figure(table))
    for title, (headings, lines) in grids(table) if console else ():
        shown = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left")
        for place, heading in enumerate(headings):
            shown.add_column(heading, justify="right" if place else "left")
        for line in lines:
            shown.add_row(*line)
        if console:
            console.print(shown)
    return table


def markdown(table: Sequence[Row], level: int = 1) -> str:
    """Return the tables as a Markdown page whose title stands at a heading level."""
    marks = "#" * level
    parts = [f"{marks} {', '.join(dict.fromkeys(row.benchmark for row in table))}", "", _NOTES, ""]
    for title, (headings, lines) in grids(table):
        parts += [f"{marks}# {title}", "", f"| {' | '.join(headings)} |"]
        parts.append(f"| --- |{' ---: |' * (len(headings) - 1)}")
        parts += [f"| {' | '.join(line)} |" for line in lines] + [""]
    return "\n".join(parts).rstrip() + "\n"


def grids(table: Sequence[Row]) -> list[tuple[str, Grid]]:
    """Return the tables with their titles: all tasks together, then each task, or a list of tasks where they are many.

    Every one of them shows gur_neighbour.
    """
    result = []
    for benchmark in dict.fromkeys(row.benchmark for row in table):
        own = [row for row in table if row.benchmark == benchmark]
        tasks = list(dict.fromkeys(row.task for row in own))
        many = len(tasks) > MOST_FULL
        for task in [ALL_TASKS] if many else tasks:
            title = f"{benchmark}: {task}" if task == ALL_TASKS else task
            result.append((title, _full([row for row in own if row.task == task])))
        if many:
            result.append((f"{benchmark}: task by task", _compact([row for row in own if row.task != ALL_TASKS])))
    return result


def _full(columns: Sequence[Row]) -> Grid:
    """Return a table with a line for each score and a column for each way of unlearning."""
    lines = [["seeds", *(", ".join(map(str, row.seeds)) for row in columns)]]
    if len({row.cells for row in columns}) > 1 or any(row.cells != len(row.seeds) for row in columns):
        lines.append(["cells", *(str(row.cells) for row in columns)])
    lines.append(["known facts", *map(_facts, columns)])
    lines += [[f"probes: {kind}", *(_count(row, kind) for row in columns)] for kind in PROBE_COUNTS]
    names = list(dict.fromkeys(name for row in columns for name in row.scores))
    for name in sorted(names, key=_order):
        lines.append([_title(name), *(_shown(row.scores.get(name)) for row in columns)])
    for name in dict.fromkeys(name for row in columns for name in row.protocol):
        lines.append([f"protocol: {name}", *(_shown(row.protocol.get(name)) for row in columns)])
    verdicts = [", ".join(f"{count} {word}" for word, count in row.verdicts.items()) for row in columns]
    return ["", *(row.column for row in columns)], [*lines, ["verdicts", *verdicts]]


def _compact(own: Sequence[Row]) -> Grid:
    headings = ["task", "column", "seeds", "known facts", *map(_title, MAIN)]
    lines = [
        [row.task, row.column, str(len(row.seeds)), _facts(row), *(_shown(row.scores.get(name)) for name in MAIN)]
        for row in own
    ]
    return headings, lines


def _facts(row: Row) -> str:
    return f"{_count(row, 'known_facts')} of {_count(row, 'facts')}"


def _count(row: Row, name: str) -> str:
    """Return a count in each seed, as one number where all have the same."""
    there = row.counts.get(name, ())
    if not there:
        return "n/a"
    return str(min(there)) if min(there) == max(there) else f"{min(there)}-{max(there)}"


def _order(name: str) -> tuple[int, str]:
    return (list(TABLE_NAMES).index(name), "") if name in TABLE_NAMES else (len(TABLE_NAMES), name)


def _title(name: str) -> str:
    if name in TABLE_NAMES:
        return TABLE_NAMES[name]
    attack, _, gap = name.removeprefix("mia_").partition("_from_")
    shown = attack.removesuffix("_privleak").replace("_", "-")
    if attack.endswith("_privleak"):
        return f"PrivLeak, {shown}"
    return f"MIA AUC, {shown}{', distance from reference' if gap else ''}"


def _shown(spread: Spread | None) -> str:
    if spread is None:
        return "n/a"
    # A p-value may be 1e-12 and a score 140: three decimals would say nothing, or too much.
    digits = ".3f" if 0.001 <= abs(spread.mean) < 100 or spread.mean == 0 else ".3g"  # noqa: PLR2004
    mean = format(spread.mean, digits)
    return mean if spread.deviation is None else f"{mean} ± {format(spread.deviation, digits)}"


def as_csv(table: Sequence[Row]) -> str:
    """Return the table as CSV, a line a score: whose it is, the facts behind it, mean, deviation, each seed's value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    place = ["benchmark", "task", "column", "kind", "score"]
    writer.writerow([*place, "mean", "standard_deviation", "seeds", "values", "known_facts", "facts"])
    for row in table:
        for kind, scores in (("own", row.scores), ("protocol", row.protocol)):
            for name, spread in scores.items():
                deviation = "" if spread.deviation is None else spread.deviation
                values = " ".join(map(str, spread.values))
                place = [row.benchmark, row.task, row.column, kind, name]
                facts = [_count(row, "known_facts"), _count(row, "facts")]
                writer.writerow([*place, spread.mean, deviation, len(spread.values), values, *facts])
    return text.getvalue()


def figure(table: Sequence[Row]) -> str:
    """Return the figure as an SVG file: USR against GUR and against gur_neighbour, with the Pareto front."""
    panels = []
    for benchmark in dict.fromkeys(row.benchmark for row in table):
        own = [row for row in table if row.benchmark == benchmark]
        together = [row for row in own if row.task == ALL_TASKS] or own
        for name in ("gur", "gur_neighbour"):
            panels.append(
                Panel(
                    f"{benchmark}: USR against {TABLE_NAMES[name]} (filled: on the front)",
                    TABLE_NAMES[name],
                    "USR",
                    _points(together, name),
                )
            )
    title = "Forgetting against what was kept; filled and joined: no other does better in both"
    drawn = str(scatter("bench", title, panels))
    return (
        drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
            "</desc>", f"</desc><style>{_STYLE}</style>", 1
        )
        + "\n"
    )


def _points(own: Sequence[Row], name: str) -> tuple[Point, ...]:
    there = [(row, row.scores[name], row.scores["usr"]) for row in own if {name, "usr"} <= row.scores.keys()]
    rivals = [(kept.mean, gone.mean) for row, kept, gone in there if row.column not in (BEFORE, REFERENCE)]
    front = pareto_front(rivals)
    return tuple(
        Point(
            row.column,
            kept.mean,
            gone.mean,
            kept.deviation or 0.0,
            gone.deviation or 0.0,
            row.column not in (BEFORE, REFERENCE) and (kept.mean, gone.mean) in front,
        )
        for row, kept, gone in there
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> set[tuple[float, float]]:
    """Return the points that no other beats: none is as high in both coordinates and higher in one.

    Columns that unlearn are compared; before, which keeps everything, and the reference, which is no method, are not.
    """
    return {
        point
        for point in points
        if not any(other != point and other[0] >= point[0] and other[1] >= point[1] for other in points)
    }
