"""RWKU: real-world knowledge about famous people, with nine attack types, neighbours and membership texts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lune.errors import ConfigError, Gathered, RequestError, did_you_mean
from lune.metrics.rouge_summary import rouge_l_recall
from lune.records import Fact, Probe
from lune.text import contains, normalise

from .task import Task, wrong_layout

if TYPE_CHECKING:
    from lune.language_model import LanguageModel
    from lune.models import LoadedModel

SOURCE = "https://arxiv.org/abs/2406.10890"
HUB_ID = "jinzhuoran/RWKU"
SETTINGS: dict[str, str | int] = {"targets": "1-100", "batch": "no"}  # single-target runs use the first 100
QUICK: dict[str, str | int] = {"targets": "2"}  # of the first ones the smallest request

# Config on the hub -> its split there, and its file in All/ and in each folder of Target/.
_TABLES = {
    "forget_target": ("train", "intro.json"),
    "forget_level1": ("test", "forget_level1.json"),
    "forget_level2": ("test", "forget_level2.json"),
    "forget_level3": ("test", "forget_level3.json"),
    "neighbor_level1": ("test", "neighbor_level1.json"),
    "neighbor_level2": ("test", "neighbor_level2.json"),
    "mia_forget": ("test", "forget_mia.json"),
    "mia_retain": ("test", "retain_mia.json"),
}
_QUESTIONS = ("forget_level1", "forget_level2", "forget_level3", "neighbor_level1", "neighbor_level2")
_SCORES = {
    "forget_level1": "forget_fb",
    "forget_level2": "forget_qa",
    "forget_level3": "forget_aa",
    "neighbor_level1": "neighbour_fb",
    "neighbor_level2": "neighbour_qa",
}
# A type of level 3 begins with one of these: the last has a language behind it, in several spellings.
ATTACK_TYPES = (
    "prefix injection", "affirmative suffix", "role play", "multiple choice", "reverse query", "synonym manipulation",
    "context hint", "incontext learning", "cross lingual",
)  # fmt: skip
MAX_NEW_TOKENS = 30
NO_ANSWER = "NOANSWER"
_CLOZE = "Please complete the blank in the following question.\n"
_BRIEF = "Please briefly answer the following question.\n"
_OPENING = "Answer:"

Row = dict[str, Any]
Tables = Mapping[str, Sequence[Row]]


def check(source: Path | None, options: Mapping[str, str | int]) -> None:
    """Refuse options that are not allowed, targets that a folder does not have, and a folder that lacks data.

    Raises:
        ConfigError: When an option is not valid, a target is not there, or several things are wrong.
        RequestError: When the folder lacks a file or one cannot be read.
    """
    found = Gathered()
    found.get(lambda: _batch(options))
    if source is not None:
        tables = found.get(lambda: _read_folder(source))
        if tables is not None:
            names = {int(row["number"]): str(row["target"]) for row in tables["forget_target"]}
            found.get(lambda: _chosen(str(options["targets"]), names))
    found.refuse()


def _batch(options: Mapping[str, str | int]) -> bool:
    batch = str(options["batch"])
    if batch not in ("yes", "no"):
        raise ConfigError(f"batch must be yes or no, got '{batch}'.", hint="batch=yes unlearns all targets at once")
    return batch == "yes"


def load(source: Path | None, options: Mapping[str, str | int], base: LanguageModel) -> list[Task]:
    """Return a task for each target, or one for all of them with ``batch=yes``.

    Args:
        source: A folder with ``All/`` or ``Target/<number>_<Name>/``; None for the hub.
        options: ``targets``: names, numbers (from 1, as published) and ranges, comma separated, or ``all``;
            ``batch``: ``yes`` or ``no``.
        base: Not used: the facts are those of real people.

    Raises:
        ConfigError: When an option is not valid or a target is not there.
        RequestError: When the folder lacks a file or one cannot be read.
    """
    batch = _batch(options)
    tables = _read_hub() if source is None else _read_folder(source)
    names = {int(row["number"]): str(row["target"]) for row in tables["forget_target"]}
    chosen = _chosen(str(options["targets"]), names)
    groups = [chosen] if batch else [[number] for number in chosen]
    return [_task(group, names, tables) for group in groups]


def measure(model: LoadedModel, task: Task) -> dict[str, Any]:
    """Ask every question of the published protocol and score the membership texts.

    Greedy answers of at most 30 tokens up to an end of turn or a newline, to the chat template with its generation
    prompt and a literal ``Answer:`` (for a model without a template the same text alone); membership texts are scored
    raw.
    """
    rows: list[Row] = task.details["questions"]
    answers = _answers(model, rows)
    raw = replace(model, raw=True)
    return {
        "answers": [
            {**row, "answer_given": text, "rouge_l_recall": rouge_l_recall(text, row["answer"])}
            for row, text in zip(rows, answers, strict=True)
        ],
        "membership": {
            "forget": _likelihoods(raw, task.details["fm"]),
            "retain": _likelihoods(raw, task.details["rm"]),
        },
    }


def protocol(task: Task, measured: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return the published scores of each model.

    ``forget_fb``, ``forget_qa``, ``forget_aa`` (lower is better) and ``neighbour_fb``, ``neighbour_qa`` (higher is
    better) are mean ROUGE-L recall of the fill-in, question and attack levels; ``forget_aa_TYPE`` is each attack's.
    ``fm_*`` and ``rm_*`` are means over the forget and retain members: ``loss`` the token loss in nats (the paper
    prints it times 100), the others log-likelihood scores as in `lune.metrics.membership`. Texts whose likelihood is
    not a number are left out.
    """
    return {name: {**_recalls(each["answers"]), **_means(each["membership"])} for name, each in measured.items()}


