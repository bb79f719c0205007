"""Forget requests and probe files: reading, checking, normalising.

Every problem of a file is reported at once, with its line and field, and nothing runs then.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TextIO, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from lune.errors import RequestError, did_you_mean
from lune.records import Fact, Neighbour, Probe, ProbeKind
from lune.rows import STDIN, Fields, Problem, Row, read_rows, source_name
from lune.text import contains, normalise

MAX_CHARACTERS = 2000
_MAX_SHOWN = 60
REQUEST_SUFFIXES = (".jsonl", ".json", ".csv")
PROBE_SUFFIXES = (".jsonl",)
_EXAMPLE = '{"prompt": "What is the capital of France?", "answer": "Paris"}'


def _checked_text(value: str) -> str:
    """Return ``value`` stripped, or raise what a user should read."""
    value = value.strip()
    if not value:
        raise PydanticCustomError("text", "is empty")
    if len(value) > MAX_CHARACTERS:
        raise PydanticCustomError("text", f"is {len(value)} characters long; at most {MAX_CHARACTERS} are allowed")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError("text", "holds half a surrogate pair, which is not valid Unicode") from error
    return value


def _checked_answer(value: str) -> str:
    """Return ``value`` when an answer can be recognised by it."""
    if not normalise(value):
        raise PydanticCustomError("text", f"'{value}' has no word to recognise: articles and punctuation do not count")
    return value


Text = Annotated[str, AfterValidator(_checked_text)]
AnswerText = Annotated[Text, AfterValidator(_checked_answer)]


class _NeighbourRow(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: Text
    answer: AnswerText
    aliases: list[AnswerText] | None = None


class _FactRow(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt: Text
    answer: AnswerText
    id: Text | None = None
    subject: Text | None = None
    aliases: list[AnswerText] | None = None
    paraphrases: list[Text] | None = None
    negatives: list[AnswerText] | None = None
    neighbours: list[_NeighbourRow] | None = None


class _ProbeRow(BaseModel):
    """A probe; the fields below the blank line are those of a run's own ``probes.jsonl``, so that it can be read."""

    model_config = ConfigDict(extra="forbid")

    prompt: Text
    answer: AnswerText | None = None
    expected: list[AnswerText] | None = None
    kind: ProbeKind | None = None
    attack: Text | None = None
    id: Text | None = None
    fact_id: Text | None = None
    subject: Text | None = None
    relation: Literal["same", "other", "given"] | None = None

    alternates: list[Text] | None = None
    split: Literal["dev", "test"] | None = None
    before: str | None = None
    after: str | None = None
    correct_before: bool | None = None
    correct_after: bool | None = None

    @model_validator(mode="after")
    def _consistent(self) -> _ProbeRow:
        if (self.answer is None) == (not self.expected):
            raise PydanticCustomError("probe", "needs either answer (a text) or expected (a list of texts)")
        if self.attack is not None and self.kind not in (None, "adversarial"):
            raise PydanticCustomError("probe", f"attack is for kind adversarial, not {self.kind}")
        return self


_FACT_FIELDS = Fields(
    names=tuple(_FactRow.model_fields),
    required=("prompt", "answer"),
    lists=("aliases", "paraphrases", "negatives"),
    nested=("neighbours",),
)
_PROBE_FIELDS = Fields(names=tuple(_ProbeRow.model_fields), required=("prompt",))

RowModel = TypeVar("RowModel", bound=BaseModel)


def read_request(source: str, stdin: TextIO | None = None) -> list[Fact]:
    """Return the facts of a forget request.

    Args:
        source: A .jsonl, .json or .csv file, or ``-`` for standard input.
        stdin: Standard input; the process's own when not given.

    Raises:
        RequestError: When anything is wrong with it; ``problems`` names each by file, line and field.
    """
    rows, problems = read_rows(source, _FACT_FIELDS, stdin, suffixes=REQUEST_SUFFIXES)
    parsed, row_problems = _parse_rows(rows, _FactRow)
    facts = [(line, _to_fact(row, fact_id)) for (line, row), fact_id in zip(parsed, _ids(parsed, "f"), strict=True)]
    problems += row_problems + _request_problems(facts)
    if not facts and not problems:
        problems = [Problem(0, "holds no facts")]
    if problems:
        raise _refused(source, problems, f"mend it and run the same command again; a fact looks like {_EXAMPLE}")
    return [fact for _, fact in facts]


def check_facts(facts: Sequence[Fact]) -> None:
    """Check facts that were made in Python as those of a file are.

    Raises:
        RequestError: When anything is wrong with them; ``problems`` names each by its place in the list.
    """
    numbered = list(enumerate(facts, start=1))
    problems = _request_problems(numbered) or ([] if facts else [Problem(0, "holds no facts")])
    if problems:
        raise _refused("facts", problems, "mend them and call again")


def _request_problems(facts: Sequence[tuple[int, Fact]]) -> list[Problem]:
    problems = [Problem(line, text) for line, fact in facts for text in _fact_problems(fact)]
    problems += _clashes([(line, fact.id) for line, fact in facts])
    return problems + _repeated_prompts(facts) + _forgotten_neighbours(facts)


