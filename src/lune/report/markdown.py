"""The same report in short, as Markdown: for a ticket, a pull request or a terminal."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence

from lune.report.answers import Answer
from lune.report.attacks import threats
from lune.report.content import ReportContent, Score
from lune.report.wording import (
    CHANCE_BAND,
    CONTENT_NOTICE,
    EARLIER_HEADINGS,
    EARLIER_NOTE,
    MISSING,
    THREATS,
    count_of,
    mia_reading,
    show_interval,
    show_score,
)

MOST_ANSWERS = 20  # leaks and broken answers listed here; the page has all of them
# An underscore inside a word marks nothing, and names are full of them.
_SPECIAL = re.compile(r"([\\`*\[\]|#~$]|(?<!\w)_|_(?!\w))")


def render_markdown(content: ReportContent) -> str:
    """Return the short report as text."""
    lines = [f"# {_plain(content.title)}", ""]
    lines += [f"- {name}: {_plain(value)}" for name, value in content.headline]
    lines += ["", f"## {'Verdict: ' if content.unlearned else ''}{_plain(content.verdict)}", "", content.meaning]
    lines += _bullets(content.reasons)
    lines += _scores(content)
    lines += _membership(content)
    lines += _earlier(content)
    lines += _facts(content)
    lines += _attacks(content)
    lines += _further(content)
    lines += _problems(content) if content.unlearned else []
    lines += _negatives(content)
    if content.training or content.checks:
        lines += ["", "## Training", ""]
        lines += [f"- {_plain(name)}: {_plain(value)}" for name, value in (*content.training, *content.checks)]
    for name, pairs in content.record.items():
        lines += ["", f"## {name}", ""]
        lines += [f"- {_plain(key)}: {_plain(value)}" for key, value in pairs]
    lines += ["", "## Limits", "", CONTENT_NOTICE]
    lines += _bullets(content.limits)
    if content.unlearned:
        lines += _table(("Who", "Can they still get at the facts?"), threats(THREATS, content.further))
    return "\n".join(lines) + "\n"


def _scores(content: ReportContent) -> list[str]:
    if not (content.primary or content.secondary):
        return []
    rows = [_score_row(score) for score in (*content.primary, *content.secondary)]
    return ["", "## Scores", *_table(("Score", "Before", "After", "95 % interval", "Threshold", "Reached"), rows)]


def _score_row(score: Score) -> tuple[str, ...]:
    reached = {None: MISSING, True: "yes", False: "**no**"}[score.reached]
    return (
        score.words.title,
        show_score(score.before),
        show_score(score.after, score.threshold),
        show_interval(score.interval_after),
        show_score(score.threshold),
        reached,
    )


def _membership(content: ReportContent) -> list[str]:
    if not content.membership:
        return []
    rows = [
        (
            score.name,
            show_score(score.auc_before),
            show_score(score.auc_after),
            mia_reading(score.auc_after) if content.unlearned else MISSING,
        )
        for score in content.membership
    ]
    note = f"AUC 0.5 is a coin toss (called so within {CHANCE_BAND}). Below it is over-unlearning, not success."
    note = note if content.unlearned else "AUC 0.5 is a coin toss."
    return ["", "## Membership inference", "", note, *_table(("Attack", "AUC before", "AUC after", "Reading"), rows)]


def _earlier(content: ReportContent) -> list[str]:
    if not content.earlier:
        return []
    rows = [
        (
            each.folder,
            MISSING if each.facts is None else str(each.facts),
            *map(show_score, (each.usr, each.paraphrase_usr, each.apr, each.gur_neighbour)),
        )
        for each in content.earlier
    ]
    return ["", "## Earlier requests", "", EARLIER_NOTE, *_table(("Run", *EARLIER_HEADINGS), rows)]


def _facts(content: ReportContent) -> list[str]:
    if not content.facts:
        return []
    known = {True: "yes", False: "no, not scored", None: MISSING}
    rows = [
        (
            fact.id,
            fact.prompt,
            fact.answer,
            known[fact.known] if fact.trained else "not known, not trained",
            fact.direct_after,
            f"{fact.leaks} of {fact.asked}",
        )
        for fact in content.facts
    ]
    return ["", "## Facts", *_table(("Fact", "Prompt", "Answer", "Known before", "Says now", _giving(content)), rows)]


def _attacks(content: ReportContent) -> list[str]:
    if not content.attacks:
        return []
    rows = [
        (attack.name, show_score(attack.before), show_score(attack.after), f"{attack.leaks} of {attack.probes}")
        for attack in content.attacks
    ]
    return ["", "## Attacks rejected", *_table(("Attack", "Before", "After", _giving(content)), rows)]


def _giving(content: ReportContent) -> str:
    return "Leaking probes" if content.unlearned else "Probes that give the answer"


def _further(content: ReportContent) -> list[str]:
    if not content.further:
        return []
    rows = [
        (row.name, show_score(row.before), show_score(row.after), show_interval(row.interval), row.meaning, row.threat)
        for row in content.further
    ]
    header = ("Attack", "USR before", "USR under attack", "Recovered, 95 %", "What came of it", "Who could")
    return ["", "## Attacks on the finished run", *_table(header, rows)]


def _problems(content: ReportContent) -> list[str]:
    problems = [answer for answer in content.answers if answer.outcome.key in ("leak", "broken")]
    if not content.answers:
        return []
    lines = ["", "## Leaks and broken answers", ""]
    if not problems:
        return [*lines, f"None among {len(content.answers)} probes."]
    found = f"{count_of(content.count('leak'), 'leak')} and {count_of(content.count('broken'), 'broken answer')}"
    rest = f"; the first {MOST_ANSWERS}" if len(problems) > MOST_ANSWERS else ""
    lines.append(f"{found} among {len(content.answers)} probes{rest}:")
    header = ("Outcome", "Kind", "Prompt", "Expected", "Before", "After")
    return [*lines, *_table(header, [_answer_row(answer) for answer in problems[:MOST_ANSWERS]])]


def _answer_row(answer: Answer) -> tuple[str, ...]:
    kind = f"{answer.kind}: {answer.attack}" if answer.attack else answer.kind
    expected = answer.expected[0] if answer.expected else ""
    label = answer.outcome.label + ("" if answer.scored else " (fact not scored)")
    return (label, kind, answer.prompt, expected, answer.before, answer.after)


def _negatives(content: ReportContent) -> list[str]:
    if not (content.negatives or content.rejected):
        return []
    used = "".join(f"; {count} from {_plain(origin)}" for origin, count in content.negative_origins.items())
    failed = "".join(f"; {count} {_plain(reason)}" for reason, count in content.rejected_reasons.items())
    lines = ["", "## Negative examples", "", f"- Trained on: {len(content.negatives)}{used}"]
    return [*lines, f"- Rejected: {len(content.rejected)}{failed}"]


def _bullets(entries: Sequence[str]) -> list[str]:
    return ["", *(f"- {_plain(entry)}" for entry in entries)] if entries else []


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table with an empty line before it; every cell but the bold ``no`` is escaped."""
    lines = ["", f"| {' | '.join(header)} |", f"|{' --- |' * len(header)}"]
    for row in rows:
        cells = (cell if cell == "**no**" else _plain(cell) for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _plain(value: str) -> str:
    """Return untrusted text on one line, with every character that Markdown or HTML would act on escaped."""
    one_line = " ".join("".join(char if char.isprintable() else " " for char in value).split())
    escaped = html.escape(_SPECIAL.sub(r"\\\1", one_line), quote=False)
    # Bare addresses would become links in most viewers.
    return re.sub(r"(?i)\b(https?|www)(?=[:.])", r"\1&#8203;", escaped)
