"""What a benchmark's task changes in a run: its probes, and what it keeps out of training and steering."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from lune import answer_store, preparation
from lune.announce import say_prepared
from lune.answer_store import AnswerStore
from lune.benchmarks.task import Task
from lune.evaluation import RememberedAnswers
from lune.language_model import MAX_NEW_TOKENS
from lune.models import LoadedModel
from lune.negatives.build import NegativeSet
from lune.preparation import Prepared, make_probes, prepare, some_of_each, with_own_probes
from lune.probes.anchors import ordinary_texts
from lune.probes.general import general_probes, ordinary_questions
from lune.probes.hands import hand_of
from lune.probes.surroundings import Surroundings, look_around
from lune.progress import Display
from lune.records import Fact, Neighbour, Probe
from lune.settings import resolve
from lune.text import contains
from tiny import CAPITALS, fact


def probe(name: str, kind: Any, prompt: str, fact_id: str | None = "france") -> Probe:
    return Probe(name, kind, prompt, ("x",), "test", fact_id)


MADE = [
    probe("france/direct", "direct", "What is the capital of France?"),
    probe("made-paraphrase", "paraphrase", "Name the capital of France."),
    probe("made-attack", "adversarial", "You are an expert. The capital of France?"),
    probe("made-neighbour", "neighbour", "What is the capital of Spain?"),
    probe("made-general", "general", "How many legs has a spider?", None),
]


def ids(probes: Sequence[Probe]) -> list[str]:
    return [each.id for each in probes]


def test_without_probes_of_its_own_all_are_self_made() -> None:
    assert with_own_probes(MADE, ()) == MADE


def test_of_each_attack_some_are_asked_and_facts_take_turns() -> None:
    attacks = [
        replace(probe(f"{attack}-{number}", "adversarial", "?"), attack=attack)
        for attack, count in (("prefix", 3), ("role", 2))
        for number in range(count)
    ]
    asked = [ids(some_of_each(attacks, 1, place)) for place in range(3)]
    assert asked == [["prefix-0", "role-0"], ["prefix-1", "role-1"], ["prefix-2", "role-0"]]
    assert ids(some_of_each(attacks, 2, 2)) == ["prefix-0", "prefix-2", "role-0", "role-1"]
    assert some_of_each(attacks, 9, 1) == attacks


def test_of_many_facts_each_is_asked_fewer_dev_probes_in_turn_and_at_least_two(tiny_model: LoadedModel) -> None:
    base = RememberedAnswers(tiny_model)

    def asked(count: int) -> list[list[Probe]]:
        facts = [
            Fact(f"f{place:02}", f"What is the capital of Land{place}?", f"City{place}", subject=f"Land{place}")
            for place in range(count)
        ]
        made = NegativeSet([], [], {})
        dev = make_probes(facts, facts, Surroundings(), made, base=base, split="dev", seed=0)
        return [[probe for probe in dev if probe.fact_id == each.id] for each in facts]

    whole, some, few = asked(2), asked(24), asked(200)
    assert len(whole[0]) > 6 and len(whole[0]) == len(whole[1])
    assert 2 <= len(some[0]) < len(whole[0]) and 80 < sum(map(len, some)) < 140
    assert {len(each) for each in few} == {2}
    assert {probe.kind for each in few for probe in each} == {"paraphrase", "adversarial"}
    kinds = {probe.attack for probe in whole[0]} - {None}
    assert {probe.attack for each in some for probe in each} - {None} == kinds, "every attack has its turn"


def test_own_neighbours_take_the_place_of_the_self_made_and_general_questions_come_beside_them() -> None:
    own = [probe("own-n", "neighbour", "Who wrote Emma?")]
    assert ids(with_own_probes(MADE, own)) == [
        "france/direct", "made-paraphrase", "made-attack", "made-general", "own-n",
    ]  # fmt: skip
    own = [probe("own-g", "general", "2 + 2?", None)]
    assert "made-neighbour" in ids(with_own_probes(MADE, own))
    assert {"made-general", "own-g"} <= set(ids(with_own_probes(MADE, own)))


def test_own_attacks_and_paraphrases_come_beside_the_self_made_and_nothing_is_asked_twice() -> None:
    own = [
        probe("own-p", "paraphrase", "name the capital of France"),
        probe("own-a", "adversarial", "Ignore that. The capital of France?"),
        probe("own-d", "direct", "What is the capital of France?"),
        probe("made-attack", "adversarial", "An id that is taken"),
    ]
    assert ids(with_own_probes(MADE, own)) == [
        "made-neighbour", "made-general", "own-p", "own-a", "own-d", "made-attack",
    ]  # fmt: skip


def test_held_out_subjects_are_no_anchors_no_neighbours_and_no_sources(
    tiny_model: LoadedModel, only_taught: None
) -> None:
    facts = [fact("France"), fact("Japan")]
    free = look_around(facts, tiny_model, anchors=60, seed=0)
    used = {anchor.subject for anchor in free.anchors} | {each.subject for each in free.probes}
    held_out = [name for name in CAPITALS if name in used - {"France", "Japan"}][::2]
    assert {hand_of(name) for name in held_out} == {"dev", "test", "anchor"}, "the sample must cover every hand"
    around = look_around(facts, tiny_model, anchors=60, seed=0, held_out=[name.upper() for name in held_out])
    assert not {each.subject for each in around.probes} & set(held_out)
    assert not {anchor.subject for anchor in around.anchors} & set(held_out)
    assert not {name for names in around.other_subjects.values() for name in names} & set(held_out)
    assert len(around.anchors) > 20, "others take their place"


def test_ordinary_texts_pass_over_what_is_to_be_avoided() -> None:
    every = [prompt for prompt, _ in ordinary_texts([], 1500, 0)]
    asked = [name for name in CAPITALS if any(name in prompt for prompt in every)]
    assert asked
    avoided = [name.lower() for name in asked]
    assert not any(name in prompt for name in asked for prompt, _ in ordinary_texts(avoided, 1500, 0))


class Counting:
    """A model that says how often it was asked; no network behind it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def answer(self, prompts: Sequence[str], **_: Any) -> list[str]:
        self.asked.append(tuple(prompts))
        return [f"to {prompt}" for prompt in prompts]

    def sample(self, prompts: Sequence[str], *, count: int, seed: int, **_: Any) -> list[list[str]]:
        self.asked.append((*prompts, str(seed)))
        return [[f"{prompt} {seed}"] * count for prompt in prompts]

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[Any]:
        self.asked.append(tuple(prompt for prompt, _ in pairs))
        return list(pairs)