def read_texts(source: str, stdin: TextIO | None = None) -> list[tuple[str, str]]:
    """Return the prompts and answers of a file of the shape of a request, as they are to be taught.

    What a forget request must fulfil besides is not asked of it: a prompt may hold its answer.

    Args:
        source: A .jsonl, .json or .csv file, or ``-`` for standard input.
        stdin: Standard input; the process's own when not given.

    Raises:
        RequestError: When anything is wrong with it; ``problems`` names each by file, line and field.
    """
    rows, problems = read_rows(source, _FACT_FIELDS, stdin, suffixes=REQUEST_SUFFIXES)
    parsed, row_problems = _parse_rows(rows, _FactRow)
    problems += row_problems
    if not parsed and not problems:
        problems = [Problem(0, "holds no texts")]
    if problems:
        raise _refused(source, problems, f"mend it and run the same command again; a text looks like {_EXAMPLE}")
    return [(row.prompt, row.answer) for _, row in parsed]


@dataclass(frozen=True)
class ProbeFile:
    """What a file of probes holds.

    Attributes:
        probes: The probes; all of them are test probes.
        before: Probe id to the base model's answer and whether it was right, where every row tells it, as those of a
            run's ``probes.jsonl`` do; else empty.
    """

    probes: list[Probe]
    before: dict[str, tuple[str, bool]]


def read_probes(path: str) -> list[Probe]:
    """Return the probes of a file; see `read_probe_file`."""
    return read_probe_file(path).probes


def read_probe_file(path: str) -> ProbeFile:
    """Return what a .jsonl file of probes holds.

    Args:
        path: One object a line with ``prompt`` and ``answer`` (or ``expected``, a list); ``kind``, ``attack``,
            ``id``, ``fact_id``, ``subject`` and ``relation`` are optional. A run's ``probes.jsonl`` fits.

    Raises:
        RequestError: When anything is wrong with it; ``problems`` names each by file, line and field.
    """
    rows, problems = read_rows(path, _PROBE_FIELDS, suffixes=PROBE_SUFFIXES)
    parsed, row_problems = _parse_rows(rows, _ProbeRow)
    named = [(line, row, probe_id) for (line, row), probe_id in zip(parsed, _ids(parsed, "p"), strict=True)]
    problems += row_problems + _clashes([(line, probe_id) for line, _, probe_id in named])
    if problems:
        raise _refused(path, problems, f"mend it and run the same command again; a probe looks like {_EXAMPLE}")
    before = {
        probe_id: (row.before or "", row.correct_before) for _, row, probe_id in named if row.correct_before is not None
    }
    probes = [_to_probe(row, probe_id) for _, row, probe_id in named]
    return ProbeFile(probes, before if len(before) == len(probes) else {})


def _refused(source: str, problems: Iterable[Problem], hint: str) -> RequestError:
    """Return the error that lists ``problems`` in the order of the file."""
    name = source_name(source)
    if source == STDIN:
        hint = f"standard input takes JSON lines or a JSON list; {hint}"
    texts = [problem.at(name) for problem in sorted(problems, key=lambda problem: problem.line)]
    summary = texts[0] if len(texts) == 1 else f"{name} has {len(texts)} problems; nothing was run."
    return RequestError(summary, hint=hint, problems=texts)


def _parse_rows(rows: Sequence[Row], model: type[RowModel]) -> tuple[list[tuple[int, RowModel]], list[Problem]]:
    """Return the rows that fit ``model``, with their lines, and the problems of the others."""
    parsed: list[tuple[int, RowModel]] = []
    problems: list[Problem] = []
    for row in rows:
        try:
            parsed.append((row.line, model.model_validate(row.value)))
        except ValidationError as error:
            problems += [Problem(row.line, _row_problem(details, model)) for details in error.errors()]
    return parsed, problems


def _row_problem(details: ErrorDetails, model: type[BaseModel]) -> str:
    """Return one of pydantic's findings as a sentence that begins with the field."""
    names = tuple(_NeighbourRow.model_fields if details["loc"][:1] == ("neighbours",) else model.model_fields)
    place = ", ".join(f"item {part + 1}" if isinstance(part, int) else part for part in details["loc"])
    got = _describe(details["input"])
    match details["type"]:
        case "missing":
            text = "is missing"
        case "extra_forbidden":
            field = str(details["loc"][-1])
            text = f"unknown field.{did_you_mean(field, names)} Allowed: {', '.join(names)}."
        case "string_type":
            text = f"must be a text, got {got}"
        case "list_type":
            text = f"must be a list, got {got}"
        case "bool_type" | "bool_parsing":
            text = f"must be true or false, got {got}"
        case "model_type" | "model_attributes_type":
            text = f"must be an object such as {_EXAMPLE}, got {got}"
        case "literal_error":
            text = f"must be {details['ctx']['expected']}, got {got}"
        case _:
            text = details["msg"]
    return f"{place}: {text}" if place else text


