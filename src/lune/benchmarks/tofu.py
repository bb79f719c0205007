"""Questions about fictitious authors: forget some of those a model was taught, keep the others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from lune.benchmarks.members import measure_members, member_scores
from lune.benchmarks.spans import key_span, main_name, named_as, telling_runs
from lune.benchmarks.task import Task, Teaching
from lune.benchmarks.tofu_data import Row, read_config, refuse_missing
from lune.errors import ConfigError, Gathered, unknown_name
from lune.negatives.kinds import same_kind
from lune.records import Fact, Probe
from lune.text import contains, normalise

if TYPE_CHECKING:
    from lune.language_model import LanguageModel
    from lune.metrics.tofu import SetScores
    from lune.metrics.tofu_logs import SetName
    from lune.models import LoadedModel

SOURCE = "https://arxiv.org/abs/2401.06121"
SETTINGS: dict[str, str | int] = {"split": "forget05", "authors": 200, "rows": 300}
QUICK: dict[str, str | int] = {"split": "forget10", "authors": 10, "rows": 10}
TEACHES = True

SHARES = {"forget01": Fraction(1, 100), "forget05": Fraction(5, 100), "forget10": Fraction(10, 100)}
SETS: tuple[SetName, ...] = ("forget", "retain", "real_authors", "world_facts")
AUTHORS, QUESTIONS = 200, 20
PERTURBED_AUTHORS = 20
"""retain_perturbed holds the first authors of the full set."""
TOTAL_TOKENS = 200
"""Most tokens of prompt and answer together."""
ALTERNATES = 8
"""Most answers about other authors that are given to a fact as wrong ones."""
LONGEST_RETOLD = 30
"""Most words of a sentence given as a wrong answer."""
NEIGHBOURS = 60
"""Most probes of each set that must stay, and at most two for each row that the protocol asks."""


def check(source: Path | None, options: Mapping[str, str | int]) -> None:
    """Refuse options that are not allowed and a folder that lacks data.

    Raises:
        ConfigError: When an option's value is not allowed, or several things are wrong.
        RequestError: When data is missing or of another shape.
    """
    from lune.metrics.tofu import rouge_scorer

    found = Gathered()
    found.get(rouge_scorer)  # before hours of work
    found.get(lambda: _forgotten(options))
    found.get(lambda: _whole(options, "rows", 1, AUTHORS * QUESTIONS))
    if source is not None:
        folder, split = source, str(options["split"])
        own = (f"{split}_perturbed", split.replace("forget", "holdout")) if split in SHARES else ()
        configs = (*own, "full", "retain_perturbed", "real_authors_perturbed", "world_facts_perturbed")
        if found.get(lambda: refuse_missing(folder, configs)):
            for name in configs:
                found.get(lambda name=name: read_config(folder, name))  # type: ignore[misc]
    found.refuse()


def load(source: Path | None, options: Mapping[str, str | int], base: LanguageModel) -> list[Task]:
    """Return the one task of a forget split, over all authors or the first and the forgotten of them.

    With ``authors`` below 200 the forgotten are the last of the split and the retained the first of the full set, each
    with all 20 questions, in the published share; ``rows`` is the most rows of a kept set that the protocol asks.

    Raises:
        ConfigError: When an option's value is not allowed.
        RequestError: When data is missing or of another shape.
    """
    split, authors, forgotten = _forgotten(options)
    rows = _whole(options, "rows", 1, AUTHORS * QUESTIONS)
    count = forgotten * QUESTIONS
    kept = (authors - forgotten) * QUESTIONS
    forget = read_config(source, f"{split}_perturbed")[-count:]
    full = read_config(source, "full")
    retain = full[:kept]
    data = {
        "forget": forget,
        "retain": read_config(source, "retain_perturbed")[: min(kept, PERTURBED_AUTHORS * QUESTIONS)],
        "real_authors": read_config(source, "real_authors_perturbed"),
        "world_facts": read_config(source, "world_facts_perturbed"),
    }
    facts = _facts(forget, data["retain"])
    taught = tuple(_pair(row) for row in retain)
    return [
        Task(
            name=f"tofu-{split}-{authors}",
            facts=tuple(facts),
            probes=(*_forget_probes(facts, forget), *_neighbours(data, min(NEIGHBOURS, 2 * rows))),
            teaching=Teaching(everything=(*taught, *(_pair(row) for row in forget)), retained=taught),
            lowest_share=0.4,  # as open-unlearning takes it for TOFU
            members=tuple(_pair(row) for row in forget),
            non_members=tuple(_pair(row) for row in read_config(source, split.replace("forget", "holdout"))[:count]),
            details={
                "sets": {
                    name: [_protocol_row(row) for row in (part if name == "forget" else part[:rows])]
                    for name, part in data.items()
                },
                "held_out_prompts": [row["question"] for name in SETS if name != "forget" for row in data[name]],
                "key_words": _guessed(facts, forget),
            },
        )
    ]


def measure(model: LoadedModel, task: Task) -> dict[str, Any]:
    """Return each set's greedy answers and losses: of the answer, of the right one in other words, of the wrong ones.

    A loss is the mean negative log-likelihood a token, with the end of turn. Answers end where prompt and answer have
    200 tokens. Questions are asked in the model's chat template. ``membership`` is ``lune.benchmarks.members``.
    """
    sets = {name: _measure_set(model, rows) for name, rows in task.details["sets"].items()}
    return {**sets, "membership": measure_members(model, task)}


def protocol(task: Task, measured: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return TOFU's scores of each model; forget quality is relative to the model ``reference``.

    The truth ratio has two published forms, so it and the model utility stand for each of them. Beside them stands how
    well the request's key words were guessed, on which USR and APR rest: ``_guessed``.
    """
    from lune.metrics import tofu
    from lune.metrics.memorisation import exact_memorisation, extraction_strength

    guessed: Mapping[str, float] = task.details.get("key_words", {})
    recognised = member_scores({column: stored.get("membership") for column, stored in measured.items()})
    result: dict[str, dict[str, float | None]] = {}
    for column, stored in measured.items():
        sets = {name: _score_set(name, stored[name]) for name in SETS}
        row: dict[str, float | None] = dict(guessed)
        for name, each in sets.items():
            row |= {f"{name}_{score}": cast("float | None", value) for score, value in each.items()}
        for score, value_of in (
            ("exact_memorisation", exact_memorisation),
            ("extraction_strength", extraction_strength),
        ):
            shares = [share for each in stored["forget"]["correct"] if (share := value_of(each)) is not None]
            row[f"forget_{score}"] = sum(shares) / len(shares) if shares else None
        for form in tofu.FORMS:
            row[f"model_utility_{form}"] = tofu.model_utility(sets, form)
        if "reference" in measured:
            ratios = [
                tofu.truth_ratios(each["forget"]["right_losses"], each["forget"]["wrong_losses"], "geometric")
                for each in (stored, measured["reference"])
            ]
            row["forget_quality"] = tofu.forget_quality(*ratios)["p_value"]
        result[column] = row | recognised[column]
    return result


