"""What the report says, as plain values: the page and its Markdown sister are both made from these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lune.records import EarlierScores, Negative, Rejected
from lune.report.answers import Answer, fact_ids_unknown, read_answers
from lune.report.attacks import AttackRow, attack_rows, worst_in_words
from lune.report.folder import Row, StoredRun, items, mapping, number, text
from lune.report.wording import (
    CHECK_NAMES,
    KIND_WORDS,
    MIA_NAMES,
    NOT_UNLEARNED,
    PRIMARY_SCORES,
    SECONDARY_SCORES,
    VERDICT_TONES,
    ScoreWords,
    show_key,
    show_seconds,
    show_time,
    show_value,
    verdict_meaning,
)

Pairs: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Score:
    """One score before and after, with 95 % intervals and, for the scores of the verdict, a threshold."""

    key: str
    words: ScoreWords
    before: float | None
    after: float | None
    interval_before: tuple[float, float] | None = None
    interval_after: tuple[float, float] | None = None
    threshold: float | None = None

    @property
    def reached(self) -> bool | None:
        """Whether the score after reaches its threshold; None when either is missing."""
        return None if self.after is None or self.threshold is None else self.after >= self.threshold


@dataclass(frozen=True)
class MembershipScore:
    """One membership-inference attack before and after."""

    name: str
    auc_before: float | None
    auc_after: float | None
    accuracy_before: float | None
    accuracy_after: float | None


@dataclass(frozen=True)
class AttackScore:
    """APR of one attack before and after, with the probes of known facts it was counted over."""

    name: str
    before: float | None
    after: float | None
    probes: int
    leaks: int


@dataclass(frozen=True)
class FactSummary:
    """A fact of the request and what its probes showed."""

    id: str
    prompt: str
    answer: str
    subject: str
    known: bool | None
    direct_after: str
    asked: int
    leaks: int
    neighbours: int
    broken: int
    trained: bool = True


@dataclass(frozen=True)
class KindSummary:
    """How one kind of probe was answered before and after."""

    kind: str
    label: str
    meaning: str
    probes: int
    right_before: int
    right_after: int


@dataclass(frozen=True)
class ReportContent:
    """Everything the report shows. Empty parts are left out of it.

    ``unlearned`` is False for a bench's cells in which nothing was forgotten; ``verdict`` says what the model is then.
    """

    title: str
    unlearned: bool
    headline: Pairs
    verdict: str
    meaning: str
    tone: str
    reasons: tuple[str, ...]
    primary: tuple[Score, ...]
    secondary: tuple[Score, ...]
    membership: tuple[MembershipScore, ...]
    attacks: tuple[AttackScore, ...]
    further: tuple[AttackRow, ...]
    earlier: tuple[EarlierScores, ...]
    facts: tuple[FactSummary, ...]
    facts_known: int | None
    facts_total: int | None
    kinds: tuple[KindSummary, ...]
    answers: tuple[Answer, ...]
    negatives: tuple[Negative, ...]
    negative_origins: Mapping[str, int]
    rejected: tuple[Rejected, ...]
    rejected_reasons: Mapping[str, int]
    history: tuple[Row, ...]
    training: Pairs
    best_step: float | None
    checks: Pairs
    record: Mapping[str, Pairs]
    limits: tuple[str, ...]

    def count(self, outcome: str) -> int:
        """Return how many answers had ``outcome``."""
        return sum(answer.outcome.key == outcome for answer in self.answers)


def build_content(folder: StoredRun) -> ReportContent:
    """Return what the report of ``folder`` says."""
    run = folder.run
    facts = mapping(run.get("facts"))
    metrics = mapping(run.get("metrics"))
    before, after = mapping(metrics.get("before")), mapping(metrics.get("after"))
    training = mapping(run.get("training"))
    cell = mapping(run.get("bench"))
    stands_for = NOT_UNLEARNED.get(text(cell.get("column")))
    unlearned = stands_for is None
    answers = read_answers(folder.probes, fact_ids_unknown(facts), unlearned=unlearned)
    known, total = number(facts.get("known")), number(facts.get("total"))
    model = text(mapping(run.get("model")).get("id"))
    verdict = text(run.get("verdict")) or "NO VERDICT"
    further = attack_rows(folder.attacks)
    named = f": {model}" if model else ""
    return ReportContent(
        title=f"Unlearning report{named}" if unlearned else f"Benchmark cell without unlearning{named}",
        unlearned=unlearned,
        headline=_headline(run, model, known, total, unlearned=unlearned),
        verdict=stands_for[0] if stands_for else verdict,
        meaning=stands_for[1] if stands_for else verdict_meaning(verdict),
        tone=VERDICT_TONES.get(verdict, "warn") if unlearned else "plain",
        reasons=(*map(text, items(run.get("verdict_reasons"))), *worst_in_words(further)) if unlearned else (),
        primary=_scores(PRIMARY_SCORES, before, after, mapping(run.get("thresholds")) if unlearned else None),
        secondary=_secondary_scores(before, after),
        membership=_membership(mapping(before.get("mia")), mapping(after.get("mia"))),
        attacks=_attacks(before, after, answers),
        further=further,
        earlier=tuple(_earlier(mapping(each)) for each in items(run.get("earlier_requests"))),
        facts=tuple(_fact_summary(mapping(fact), answers) for fact in items(facts.get("list"))),
        facts_known=None if known is None else int(known),
        facts_total=None if total is None else int(total),
        kinds=_kinds(answers),
        answers=answers,
        negatives=tuple(_negative(row) for row in folder.negatives) if unlearned else (),
        negative_origins=_tally(folder.negatives, "origin"),
        rejected=tuple(_rejected(row) for row in folder.rejected) if unlearned else (),
        rejected_reasons=_tally(folder.rejected, "reason"),
        history=folder.history,
        training=_pairs(training),
        best_step=number(training.get("best_step")),
        checks=_checks(mapping(run.get("checks"))),
        record=_record(run, unlearned=unlearned),
        limits=tuple(text(limit) for limit in items(run.get("limits"))),
    )


def _headline(run: Row, model: str, known: float | None, total: float | None, *, unlearned: bool) -> Pairs:
    method, recipe = text(run.get("method")), text(run.get("recipe"))
    cell = mapping(run.get("bench"))
    pairs = [
        ("Model", model),
        (
            "Cell",
            f"{text(cell.get('task'))} · {text(cell.get('column'))} · seed {text(cell.get('seed'))}" if cell else "",
        ),
        ("Method", (f"{method} (recipe {recipe})" if method and recipe else method or recipe) if unlearned else ""),
        ("Facts", f"{known:g} of {total:g} known before" if known is not None and total is not None else ""),
        ("Made", show_time(text(run.get("created")))),
    ]
    return tuple((name, value) for name, value in pairs if value)


def _earlier(row: Row) -> EarlierScores:
    facts = number(row.get("facts"))
    scores = (number(row.get(name)) for name in ("usr", "paraphrase_usr", "apr", "gur_neighbour"))
    return EarlierScores(text(row.get("folder")), None if facts is None else int(facts), *scores)


def _interval(metrics: Row, key: str) -> tuple[float, float] | None:
    match [number(bound) for bound in items(mapping(metrics.get("intervals")).get(key))]:
        case [float(low), float(high)]:
            return low, high
    return None


def _scores(
    words: Mapping[str, ScoreWords], before: Row, after: Row, thresholds: Row | None = None
) -> tuple[Score, ...]:
    """Return the scores of ``words`` that were measured before or after, in that order."""
    scores = (
        Score(
            key=key,
            words=score_words,
            before=number(before.get(key)),
            after=number(after.get(key)),
            interval_before=_interval(before, key),
            interval_after=_interval(after, key),
            threshold=number((thresholds or {}).get(key)),
        )
        for key, score_words in words.items()
        if key in before or key in after
    )
    return tuple(scores)


def _secondary_scores(before: Row, after: Row) -> tuple[Score, ...]:
    """Return the other scores, and any number of the record that this report has no words for."""
    told = {**PRIMARY_SCORES, **SECONDARY_SCORES}
    others = {
        key: ScoreWords(show_key(key), "", "", "context")
        for key in {**before, **after}
        if key not in told and (number(before.get(key)) is not None or number(after.get(key)) is not None)
    }
    return _scores({**SECONDARY_SCORES, **others}, before, after)


def _membership(before: Row, after: Row) -> tuple[MembershipScore, ...]:
    names = {**before, **after}
    rows = []
    for name in names:
        then, now = mapping(before.get(name)), mapping(after.get(name))
        if not then and not now:
            continue
        rows.append(
            MembershipScore(
                name=MIA_NAMES.get(name, show_key(name)),
                auc_before=number(then.get("auc")),
                auc_after=number(now.get("auc")),
                accuracy_before=number(then.get("balanced_accuracy")),
                accuracy_after=number(now.get("balanced_accuracy")),
            )
        )
    return tuple(rows)


def _attacks(before: Row, after: Row, answers: Sequence[Answer]) -> tuple[AttackScore, ...]:
    """Return the attacks, the most successful one after training first."""
    then, now = mapping(before.get("apr_by_attack")), mapping(after.get("apr_by_attack"))
    scored = [answer for answer in answers if answer.kind == "adversarial" and answer.scored]
    asked = Counter(answer.attack for answer in scored)
    leaked = Counter(answer.attack for answer in scored if answer.outcome.key == "leak")
    rows = [
        AttackScore(name, number(then.get(name)), number(now.get(name)), asked[name], leaked[name])
        for name in {**then, **now}
    ]
    return tuple(sorted(rows, key=lambda row: (2.0 if row.after is None else row.after, row.name)))


def _fact_summary(fact: Row, answers: Sequence[Answer]) -> FactSummary:
    fact_id = text(fact.get("id"))
    own = [answer for answer in answers if answer.fact_id == fact_id]
    asked = [answer for answer in own if answer.must_forget]
    kept = [answer for answer in own if answer.kind == "neighbour" and answer.correct_before]
    known = fact.get("known")
    return FactSummary(
        id=fact_id,
        prompt=text(fact.get("prompt")),
        answer=text(fact.get("answer")),
        subject=text(fact.get("subject")),
        known=known if isinstance(known, bool) else None,
        direct_after=next((answer.after for answer in asked if answer.kind == "direct"), ""),
        asked=len(asked),
        leaks=sum(answer.outcome.key == "leak" for answer in asked),
        neighbours=len(kept),
        broken=sum(answer.outcome.key == "broken" for answer in kept),
        trained=fact.get("trained") is not False,
    )


def _kinds(answers: Sequence[Answer]) -> tuple[KindSummary, ...]:
    """Return how each kind was answered, over the probes that count (those of unknown facts do not)."""
    summaries = []
    for kind in dict.fromkeys(answer.kind for answer in answers):
        rows = [answer for answer in answers if answer.kind == kind and answer.scored]
        label, meaning = KIND_WORDS.get(kind, (show_key(kind), ""))
        right_before = sum(row.correct_before for row in rows)
        summaries.append(
            KindSummary(kind, label, meaning, len(rows), right_before, sum(row.correct_after for row in rows))
        )
    return tuple(summaries)


def _negative(row: Row) -> Negative:
    return Negative(
        fact_id=text(row.get("fact_id")),
        form=text(row.get("form")),
        prompt=text(row.get("prompt")),
        response=text(row.get("response")),
        alternate=text(row.get("alternate")),
        origin=text(row.get("origin")),
        checks=tuple(text(check) for check in items(row.get("checks"))),
    )


def _rejected(row: Row) -> Rejected:
    return Rejected(*(text(row.get(key)) for key in ("fact_id", "alternate", "origin", "reason")))


def _tally(rows: Iterable[Row], key: str) -> dict[str, int]:
    """Return how often each value of ``key`` occurs, the most frequent first."""
    return dict(Counter(text(row.get(key)) or "not given" for row in rows).most_common())


def _pairs(values: Row) -> Pairs:
    return tuple((show_key(key), show_value(value)) for key, value in values.items())


def _checks(checks: Row) -> Pairs:
    return tuple((CHECK_NAMES.get(key, show_key(key)), show_value(value)) for key, value in checks.items())


def _record(run: Row, *, unlearned: bool) -> dict[str, Pairs]:
    """Return the tables of the run record: what is needed to judge it and to run it again.

    Settings of unlearning are left out where they decided nothing.
    """
    model = mapping(run.get("model"))
    timings = mapping(run.get("timings_s"))
    memory = number(run.get("peak_memory_mb"))
    cost = [(show_key(stage), show_seconds(number(seconds))) for stage, seconds in timings.items()]
    if memory is not None:
        cost.append(("Peak memory", f"{memory:,.0f} MB"))
    command = text(run.get("command"))
    tables: dict[str, Pairs] = {
        "Command": (("Typed", command),) if command else (),
        "Model": _pairs(model),
        "Time and memory": tuple(cost),
        "Hardware": _pairs(mapping(run.get("hardware"))),
        "Versions": tuple((name, show_value(version)) for name, version in mapping(run.get("versions")).items()),
        "Seeds": _pairs(mapping(run.get("seeds"))),
    }
    if unlearned:
        tables["Settings"] = tuple((name, show_value(value)) for name, value in mapping(run.get("settings")).items())
    return {name: pairs for name, pairs in tables.items() if pairs}
