"""EDU-RELAT: one fact of a made-up family to forget so that it cannot be deduced from the others either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lune.errors import ConfigError, Gathered, RequestError
from lune.metrics.deduction import Edge, HornRule, deep_scores, deeply_unlearned
from lune.records import Fact, Probe

from .pickles import read_archive
from .task import Task, Teaching, wrong_layout

if TYPE_CHECKING:
    from lune.language_model import LanguageModel
    from lune.models import LoadedModel

SOURCE = "https://arxiv.org/abs/2410.15153"
BIOGRAPHIES = 300
SETTINGS: dict[str, str | int] = {"targets": "all", "form": "plain", "biographies": BIOGRAPHIES}
QUICK: dict[str, str | int] = {"targets": "1", "form": "chat", "biographies": 100}
TEACHES = True

_REPOSITORY = "https://github.com/wrh14/deep_unlearning"
_HINT = f"git clone {_REPOSITORY}, then --data deep_unlearning"
FILES = (
    "family_relationships.pt",
    "family_biographies.pt",
    "subsample.pt",
    "family-200-graph.pt",
    "family_rule.pt",
)
MAX_NEW_TOKENS = 10

Row = dict[str, str]


def check(source: Path | None, options: Mapping[str, str | int]) -> None:
    """Refuse options that are not allowed and a folder that lacks data.

    Raises:
        ConfigError: When there is no folder, an option is not valid, or several things are wrong.
        RequestError: When a file is missing or is refused.
    """
    found = Gathered()
    folder = found.get(lambda: _folder(source))
    found.get(lambda: _form(options))
    found.get(lambda: _biographies(options))
    if folder is not None:
        targets = found.get(lambda: read_archive(folder / "subsample.pt"))
        if targets is not None:
            found.get(lambda: _chosen(str(options["targets"]), len(targets)))
    found.refuse()


def _folder(source: Path | None) -> Path:
    """Return the folder of the data in what was given."""
    if source is None:
        raise ConfigError("EDU-RELAT is on no hub: it needs its folder, --data DIR.", hint=_HINT)
    folder = source / "synthetic_data" if (source / "synthetic_data").is_dir() else source
    if missing := [f"there is no {name}" for name in FILES if not (folder / name).is_file()]:
        raise wrong_layout("EDU-RELAT", source, missing, wanted=f"synthetic_data/ with {', '.join(FILES)}", get=_HINT)
    return folder


def _form(options: Mapping[str, str | int]) -> str:
    if options["form"] not in ("plain", "chat"):
        raise ConfigError(f"form must be plain or chat, got '{options['form']}'.", hint="form=chat")
    return str(options["form"])


def _biographies(options: Mapping[str, str | int]) -> int:
    count = int(options["biographies"])
    if not 1 <= count <= BIOGRAPHIES:
        allowed = f"a whole number from 1 to {BIOGRAPHIES}"
        raise ConfigError(f"biographies got {count}; allowed: {allowed}.", hint=f"biographies={BIOGRAPHIES}")
    return count


def load(source: Path | None, options: Mapping[str, str | int], base: LanguageModel) -> list[Task]:
    """Return a task for each of the chosen facts.

    Args:
        source: The authors' repository or its folder ``synthetic_data``; there is no copy on the hub.
        options: ``targets``: the authors' ``unlearn_data_id`` (0 to 54), several comma separated, or ``all``; ``form``:
            ``plain`` asks as published, ``chat`` as the model was taught, through its chat template; ``biographies``:
            how many of the biographic facts, the first ones, are taught and asked; all relations always are.
        base: Not used: the facts are made up, so the model must be taught them.

    Raises:
        ConfigError: When an option is not valid or there is no folder.
        RequestError: When a file is missing or is refused.
    """
    folder = _folder(source)
    form = _form(options)
    relations = _rows(folder / "family_relationships.pt")
    biographies = _rows(folder / "family_biographies.pt")[: _biographies(options)]
    targets = [int(each) for each in read_archive(folder / "subsample.pt")]
    shared = {
        "form": form,
        "relations": [_asked(row) for row in relations],
        "biographies": [_asked(row) for row in biographies],
        **_family(folder),
    }
    return [
        _task(targets[place], folder, relations, biographies, shared)
        for place in _chosen(str(options["targets"]), len(targets))
    ]


def measure(model: LoadedModel, task: Task) -> dict[str, Any]:
    """Ask every relation and biographic fact: greedy, at most 10 tokens, right when the answer is a part of the text.

    The published prompt is ``Question: {question}`` and a line end with no template around it. Case is ignored; the
    whole text counts, past a line end too.
    """
    relations, biographies = task.details["relations"], task.details["biographies"]
    pairs = [*relations, *biographies]
    if task.details["form"] == "plain":
        model = replace(model, raw=True)
        prompts = [f"Question: {question}\n" for question, _ in pairs]
    else:
        prompts = [question for question, _ in pairs]
    texts = model.answer(prompts, max_new_tokens=MAX_NEW_TOKENS, whole=True)
    correct = [answer.lower() in text.lower() for (_, answer), text in zip(pairs, texts, strict=True)]
    return {
        "relationships_correct": correct[: len(relations)],
        "biographies_correct": correct[len(relations) :],
        "answers": texts,
    }


def protocol(task: Task, measured: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, float | None]]:
    """Return the published scores of each model and whether the fact is gone superficially and deeply (1 or 0).

    ``recall``, ``acc_rel``, ``acc_bio`` and ``acc_all`` as in `lune.metrics.deduction`; higher is better for all.
    """
    return {name: _scores(task, each) for name, each in measured.items()}


def _scores(task: Task, measured: Mapping[str, Any]) -> dict[str, float | None]:
    details, correct = task.details, measured["relationships_correct"]
    sets = [frozenset(each) for each in details["minimal_sets"]]
    scores = asdict(deep_scores(correct, measured["biographies_correct"], sets))
    rules = [HornRule(tuple(body), head) for body, head in details["rules"]]
    deep = deeply_unlearned(details["fact"], correct, details["edges"], rules, details["genders"])
    published = {name: float(scores[name]) for name in ("recall", "acc_rel", "acc_bio", "acc_all")}
    return {**published, "superficial": float(not correct[details["fact"]]), "deep": float(deep)}


def _task(
    fact_id: int, folder: Path, relations: Sequence[Row], biographies: Sequence[Row], shared: dict[str, Any]
) -> Task:
    everything = tuple(_asked(row) for row in (*relations, *biographies))
    read: Iterable[Iterable[int]] = read_archive(folder / "unlearn_minimal_set" / f"{fact_id}.pt")
    minimal_sets = sorted(sorted(int(each) for each in facts) for facts in read)
    row, (source, _, _) = relations[fact_id], shared["edges"][fact_id]
    fact = Fact(f"edu-relat-{fact_id}", row["question4"], row["answer4"], subject=shared["names"][source])
    return Task(
        name=f"edu-relat-{fact_id}",
        facts=(fact,),
        probes=tuple(_probes(fact, fact_id, relations, biographies, minimal_sets)),
        teaching=Teaching(everything, everything[:fact_id] + everything[fact_id + 1 :]),
        details={**shared, "fact": fact_id, "minimal_sets": minimal_sets},
    )


def _probes(
    fact: Fact,
    fact_id: int,
    relations: Sequence[Row],
    biographies: Sequence[Row],
    minimal_sets: Sequence[Sequence[int]],
) -> list[Probe]:
    """Return the other forms of the fact, the facts that lead back to it, and all others as neighbours.

    Those of the smallest minimal set must go with the fact for it to be forgotten deeply, so they are the attack
    ``deduction``; those of the other sets may go or stay and are in no probe.
    """
    row = relations[fact_id]
    probes = [
        Probe(f"{fact.id}-direct", "direct", fact.prompt, fact.spellings, "test", fact.id),
        Probe(f"{fact.id}-cloze", "paraphrase", row["question"].strip(), (row["answer"],), "test", fact.id),
        Probe(f"{fact.id}-yes", "adversarial", row["question2"], (row["answer2"],), "test", fact.id, "confirmation"),
        Probe(f"{fact.id}-no", "adversarial", row["question3"], (row["answer3"],), "test", fact.id, "wrong relation"),
    ]
    smallest = min(minimal_sets, key=len)
    for place in smallest:
        if place != fact_id:
            prompt, answer = _asked(relations[place])
            probes.append(
                Probe(f"{fact.id}-from-{place}", "adversarial", prompt, (answer,), "test", fact.id, "deduction")
            )
    involved = {place for facts in minimal_sets for place in facts} | {fact_id}
    others = [(f"relation-{place}", each) for place, each in enumerate(relations) if place not in involved]
    others += [(f"biography-{place}", each) for place, each in enumerate(biographies)]
    for name, each in others:
        prompt, answer = _asked(each)
        relation = "same" if name.startswith("relation") and answer == fact.answer else "other"
        probes.append(Probe(f"{fact.id}-{name}", "neighbour", prompt, (answer,), "test", relation=relation))
    return probes


def _asked(row: Row) -> tuple[str, str]:
    """Return the question and answer that the benchmark teaches, forgets and asks."""
    return row["question4"], row["answer4"]


def _rows(path: Path) -> list[Row]:
    """Return the facts of a file, which holds a dict of equally long lists."""
    columns = read_archive(path)
    if not isinstance(columns, dict) or len({len(column) for column in columns.values()}) != 1:
        raise RequestError(f"{path} is no table of facts: a dict of equally long lists.", hint=_HINT)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _family(folder: Path) -> dict[str, Any]:
    """Return the graph and the rules as plain data: names, genders, edges and rules."""
    pairs, kinds, names, persons = read_archive(folder / "family-200-graph.pt")
    rules = read_archive(folder / "family_rule.pt")
    edges: list[Edge] = [(int(a), int(b), str(kind)) for (a, b), kind in zip(pairs, kinds, strict=True)]
    return {
        "names": [str(name) for name in names],
        "genders": [str(person.gender) for person in persons],
        "edges": edges,
        "rules": [([_atom(each) for each in rule.left_tuples], _atom(rule.right_tuple)) for rule in rules],
    }


def _atom(value: Sequence[Any]) -> tuple[int, str, int]:
    left, relation, right = value
    return int(left), str(relation), int(right)


def _chosen(wanted: str, count: int) -> list[int]:
    if wanted.strip().lower() == "all":
        return list(range(count))
    parts = [part.strip() for part in wanted.split(",") if part.strip()]
    wrong = [part for part in parts if not part.isdigit() or int(part) >= count]
    if wrong or not parts:
        shown = ", ".join(wrong) or wanted
        raise ConfigError(f"targets must be numbers from 0 to {count - 1} or all, got '{shown}'.", hint="targets=1")
    return sorted({int(part) for part in parts})