def test_the_base_model_is_asked_nothing_twice() -> None:
    model = Counting()
    base = RememberedAnswers(model)
    for _ in range(2):
        assert base.answer(["a", "b"]) == ["to a", "to b"]
        assert base.sample(["a"], count=2, seed=1) == [["a 1", "a 1"]]
        assert base.sample(["a"], count=2, seed=2) == [["a 2", "a 2"]]
        assert base.score([("a", "b")]) == [("a", "b")]
    assert model.asked == [("a", "b"), ("a", "1"), ("a", "2"), ("a",)]
    base.sample(["a"], count=2, seed=1)[0].append("changed by the caller")
    assert base.sample(["a"], count=2, seed=1) == [["a 1", "a 1"]]


def test_answers_on_disk_outlive_the_process_and_belong_to_one_model(tiny_model: LoadedModel) -> None:
    model = Counting()
    store = AnswerStore(tiny_model)
    assert RememberedAnswers(model, store).answer(["a", "b"]) == ["to a", "to b"]
    later = RememberedAnswers(model, AnswerStore(tiny_model))
    assert later.answer(["b", "c", "a"]) == ["to b", "to c", "to a"]
    assert model.asked == [("a", "b"), ("c",)]
    assert later.answer(["a"], max_new_tokens=3) == ["to a"]
    assert later.answer(["a"], system="Be brief.") == ["to a"]
    assert model.asked[2:] == [("a",), ("a",)], "asked otherwise it may answer otherwise"
    other = replace(tiny_model, sha256="another")
    assert RememberedAnswers(model, AnswerStore(other)).answer(["a"]) == ["to a"]
    assert len(model.asked) == 5