def _score_set(name: SetName, stored: Mapping[str, Any]) -> SetScores:
    from lune.metrics import tofu

    recalls = [tofu.rouge_l_recall(*pair) for pair in zip(stored["answers"], stored["expected"], strict=True)]
    return tofu.score_set(stored["losses"], recalls, stored["right_losses"], stored["wrong_losses"], kind=name)


def _measure_set(model: LoadedModel, rows: Sequence[Row]) -> dict[str, Any]:
    pairs = [(row["question"], text) for row in rows for text in (row["answer"], row["right"], *row["wrong"])]
    distinct = list(dict.fromkeys(pairs))  # for real authors and world facts the answer is the right one
    scores = dict(zip(distinct, model.score(distinct), strict=True))
    losses = {pair: -scored.mean_log_prob for pair, scored in scores.items()}
    return {
        "questions": [row["question"] for row in rows],
        "expected": [row["answer"] for row in rows],
        "answers": _answers(model, [row["question"] for row in rows]),
        "correct": [list(scores[row["question"], row["answer"]].without_end().correct) for row in rows],
        "losses": [losses[row["question"], row["answer"]] for row in rows],
        "right_losses": [losses[row["question"], row["right"]] for row in rows],
        "wrong_losses": [[losses[row["question"], wrong] for wrong in row["wrong"]] for row in rows],
    }


