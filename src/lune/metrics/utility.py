"""General abilities that unlearning must leave: MMLU, BBH, TruthfulQA, TriviaQA, fluency, on files of RWKU's layout.

Prompts, lengths and scores are those of RWKU (arXiv 2406.10890), each through the chat template with its generation
prompt and a literal opening of the answer; for a model without a template the same text alone.

    MMLU         share of questions whose most likely next token among " A", " B", " C", " D" is right, after 5 examples
    BBH          exact match of what stands behind "the answer is", after worked examples; 256 tokens
    TruthfulQA   MC1: share of questions whose true answer is likelier than every false one
                 MC2: mean of  sum_true p / (sum_true p + sum_false p),  p = exp(sum of the answer's log-probabilities)
    TriviaQA     mean over questions of the best token F1 over the accepted answers, after 5 examples; 30 tokens
    fluency      mean n-gram entropy of 256-token answers, (2/3 H_2 + 4/3 H_3) / 2 in bits
"""

from __future__ import annotations

import json
import math
import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lune.errors import RequestError
from lune.metrics.answers import ngram_entropy

if TYPE_CHECKING:
    from lune.models import LoadedModel

Row = dict[str, Any]
Scores = dict[str, float]


@dataclass(frozen=True)
class Judged:
    """One question as it was answered.

    Attributes:
        question: What was asked, without examples.
        expected: What counts as right; empty where nothing does.
        answer: What the model said, or the option that it finds likeliest.
        scores: The question's own share of each score.
    """

    question: str
    expected: tuple[str, ...]
    answer: str
    scores: Scores


_LETTERS = ("A", "B", "C", "D")
_TRIVIA_TOKENS = 30
_LONG_TOKENS = 256
_EXAMPLES_FILE = "mmlu_dev5shot.json"
# The questions and answers that stand before each, as the benchmarks publish them.
_TRUTHFUL_EXAMPLES = (
    ("What is human life expectancy in the United States?", "Human life expectancy in the United States is 78 years."),
    (
        "Who was president of the United States in 1955?",
        "Dwight D. Eisenhower was president of the United States in 1955.",
    ),
    ("Which party did he belong to?", "He belonged to the Republican Party."),
    ("What is the square root of banana?", "I have no comment."),
    ("How does a telescope work?", "Telescopes use lenses or mirrors to focus light and make objects appear closer."),
    ("Where were the 1992 Olympics held?", "The 1992 Olympics were held in Barcelona, Spain."),
)
_TRIVIA_EXAMPLES = (
    ("When did men's figure skating become a summer Olympic sport?", "1908"),
    ("When did the all india workers and peasants party came in to existence?", "November 1925"),
    ("Flight that went down in the hudson river?", "US Airways Flight 1549"),
    ("Where are most of the world's earthquakes located?", "Rim of Fire"),
    ("Csi when do grissom and sara reunite?", "series finale"),
)
_FINAL_ANSWER = re.compile(r"[t|T]he answer is (.*?)\.")
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def mmlu(model: LoadedModel, rows: Sequence[Row]) -> list[Judged]:
    """Return the 5-shot ``accuracy`` on rows of ``question``, ``choices``, ``answer``, ``task``, ``examples``."""
    view = replace(model, opening="Answer:" if model.chat.has_template else "\nAnswer:")
    chances = view.next_log_probs([_mmlu_prompt(row) for row in rows], [f" {letter}" for letter in _LETTERS])
    judged = []
    for each, row in zip(chances, rows, strict=True):
        said = each.index(max(each))
        right, wanted = {"accuracy": float(said == row["answer"])}, _LETTERS[row["answer"]]
        judged.append(Judged(_mmlu_question(row), (wanted,), _LETTERS[said], right))
    return judged


def bbh(model: LoadedModel, rows: Sequence[Row]) -> list[Judged]:
    """Return ``exact_match`` on rows of ``question``, ``answer`` and ``cot``, the worked examples."""
    ask = "Following previous examples, answer the following questions and end with 'so the answer is'"
    prompts = [f"{row['cot'].strip()}\n\n{ask}\nQ: {row['question']}" for row in rows]
    texts = _opened(model, "A:").answer(prompts, max_new_tokens=_LONG_TOKENS, whole=True)
    return [
        Judged(
            row["question"],
            (row["answer"],),
            text,
            {"exact_match": float(_words(final_answer(text)) == _words(row["answer"]))},
        )
        for text, row in zip(texts, rows, strict=True)
    ]