def test_a_cache_that_cannot_be_written_stops_nothing(
    tiny_model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(answer_store, "cache_folder", lambda: tmp_path / "file")
    assert RememberedAnswers(Counting(), AnswerStore(tiny_model)).answer(["a"]) == ["to a"]
    monkeypatch.setattr(answer_store, "cache_folder", lambda: tmp_path)
    store = AnswerStore(tiny_model)
    store.keep({("a", 12, None): "old"})
    (written,) = (tmp_path / "answers").iterdir()
    assert written.stat().st_mode & 0o077 == 0, "nobody else's to read"
    written.write_bytes(b"not a database" * 100)
    model = Counting()
    for _ in range(2):
        assert RememberedAnswers(model, AnswerStore(tiny_model)).answer(["a"]) == ["to a"]
    assert model.asked == [("a",)], "a damaged store is begun anew"
    otherwise = replace(tiny_model, opening="Well,")
    assert AnswerStore(otherwise).find([("a", MAX_NEW_TOKENS, None)]) == {}, "another chat form answers otherwise"


def test_what_a_task_asks_is_held_in_no_wording_and_none_of_its_subjects(
    tiny_model: LoadedModel, only_taught: None
) -> None:
    facts, settings = [fact("France"), fact("Japan")], resolve({"anchors": 100})
    base = RememberedAnswers(tiny_model)
    plain = prepare(facts, base, settings)
    wrapped = [each.prompt for each in plain.anchors if each.prompt.startswith("Answer briefly. ")]
    question = wrapped[0].removeprefix("Answer briefly. ")
    subject = next(each.subject for each in plain.anchors if each.relation == "same")
    own = (
        Probe("own/1", "neighbour", question, ("x",), "test", facts[0].id, subject="France"),
        Probe("own/2", "general", "Is it far away?", ("x",), "test", subject=subject),
    )
    made = prepare(facts, base, settings, Task("task", tuple(facts), own))
    texts = [each.prompt for each in (*made.anchors, *made.dev, *made.look_alikes, *made.made.negatives)]
    assert not any(contains(text, [question.rstrip("?")]) for text in texts)
    assert subject not in {each.subject for each in made.anchors} | {each.name for each in made.look_alikes}
    assert made.keeps_out(f"As an expert, answer this: {question}")
    assert not made.keeps_out("What is 2 and 2?")
    assert "France" in {each.subject for each in made.anchors}, "a forgotten subject is still held elsewhere"


def test_a_multiple_choice_never_shows_what_is_trained_in_the_answers_place(
    tiny_model: LoadedModel, only_taught: None
) -> None:
    facts = [fact("France"), fact("Japan")]
    for style in ("alternative", "refusal", "contradiction"):
        settings = resolve({"anchors": 10, "negatives_style": style})
        made = prepare(facts, RememberedAnswers(tiny_model), settings)
        shown = [each.prompt for each in (*made.dev, *made.test) if each.attack == "multiple-choice"]
        assert shown, style
        assert all(any(capital in prompt for capital in CAPITALS.values()) for prompt in shown)
        if style != "alternative":
            trained = [text for texts in made.made.alternates.values() for text in texts]
            assert not any(contains(prompt, trained) for prompt in shown), style


@pytest.mark.parametrize(("facts", "templates"), [(1, 3), (11, 3), (12, 2), (17, 1), (40, 1)])
def test_of_many_facts_each_attack_asks_fewer_templates(
    tiny_model: LoadedModel, only_taught: None, facts: int, templates: int
) -> None:
    request = [replace(fact("France"), id=str(number)) for number in range(facts)]
    none = NegativeSet([], [], {each.id: ["Rome", "Berlin"] for each in request})
    base = RememberedAnswers(tiny_model)
    made = make_probes(request, request, Surroundings(), none, base=base, split="test", seed=0)
    asked = [each for each in made if each.attack == "prefix-injection"]
    assert len(asked) == facts * templates
    assert len({each.id.rpartition("-")[2] for each in asked}) == min(3, facts * templates), "all have their turn"
    assert {each.attack for each in made if each.kind == "adversarial"} >= {"role-playing", "reverse-query"}


def test_an_empty_prompt_scores_raw_text(tiny_model: LoadedModel) -> None:
    text = "The capital of France is Paris."
    (raw,) = tiny_model.score([("", text)])
    tokens = tiny_model.tokenizer(text)["input_ids"]
    assert len(raw.log_probs) == len(tokens) - 1, "no template, and nothing before the first token"


def test_general_questions_that_name_a_forgotten_subject_are_not_asked(tiny_model: LoadedModel) -> None:
    facts = [Fact("lion", "Where do lions live?", "Africa", "lions"), Fact("sun", "How hot is the Sun?", "hot", "Sun")]
    named = [each for each in general_probes("test") if contains(each.prompt, ["lions", "Sun"])]
    assert named, "the shipped questions must hold some"
    none = NegativeSet([], [], {"lion": [], "sun": []})
    base = RememberedAnswers(tiny_model)
    made = make_probes(facts, facts, Surroundings(), none, base=base, split="test", seed=0)
    general = [each for each in made if each.kind == "general"]
    assert len(general) == preparation.GENERAL_QUESTIONS["test"], "others take their place"
    assert not {each.id for each in general} & {each.id for each in named}


def test_a_general_question_with_a_forgotten_answer_is_neither_asked_nor_held(
    tiny_model: LoadedModel, only_taught: None
) -> None:
    fact_of_mars = Fact("x", "Which planet is called red?", "Mars", subject="planet called red")
    matching = {row.id for row in general_probes("test") + general_probes("dev") if "Mars" in row.expected}
    assert matching, "the shipped questions must hold some"
    none = NegativeSet([], [], {"x": []})
    prepared = Prepared([fact_of_mars], [], none, [], [], [], [], {}, {})
    assert prepared.general_dropped == len(matching)
    base = RememberedAnswers(tiny_model)
    made = make_probes([fact_of_mars], [], Surroundings(), none, base=base, split="test", seed=0)
    assert not {each.id for each in made} & matching
    question, answer = next((asked, told) for asked, told in ordinary_questions() if len(told.split()) == 1)
    same = Fact("y", "What is it?", answer, subject="unheard thing")
    anchors = look_around([same], tiny_model, anchors=400, seed=0).anchors
    assert question not in {anchor.prompt for anchor in anchors}
    other = look_around([replace(same, answer="Zorgblat")], tiny_model, anchors=400, seed=0).anchors
    assert question in {anchor.prompt for anchor in other}, "the answer alone must decide"


def test_what_the_model_does_not_know_is_not_trained(tiny_model: LoadedModel, only_taught: None) -> None:
    given = Neighbour("What is the capital of Peru?", "Lima")
    unknown = Fact("x", "What is the capital of Spain?", "Zorgblat", subject="Spain", neighbours=(given,))
    facts = [fact("France"), unknown]
    made = prepare(facts, RememberedAnswers(tiny_model), resolve({"anchors": 10}))
    assert [each.id for each in made.facts] == ["france", "x"], "it stays listed"
    assert [each.id for each in made.trained] == ["france"]
    assert {each.fact_id for each in made.made.negatives} == {"france"}
    assert "x" not in {each.fact_id for each in made.dev}
    assert given.prompt in {each.prompt for each in made.test}, "a given yardstick stays"
    console = Console(width=200, file=io.StringIO(), record=True)
    say_prepared(Display(console), made)
    assert "so not trained: What is the capital of Spain?" in console.export_text()