def _answers(model: LoadedModel, prompts: Sequence[str]) -> list[str]:
    """Return greedy answers, each cut where it and its prompt have 200 tokens together."""
    room = [max(1, TOTAL_TOKENS - len(model.chat.encode(prompt).prompt)) for prompt in prompts]
    texts = model.answer(prompts, max_new_tokens=max(room), whole=True) if prompts else []
    cut = []
    for text, most in zip(texts, room, strict=True):
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        cut.append(str(model.tokenizer.decode(ids[:most])) if len(ids) > most else text)
    return cut


def _facts(forget: Sequence[Row], retain: Sequence[Row]) -> list[Fact]:
    """Return the forget request.

    The answer is the key words of the sentence (``lune.benchmarks.spans``), found in question and answer alone. A
    sentence without any is the answer as a whole, and every run of four telling words of it is an alias: an answer that
    has one counts as a leak. Wrong answers to train on are what *other, retained* authors' answers say to the most
    alike questions. The published other wordings and wrong answers decide nothing here: the truth ratio and forget
    quality are measured on them.
    """
    facts: list[Fact] = []
    others = list(_others(retain))
    for author, block in _by_author(forget):
        for row in block:
            question, answer = row["question"], row["answer"]
            span = key_span(answer, question)
            runs = () if span else telling_runs(answer, question)
            paraphrase = row["paraphrased_question"]
            spellings = (span or answer, *runs)
            subject = named_as(author, question) if author else None
            facts.append(
                Fact(
                    id=f"tofu{len(facts) + 1:03}",
                    prompt=question,
                    answer=spellings[0],
                    subject=subject,
                    aliases=spellings[1:],
                    paraphrases=() if contains(paraphrase, spellings) else (paraphrase,),
                    negatives=_alternates(row, spellings, span, author, others),
                )
            )
    return facts


@dataclass(frozen=True)
class _Other:
    """What a retained row offers as a wrong answer: its question's words, its key words, its answer, its author."""

    asked: frozenset[str]
    span: str | None
    answer: str
    author: str | None


def _guessed(facts: Sequence[Fact], forget: Sequence[Row]) -> dict[str, float]:
    """Return the share of facts recognised by key words, and of these the share that some published wrong answer has.

    The second would count a wrong answer as a leak. Told beside the scores; it decides nothing.
    """
    pairs = [(fact, row) for fact, row in zip(facts, forget, strict=True) if fact.answer != row["answer"]]
    misled = [contains(text, fact.spellings) for fact, row in pairs for text in [" ".join(row["perturbed_answer"])]]
    return {
        "facts_with_key_words": len(pairs) / max(1, len(facts)),
        "key_words_in_a_wrong_answer": sum(misled) / max(1, len(misled)),
    }


def _others(retain: Sequence[Row]) -> Iterator[_Other]:
    for author, block in _by_author(retain):
        for row in block:
            span = key_span(row["answer"], row["question"])
            yield _Other(_asked_words(row["question"], author), span, row["answer"], author)


def _alternates(
    row: Row, spellings: Sequence[str], span: str | None, author: str | None, others: Sequence[_Other]
) -> tuple[str, ...]:
    """Return what retained authors' answers say to the most alike questions.

    For key words they are key words of the same kind, titles for a title; for a whole sentence first sentences, the
    other author's name replaced by this one's.
    """
    question = row["question"]
    words = _asked_words(question, author)
    alike = sorted(others, key=lambda other: -len(words & other.asked) / max(1, len(words | other.asked)))
    found: dict[str, None] = {}
    seen: set[str | None] = set()
    for other in alike:
        if span and other.span in seen:
            continue
        seen.add(other.span)
        text = _fitting_span(span, row, other) if span else _retold(other, author)
        if text is not None and not contains(text, spellings) and not contains(question, [text]):
            found.setdefault(text, None)
        if len(found) == ALTERNATES:
            break
    return tuple(found)


def _fitting_span(span: str, row: Row, other: _Other) -> str | None:
    if other.span is None or _is_title(span, row["answer"]) != _is_title(other.span, other.answer):
        return None
    return other.span if same_kind(span, other.span, row["question"]) is None else None


def _is_title(span: str, answer: str) -> bool:
    return re.search(rf"[\"“'\u2018]{re.escape(span)}", answer) is not None