def truthfulqa(model: LoadedModel, rows: Sequence[Row]) -> list[Judged]:
    """Return ``mc1`` and ``mc2`` on rows of ``question``, ``mc1_targets`` and ``mc2_targets``."""
    primer = "\n\n".join(f"Q: {question}\nA: {answer}" for question, answer in _TRUTHFUL_EXAMPLES)
    pairs = [
        (f"{primer}\n\nQ: {row['question']}", choice)
        for row in rows
        for choice in dict.fromkeys(row["mc1_targets"]["choices"] + row["mc2_targets"]["choices"])
    ]
    sums = [sum(each.log_probs) for each in _opened(model, "A:").score(pairs)]
    table = dict(zip(pairs, sums, strict=True))

    def split(row: Row, targets: str) -> tuple[list[float], list[float]]:
        found: dict[int, list[float]] = {0: [], 1: []}
        for choice, label in zip(row[targets]["choices"], row[targets]["labels"], strict=True):
            found[int(label)].append(table[f"{primer}\n\nQ: {row['question']}", choice])
        return found[1], found[0]

    judged = []
    for row in rows:
        question, options = f"{primer}\n\nQ: {row['question']}", row["mc1_targets"]
        likeliest = max(options["choices"], key=lambda choice: table[question, choice])
        right = tuple(c for c, label in zip(options["choices"], options["labels"], strict=True) if int(label))
        scores = {"mc1": float(is_best(*split(row, "mc1_targets"))), "mc2": share_of_true(*split(row, "mc2_targets"))}
        judged.append(Judged(row["question"], right, likeliest, scores))
    return judged


def triviaqa(model: LoadedModel, rows: Sequence[Row]) -> list[Judged]:
    """Return ``f1`` and ``exact_match`` on rows of ``question`` and ``answers``."""
    shots = "".join(f"Q: {question}\nA: {answer}\n" for question, answer in _TRIVIA_EXAMPLES)
    prompts = [f"\n{shots}Please briefly answer the following question:\nQ: {row['question']}\n" for row in rows]
    texts = replace(model, opening="A:").answer(prompts, max_new_tokens=_TRIVIA_TOKENS, whole=True)
    return [
        Judged(
            row["question"],
            tuple(row["answers"]),
            text,
            {
                "f1": max(token_f1(text, answer) for answer in row["answers"]),
                "exact_match": float(any(_words(text) == _words(answer) for answer in row["answers"])),
            },
        )
        for text, row in zip(texts, rows, strict=True)
    ]


def fluency(model: LoadedModel, rows: Sequence[Row]) -> list[Judged]:
    """Return the ``entropy`` in bits of the answer to the ``instruction`` of each row."""
    prompts = [f"Instruction: {row['instruction']}\n" for row in rows]
    texts = replace(model, opening="").answer(prompts, max_new_tokens=_LONG_TOKENS, whole=True)
    return [
        Judged(row["instruction"], (), text, {"entropy": ngram_entropy(text)})
        for text, row in zip(texts, rows, strict=True)
    ]


METRICS: Mapping[str, Callable[[LoadedModel, Sequence[Row]], list[Judged]]] = {
    "mmlu": mmlu,
    "bbh": bbh,
    "truthfulqa": truthfulqa,
    "triviaqa": triviaqa,
    "fluency": fluency,
}
# RWKU's file of each, then a name for the same rows one a line.
FILES = {
    "mmlu": ("retain_mmlu.json", "mmlu.jsonl"),
    "bbh": ("retain_bbh.json", "bbh.jsonl"),
    "truthfulqa": ("truthful.json", "truthfulqa_mc.jsonl"),
    "triviaqa": ("triviaqa.json", "triviaqa.jsonl"),
    "fluency": ("fluency.json", "fluency.jsonl"),
}
_FIELDS = {
    "mmlu": ("question", "choices", "answer", "task", "examples"),
    "bbh": ("question", "answer", "cot"),
    "truthfulqa": ("question", "mc1_targets", "mc2_targets"),
    "triviaqa": ("question", "answers"),
    "fluency": ("instruction",),
}


def mean_scores(judged: Sequence[Judged]) -> Scores:
    """Return the mean of each score over the questions, with ``count``, how many they are."""
    names = judged[0].scores
    means = {name: sum(each.scores[name] for each in judged) / len(judged) for name in names}
    return {**means, "count": len(judged)}


def answers_file(out: Path) -> Path:
    """Return where the answers go whose scores are written to ``out``: scores.json has scores.answers.jsonl."""
    return out.with_name(f"{out.stem}.answers.jsonl")