def prompt_and_opening(level: str, kind: str, query: str) -> tuple[str, str]:
    """Return what the user's turn holds and the literal text that the answer begins with, by level and type."""
    if level == "1":
        return f"{_CLOZE}Question: {query}\n", _OPENING
    if kind == "affirmative suffix":
        return f"{_BRIEF}Question: {query}", ""
    if kind == "incontext learning":
        return f"{_BRIEF}{query}\n", _OPENING
    return f"{_BRIEF}Question: {query}\n", _OPENING


def attack_type(kind: str) -> str:
    """Return the attack type that ``kind`` begins with; "cross-lingual (French)" is "cross lingual".

    Raises:
        RequestError: When it is none of the nine.
    """
    plain = kind.replace("-", " ").lower()
    found = next((each for each in ATTACK_TYPES if plain.startswith(each)), None)
    if found is None:
        raise RequestError(
            f"forget_level3 has a row of the unknown type '{kind}'. Known: {', '.join(ATTACK_TYPES)}.",
            hint="use the data as published",
        )
    return found


def _answers(model: LoadedModel, rows: Sequence[Row]) -> list[str]:
    asked = [prompt_and_opening(row["level"], row["type"], row["query"]) for row in rows]
    answers = [""] * len(rows)
    for opening in sorted({opening for _, opening in asked}):
        places = [place for place, (_, own) in enumerate(asked) if own == opening]
        view = replace(model, opening=opening)
        texts = view.answer([asked[place][0] for place in places], max_new_tokens=MAX_NEW_TOKENS)
        for place, text in zip(places, texts, strict=True):
            answers[place] = text or NO_ANSWER
    return answers


def _likelihoods(raw: LoadedModel, texts: Sequence[str]) -> list[dict[str, float]]:
    from lune.metrics.membership import ATTACKS, LOWEST_SHARE

    scored = zip(texts, raw.score([("", text) for text in texts]), strict=True)
    return [{name: attack(text, scores, LOWEST_SHARE) for name, attack in ATTACKS.items()} for text, scores in scored]


def _recalls(answers: Sequence[Row]) -> dict[str, float | None]:
    def mean(rows: list[Row]) -> float | None:
        return sum(row["rouge_l_recall"] for row in rows) / len(rows) if rows else None

    scores = {name: mean([row for row in answers if row["table"] == table]) for table, name in _SCORES.items()}
    attacks = [row for row in answers if row["table"] == "forget_level3"]
    for attack in ATTACK_TYPES:
        name = f"forget_aa_{attack.replace(' ', '_')}"
        scores[name] = mean([row for row in attacks if attack_type(row["type"]) == attack])
    return scores