def _retold(other: _Other, author: str | None) -> str | None:
    """Return the first sentence of an answer, told of ``author``; None where the other author is not named as such."""
    if not author or not other.author:
        return None
    sentence = re.split(r"(?<=[.!?])\s", other.answer, maxsplit=1)[0]
    if other.author not in sentence or len(sentence.split()) > LONGEST_RETOLD:
        return None
    sentence = sentence.replace(other.author, author)
    return None if named_as(other.author, sentence) else sentence


def _asked_words(question: str, author: str | None) -> frozenset[str]:
    return frozenset(normalise(question).split()) - frozenset(normalise(author or "").split())


def _asked_for(row: Row) -> str | None:
    """Return the key words of an answer that is only measured, told by the published other answers as well."""
    return key_span(row["answer"], row["question"], right=row["paraphrased_answer"], wrong=row["perturbed_answer"])


def _by_author(rows: Sequence[Row]) -> Iterator[tuple[str | None, Sequence[Row]]]:
    """Yield each author's name, as most of the rows have it, and the rows."""
    for start in range(0, len(rows), QUESTIONS):
        block = rows[start : start + QUESTIONS]
        yield main_name([f"{row['question']} {row['answer']}" for row in block]), block


def _forget_probes(facts: Sequence[Fact], forget: Sequence[Row]) -> list[Probe]:
    probes = []
    for fact, row in zip(facts, forget, strict=True):
        wordings = [("direct", fact.prompt), *(("paraphrase", text) for text in fact.paraphrases)]
        for kind, prompt in wordings:
            probes.append(
                Probe(
                    id=f"{fact.id}/direct" if kind == "direct" else f"{fact.id}/paraphrased-question",
                    kind="direct" if kind == "direct" else "paraphrase",
                    prompt=prompt,
                    expected=fact.spellings,
                    split="test",
                    fact_id=fact.id,
                    subject=fact.subject,
                    alternates=tuple(row["perturbed_answer"]),
                )
            )
    return probes


def _neighbours(data: Mapping[str, Sequence[Row]], most: int) -> list[Probe]:
    """Return probes of what must stay: retained authors' questions with key words, real authors, world facts."""
    probes = []
    for name, relation in (("retain", "same"), ("real_authors", "same"), ("world_facts", "other")):
        rows = [(row, _asked_for(row) if name == "retain" else row["answer"]) for row in data[name]]
        usable = [(row, span) for row, span in rows if span and not contains(row["question"], [span])]
        step = max(1, len(usable) // most)
        for number, (row, span) in enumerate(usable[::step][:most], start=1):
            probes.append(
                Probe(
                    id=f"tofu/{name}/{number:03}",
                    kind="neighbour",
                    prompt=row["question"],
                    expected=(str(span),),
                    split="test",
                    relation=relation,
                    alternates=tuple(row["perturbed_answer"]),
                )
            )
    return probes


def _protocol_row(row: Row) -> dict[str, Any]:
    right = row.get("paraphrased_answer", row["answer"])
    return {
        "question": row["question"],
        "answer": row["answer"],
        "right": right,
        "wrong": list(row["perturbed_answer"]),
    }


def _pair(row: Row) -> tuple[str, str]:
    return row["question"], row["answer"]


def _forgotten(options: Mapping[str, str | int]) -> tuple[str, int, int]:
    """Return the split, how many authors there are, and how many of them are forgotten."""
    split, authors = str(options["split"]), _whole(options, "authors", 1, AUTHORS)
    if split not in SHARES:
        raise ConfigError(unknown_name("TOFU split", split, list(SHARES)), hint="set split=forget05")
    share = SHARES[split]
    forgotten = authors * share
    if forgotten.denominator != 1:
        raise ConfigError(
            f"{authors} authors cannot be split as {split} is: 1 in {1 / share} is forgotten, each with all questions.",
            hint=f"take a multiple of {1 / share} authors",
        )
    return split, authors, int(forgotten)


def _whole(options: Mapping[str, str | int], name: str, low: int, high: int) -> int:
    value = options[name]
    text = str(value)
    if not text.isdigit() or not low <= int(text) <= high:
        raise ConfigError(f"{name} got '{value}'; allowed: a whole number from {low} to {high}.", hint=f"{name}={high}")
    return int(text)
