"""The table that ``lune negatives REQUEST`` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from lune.negatives.build import NegativeSet
from lune.records import Fact, Negative, Rejected

_MAX_REJECTED = 4


def negatives_table(facts: Sequence[Fact], made: NegativeSet) -> RenderableType:
    """Return, for each fact, its wrong answers by origin, one example a form, and what was dropped and why.

    Args:
        facts: The facts of the request, in the order to show.
        made: What ``build_negatives`` returned for them.
    """
    tables = [
        _fact_table(
            fact,
            [negative for negative in made.negatives if negative.fact_id == fact.id],
            made.alternates.get(fact.id, []),
            [row for row in made.rejected if row.fact_id == fact.id],
        )
        for fact in facts
    ]
    return Group(*tables, summary(facts, made))


def summary(facts: Sequence[Fact], made: NegativeSet) -> Text:
    """Return one line that counts facts, negatives, wrong answers, forms and rejections."""
    forms = {negative.form for negative in made.negatives}
    distinct = sum(len(alternates) for alternates in made.alternates.values())
    return Text(
        f"{_count(len(facts), 'fact')} · {_count(len(made.negatives), 'negative')} from "
        f"{_count(distinct, 'wrong answer')} in {_count(len(forms), 'form')} · {len(made.rejected)} dropped"
    )


def _fact_table(
    fact: Fact, negatives: Sequence[Negative], alternates: Sequence[str], rejected: Sequence[Rejected]
) -> Table:
    """Return the table of one fact; user text is never read as markup."""
    table = Table(
        title=Text.assemble((fact.id, "bold"), f"  {fact.prompt}  ", (f"(not: {fact.answer})", "dim")),
        title_justify="left",
        title_style="",
        show_header=False,
        box=box.SIMPLE,
        expand=True,
        pad_edge=False,
    )
    table.add_column(style="bold", width=13, no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    table.add_row("wrong answers", _by_origin(alternates, negatives))
    examples = [Text.assemble((f"{one.form}: ", "dim"), one.prompt, " → ", one.response) for one in _varied(negatives)]
    table.add_row("examples", Group(*examples))
    if rejected:
        shown = [
            Text.assemble(row.alternate, (f" ({row.origin}) ", "dim"), row.reason) for row in rejected[:_MAX_REJECTED]
        ]
        more = len(rejected) - len(shown)
        table.add_row("dropped", Group(*shown, *([Text(f"and {more} more", style="dim")] if more else [])))
    return table


def _by_origin(alternates: Sequence[str], negatives: Sequence[Negative]) -> Text:
    """Return the alternates in their order, grouped by the source that proposed them."""
    origins = {negative.alternate: negative.origin for negative in negatives}
    groups: dict[str, list[str]] = {}
    for alternate in alternates:
        groups.setdefault(origins.get(alternate, "unused"), []).append(alternate)
    lines = [Text.assemble(", ".join(words), (f"  ({origin})", "dim")) for origin, words in groups.items()]
    return Text("\n").join(lines)


def _varied(negatives: Iterable[Negative]) -> list[Negative]:
    """Return the first example of every form."""
    firsts: dict[str, Negative] = {}
    for negative in negatives:
        firsts.setdefault(negative.form, negative)
    return list(firsts.values())


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