def _means(membership: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, float | None]:
    scores: dict[str, float | None] = {}
    for side, short in (("forget", "fm"), ("retain", "rm")):
        # As in the authors' code: one text without a likelihood must not take the others' mean with it.
        rows = [row for row in membership[side] if not math.isnan(row["loss"])]
        for attack in ("loss", "zlib", "min_k", "min_k_plus_plus"):
            mean = sum(row[attack] for row in rows) / len(rows) if rows else None
            # The attack's score is a log-likelihood, higher for members; a loss is its negative.
            scores[f"{short}_{attack}"] = -mean if attack == "loss" and mean is not None else mean
    return scores


def _task(numbers: Sequence[int], names: Mapping[int, str], tables: Tables) -> Task:
    people = {names[number] for number in numbers}
    own = {table: [row for row in rows if row.get("subject") in people] for table, rows in tables.items()}
    facts, left_out = _facts(own["forget_level1"] + own["forget_level2"], names)
    label = str(numbers[0]) if len(numbers) == 1 else f"batch-{numbers[0]}-to-{numbers[-1]}-of-{len(numbers)}"
    return Task(
        name=f"rwku-{label}",
        facts=tuple(facts),
        probes=tuple(_probes(facts, own)),
        details={
            # Both sides were trained on, so they are no members and non-members: FM and RM are means, never an AUC.
            "fm": [str(row["text"]) for row in own["mia_forget"]],
            "rm": [str(row["text"]) for row in own["mia_retain"]],
            "targets": [names[number] for number in numbers],
            "left_out": left_out,
            "questions": [{"table": table, **row} for table in _QUESTIONS for row in own[table]],
        },
    )


def _facts(rows: Sequence[Row], names: Mapping[int, str]) -> tuple[list[Fact], list[Row]]:
    """Return the forget request, and the rows that cannot be part of one because their prompt tells the answer.

    A prompt that comes twice is one fact; its other answers become aliases. The protocol still asks every row.
    """
    numbers = {name: number for number, name in names.items()}
    facts: dict[str, Fact] = {}
    left_out: list[Row] = []
    for row in rows:
        prompt, answer, subject = row["query"].strip(), row["answer"].strip(), row["subject"]
        key = " ".join(prompt.casefold().split()).rstrip(" .?!:")
        if not normalise(answer) or contains(prompt, [answer]):
            left_out.append(row)
        elif key not in facts:
            place = sum(fact.id.startswith(f"rwku-{numbers[subject]}-") for fact in facts.values()) + 1
            spelled = subject if subject.casefold() in prompt.casefold() else None
            facts[key] = Fact(f"rwku-{numbers[subject]}-{place}", prompt, answer, subject=spelled)
        elif normalise(answer) not in map(normalise, facts[key].spellings):
            facts[key] = replace(facts[key], aliases=(*facts[key].aliases, answer))
    return list(facts.values()), left_out


def _probes(facts: Sequence[Fact], own: Tables) -> list[Probe]:
    """Return the direct prompts, level 3 as adversarial probes and the neighbours, all for tests.

    An attack belongs to the fact that has its answer; one that asks for something else ("who wrote these?") to none.
    """
    probes = [
        Probe(f"{fact.id}-direct", "direct", fact.prompt, fact.spellings, "test", fact.id, subject=fact.subject)
        for fact in facts
    ]
    for place, row in enumerate(own["forget_level3"], start=1):
        expected, prefix = (row["answer"],), f"rwku-{row['number']}-"
        owner = next((f.id for f in facts if f.id.startswith(prefix) and contains(f.answer, expected)), None)
        attack = attack_type(row["type"])
        probe_id = f"{prefix}attack-{place}"
        probes.append(
            Probe(probe_id, "adversarial", row["query"], expected, "test", owner, attack, subject=row["subject"])
        )
    for table in ("neighbor_level1", "neighbor_level2"):
        for place, row in enumerate(own[table], start=1):
            name = f"rwku-{row['number']}-{table.replace('_', '-')}-{place}"
            probes.append(
                Probe(
                    name, "neighbour", row["query"], (row["answer"],), "test", subject=row["neighbor"], relation="given"
                )
            )
    return probes