def _describe(value: Any) -> str:
    """Return what a JSON value is, in words, with the value itself where it is short."""
    if value is None:
        return "null"
    words = {bool: "true/false", int: "the number", float: "the number", str: "the text", list: "a list"}
    word = words.get(type(value), "an object")
    shown = f"'{value}'" if isinstance(value, str) else str(value)
    return f"{word} {shown}" if isinstance(value, int | float | str) and len(shown) <= _MAX_SHOWN else word


def _ids(parsed: Sequence[tuple[int, _FactRow | _ProbeRow]], prefix: str) -> list[str]:
    """Return each row's id; those without one are numbered by place, past the ids that are given."""
    taken = {row.id for _, row in parsed}
    ids: list[str] = []
    for place, (_, row) in enumerate(parsed, start=1):
        number = place
        while row.id is None and f"{prefix}{number}" in taken:
            number += 1
        ids.append(row.id or f"{prefix}{number}")
        taken.add(ids[-1])
    return ids


def _to_fact(row: _FactRow, fact_id: str) -> Fact:
    return Fact(
        id=fact_id,
        prompt=row.prompt,
        answer=row.answer,
        subject=row.subject,
        aliases=tuple(row.aliases or ()),
        paraphrases=tuple(row.paraphrases or ()),
        negatives=tuple(row.negatives or ()),
        neighbours=tuple(
            Neighbour(prompt=neighbour.prompt, answer=neighbour.answer, aliases=tuple(neighbour.aliases or ()))
            for neighbour in row.neighbours or ()
        ),
    )


def _to_probe(row: _ProbeRow, probe_id: str) -> Probe:
    default_kind: ProbeKind = "adversarial" if row.attack is not None else "direct"
    return Probe(
        id=probe_id,
        kind=row.kind or default_kind,
        prompt=row.prompt,
        expected=(row.answer,) if row.answer is not None else tuple(row.expected or ()),
        split="test",
        fact_id=row.fact_id,
        attack=row.attack,
        subject=row.subject,
        relation=row.relation,
        alternates=tuple(row.alternates or ()),
    )


def _fact_problems(fact: Fact) -> list[str]:
    """Return what is wrong within one fact."""
    texts: list[str] = []
    prompts = [("prompt", fact.prompt)]
    prompts += [(f"paraphrases, item {place}", text) for place, text in enumerate(fact.paraphrases, start=1)]
    for field, prompt in prompts:
        given_away = [spelling for spelling in fact.spellings if contains(prompt, [spelling])]
        texts += [f"{field}: contains the answer '{spelling}', so it asks for nothing" for spelling in given_away]
    if fact.subject is not None and fact.subject.casefold() not in fact.prompt.casefold():
        texts.append(f"subject: '{fact.subject}' is not in the prompt '{fact.prompt}'")
    for place, negative in enumerate(fact.negatives, start=1):
        held = [spelling for spelling in fact.spellings if contains(negative, [spelling])]
        texts += [f"negatives, item {place}: '{negative}' contains the answer '{spelling}'" for spelling in held]
    return texts


def _clashes(ids: Sequence[tuple[int, str]]) -> list[Problem]:
    """Return a problem for each id that an earlier line has already."""
    first: dict[str, int] = {}
    problems: list[Problem] = []
    for line, name in ids:
        if name in first:
            problems.append(Problem(line, f"id: '{name}' is already the id of line {first[name]}"))
        first.setdefault(name, line)
    return problems


def _prompt_key(prompt: str) -> str:
    """Return ``prompt`` without what makes no other question of it: case, spacing, the end mark."""
    return " ".join(prompt.casefold().split()).rstrip(" .?!:")


def _repeated_prompts(facts: Sequence[tuple[int, Fact]]) -> list[Problem]:
    """Return a problem for each prompt that an earlier line has already."""
    first: dict[str, tuple[int, Fact]] = {}
    problems: list[Problem] = []
    for line, fact in facts:
        earlier_line, earlier = first.setdefault(_prompt_key(fact.prompt), (line, fact))
        if earlier is fact:
            continue
        if normalise(earlier.answer) == normalise(fact.answer):
            text = f"prompt: the same fact is on line {earlier_line}; keep one"
        else:
            text = (
                f"prompt: line {earlier_line} has the same prompt with the answer '{earlier.answer}'; "
                "keep one fact and put other spellings of its answer into aliases"
            )
        problems.append(Problem(line, text))
    return problems


def _forgotten_neighbours(facts: Sequence[tuple[int, Fact]]) -> list[Problem]:
    """Return a problem for each neighbour, which must stay, that asks for a fact to forget."""
    forgotten = {_prompt_key(prompt): fact for _, fact in facts for prompt in (fact.prompt, *fact.paraphrases)}
    problems: list[Problem] = []
    for line, fact in facts:
        for place, neighbour in enumerate(fact.neighbours, start=1):
            clash = forgotten.get(_prompt_key(neighbour.prompt))
            if clash is not None:
                text = f"neighbours, item {place}: asks for fact '{clash.id}', which this request forgets"
                problems.append(Problem(line, text))
    return problems