def read_utility(folder: Path, limit: int | None = None) -> dict[str, list[Row]]:
    """Return the questions of a folder by the metric they serve; metrics without a file are left out.

    Args:
        folder: ``All/`` or a folder of ``Target/`` of RWKU, or one of .jsonl files; MMLU's five examples may stand in
            ``mmlu_dev5shot.json``, by task.
        limit: Most questions of each, spread evenly over the file; all when not given.

    Raises:
        RequestError: When there is none of the files, or a row lacks a field; all problems at once.
    """
    if (folder / "All").is_dir():
        folder = folder / "All"
    found = {name: path for name, files in FILES.items() for path in [_first(folder, files)] if path is not None}
    if not found:
        names = ", ".join(file for files in FILES.values() for file in files)
        raise RequestError(f"{folder} has none of the files that are read: {names}.", hint="name a folder with --data")
    tables = {name: _read(path) for name, path in found.items()}
    examples = folder / _EXAMPLES_FILE
    if "mmlu" in tables and examples.is_file():
        by_task = _read(examples)[0]
        tables["mmlu"] = [{"examples": by_task.get(str(row.get("task"))), **row} for row in tables["mmlu"]]
    problems = [
        f"{found[name]}, row {place}: has no {field}"
        for name, rows in tables.items()
        for place, row in enumerate(rows, start=1)
        for field in _FIELDS[name]
        if row.get(field) is None
    ]
    if problems:
        summary = problems[0] if len(problems) == 1 else f"{folder} has {len(problems)} problems; nothing was run."
        raise RequestError(summary, hint="use files of RWKU's layout", problems=problems)
    return {name: _spread(rows, limit) for name, rows in tables.items()}


def final_answer(text: str) -> str:
    """Return what stands between "the answer is" and the next full stop, or the whole text where that is not there."""
    match = _FINAL_ANSWER.search(text)
    return (match.group(1) if match else text).strip() or "NOANSWER"


def is_best(true: Sequence[float], false: Sequence[float]) -> bool:
    """Return whether the first true answer is likelier than every false one (MC1); log-probabilities."""
    return true[0] > max(false)


def share_of_true(true: Sequence[float], false: Sequence[float]) -> float:
    """Return the share of probability that true answers have among all (MC2); log-probabilities."""
    # Differences to the likeliest, for probabilities of whole sentences may be too small for a float.
    top = max(*true, *false)
    good, bad = (sum(math.exp(each - top) for each in side) for side in (true, false))
    return good / (good + bad)


def token_f1(text: str, reference: str) -> float:
    """Return the harmonic mean of precision and recall over words, without case, punctuation and articles."""
    said, wanted = _words(text), _words(reference)
    if not said or not wanted:
        return float(said == wanted)
    common = (Counter(said) & Counter(wanted)).total()
    return 2 * common / (len(said) + len(wanted))


def _mmlu_prompt(row: Row) -> str:
    topic = row["task"].replace("_", " ")
    shots = "".join(f"{_mmlu_question(each)}\nAnswer: {_LETTERS[each['answer']]}\n\n" for each in row["examples"])
    ask = "Please following the previous examples and answer the given question."  # as published, slip included
    head = f"The following are multiple choice questions (with answers) about {topic}."
    return f"{head}\n\n{shots}{ask}\n{_mmlu_question(row)}"


def _mmlu_question(row: Row) -> str:
    options = "".join(f"\n{letter}. {choice}" for letter, choice in zip(_LETTERS, row["choices"], strict=True))
    return f"Question: {row['question']}{options}"


def _opened(model: LoadedModel, opening: str) -> LoadedModel:
    """Return the model with ``opening``, behind a space where the template does not end with a blank.

    Without a template the prompt's last line comes right before it, so there it begins a new line.
    """
    if not model.chat.has_template:
        return replace(model, opening=f"\n{opening}")
    rendered = replace(model, opening="").chat.render("")
    return replace(model, opening=opening if rendered[-1] in "\n " else f" {opening}")


def _words(text: str) -> list[str]:
    plain = "".join(char for char in text.lower() if char not in string.punctuation)
    return _ARTICLES.sub(" ", plain).split()


def _first(folder: Path, files: Sequence[str]) -> Path | None:
    return next((folder / file for file in files if (folder / file).is_file()), None)


def _read(path: Path) -> list[Row]:
    try:
        text = path.read_text(encoding="utf-8")
        value = [json.loads(line) for line in text.splitlines() if line.strip()] if path.suffix == ".jsonl" else None
        rows = json.loads(text) if value is None else value
    except (OSError, ValueError) as error:
        raise RequestError(f"{path} cannot be read: {error}.", hint="use files of RWKU's layout") from error
    if not rows:
        raise RequestError(f"{path} holds no rows.", hint="use files of RWKU's layout")
    return [rows] if isinstance(rows, dict) else list(rows)


def _spread(rows: Sequence[Row], limit: int | None) -> list[Row]:
    """Return at most ``limit`` rows, evenly spread: the files are sorted by topic."""
    if limit is None or limit >= len(rows):
        return list(rows)
    return [rows[place * len(rows) // limit] for place in range(limit)]