def _chosen(wanted: str, names: Mapping[int, str]) -> list[int]:
    """Return the numbers of the targets that ``wanted`` names, in the order of the data."""
    by_name = {name.casefold(): number for number, name in names.items()}
    chosen: set[int] = set()
    problems: list[str] = []
    # Some names hold a comma, such as a title behind it: they are looked for first.
    rest = wanted
    for name in sorted((each for each in by_name if "," in each), key=len, reverse=True):
        if name in rest.casefold():
            chosen.add(by_name[name])
            start = rest.casefold().index(name)
            rest = rest[:start] + rest[start + len(name) :]
    for part in filter(None, (part.strip() for part in rest.split(","))):
        low, dash, high = part.partition("-")
        if part.casefold() == "all":
            found = set(names)
        elif dash and low.strip().isdigit() and high.strip().isdigit():
            found = {number for number in names if int(low) <= number <= int(high)}
        elif part.isdigit():
            found = {int(part)} & set(names)
        else:
            found = {by_name[name] for name in [part.replace("_", " ").casefold()] if name in by_name}
        if not found:
            problems.append(f"'{part}' is no target.{did_you_mean(part, list(names.values()))}")
        chosen |= found
    if problems or not chosen:
        summary = problems[0] if len(problems) == 1 else f"targets: '{wanted}' names no targets of this data."
        hint = (
            f"numbers {min(names)} to {max(names)} as far as they are there, their names, ranges such as 1-10, or all"
        )
        raise ConfigError(summary, hint=hint, problems=problems)
    return sorted(chosen)


def _read_hub() -> dict[str, list[Row]]:
    from datasets import load_dataset

    tables = {name: list(load_dataset(HUB_ID, name, split=split)) for name, (split, _) in _TABLES.items()}
    return _numbered(tables)


def _read_folder(folder: Path) -> dict[str, list[Row]]:
    """Return the tables of a local copy: from ``Target/`` where the number is part of the name, else from ``All/``."""
    targets = {path: path.name.partition("_")[0] for path in folder.glob("Target/*_*") if path.is_dir()}
    places = sorted((path for path, number in targets.items() if number.isdigit()), key=lambda path: int(targets[path]))
    files = [path / file for path in places or [folder / "All"] for _, file in _TABLES.values()]
    missing = [f"there is no {path.relative_to(folder)}" for path in files if not path.is_file()]
    if not places and not (folder / "All").is_dir():
        missing = ["it has neither Target/ nor All/"]
    if missing:
        raise _wrong_layout(folder, missing)
    if not places:
        try:
            return _numbered({name: _read_rows(folder / "All" / file) for name, (_, file) in _TABLES.items()})
        except (KeyError, AttributeError) as error:
            raise _wrong_layout(folder, [f"a row in All/ is not of its table: {error}"]) from error
    tables: dict[str, list[Row]] = {name: [] for name in _TABLES}
    for path in places:
        for name, (_, file) in _TABLES.items():
            tables[name] += [{**row, "number": int(targets[path])} for row in _read_rows(path / file)]
    return tables


def _wrong_layout(folder: Path, problems: Sequence[str]) -> RequestError:
    return wrong_layout(
        "RWKU",
        folder,
        problems,
        wanted="All/ or Target/NUMBER_NAME/ with eight files, such as intro.json and forget_level1.json",
        get=f"hf download {HUB_ID} --repo-type dataset --local-dir rwku, then --data with the folder that holds All/",
    )


def _numbered(tables: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Return the tables with each row's target number, which is its place among the targets, from 1."""
    numbers = {row["target"]: place for place, row in enumerate(tables["forget_target"], start=1)}
    return {
        name: [{**row, "number": numbers[row.get("subject") or row["target"]]} for row in rows]
        for name, rows in tables.items()
    }


def _read_rows(path: Path) -> list[Row]:
    """Return the rows of a JSON file; some files hold a single object instead of a list of one."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _wrong_layout(path.parent, [f"{path.name} cannot be read: {error}"]) from error
    return [value] if isinstance(value, dict) else list(value)
