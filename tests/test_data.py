"""The word data of the package and its readers."""

from __future__ import annotations

import json
import re
from collections import Counter
from importlib.resources import files
from typing import Any

import pytest

from lune import gazetteer
from lune.probes.general import general_probes, ordinary_questions, part_of
from lune.text import contains, normalise
from lune.wording import synonym_variants

SHARED_NAMES = {"georgia"}  # a country and a US state; the country comes first


def _questions() -> list[dict[str, Any]]:
    text = files("lune").joinpath("data", "general.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def _entities() -> dict[str, dict[str, list[str]]]:
    entities: dict[str, dict[str, list[str]]] = json.loads(
        files("lune").joinpath("data", "entities.json").read_text(encoding="utf-8")
    )
    return entities


QUESTIONS = _questions()
ENTITIES = _entities()


# --- general questions


def test_general_questions_are_many_and_varied() -> None:
    topics = Counter(row["topic"] for row in QUESTIONS)
    assert len(QUESTIONS) >= 220
    assert len(topics) >= 12
    assert min(topics.values()) >= 10
    assert max(topics.values()) <= len(QUESTIONS) / 6


def test_general_questions_are_well_formed() -> None:
    for row in QUESTIONS:
        assert set(row) == {"id", "topic", "prompt", "answer", "aliases"}
        assert row["prompt"].endswith("?")
        for text in (row["id"], row["topic"], row["prompt"], row["answer"], *row["aliases"]):
            assert text and text == text.strip()
        for spelling in (row["answer"], *row["aliases"]):
            assert normalise(spelling), f"{row['id']}: nothing of '{spelling}' can be found in an answer"
            assert not contains(row["prompt"], [spelling]), f"{row['id']}: '{spelling}' is given away by the prompt"
        assert len({row["answer"], *row["aliases"]}) == 1 + len(row["aliases"])


@pytest.mark.parametrize(
    ("prompt", "wrong"),
    [
        ("What do people wear on their feet?", "People wear socks."),
        ("What is the SI unit of force?", "N stands for many things."),
        ("What is the lightest chemical element?", "Element H or He"),
        ("What is a camera used for?", "To capture animals."),
        ("What does a carnivore eat?", "It eats what other animals eat."),
        ("In which sport do players hit a ball over a net with a racket?", "badminton"),
    ],
)
def test_a_loose_answer_to_a_general_question_is_not_right(prompt: str, wrong: str) -> None:
    row = next(row for row in QUESTIONS if row["prompt"] == prompt)
    assert not contains(wrong, [row["answer"], *row["aliases"]])


def test_general_questions_are_distinct() -> None:
    assert len({row["id"] for row in QUESTIONS}) == len(QUESTIONS)
    assert len({normalise(row["prompt"]) for row in QUESTIONS}) == len(QUESTIONS)


def test_general_questions_leave_out_the_facts_of_the_demo() -> None:
    forgotten = [
        ("capital of", ""),
        ("Romeo", ""),
        ("symbol for gold", ""),
        ("currency", ""),
        ("Mona Lisa", ""),
        ("language", "Portuguese"),
        ("largest planet", ""),
        ("", "Shakespeare"),
    ]
    for row in QUESTIONS:
        for words, answer in forgotten:
            assert not (words in row["prompt"] and answer in row["answer"]), row["prompt"]


# --- general probes


def test_general_probes_split_the_questions() -> None:
    dev, test = general_probes("dev"), general_probes("test")
    ordinary = {prompt for prompt, _ in ordinary_questions()}
    assert len(dev) + len(test) + len(ordinary) == len(QUESTIONS)
    assert not {probe.prompt for probe in dev} & {probe.prompt for probe in test}
    assert not {probe.prompt for probe in dev + test} & ordinary
    assert 0.12 <= len(dev) / len(QUESTIONS) <= 0.28
    assert len(test) >= 150
    for probe in dev + test:
        assert probe.kind == "general" and probe.fact_id is None
        assert probe.split == part_of(probe.id)
        assert probe.expected
    assert all(probe.split == "dev" for probe in dev)


def test_general_probes_limit_keeps_the_order_and_mixes_topics() -> None:
    everything = general_probes("test")
    few = general_probes("test", limit=40)
    assert few == everything[:40]
    assert len({probe.id.split("-")[1] for probe in few}) >= 10
    assert general_probes("test", limit=0) == []


def test_general_probes_hand_out_fresh_lists() -> None:
    general_probes("dev").clear()
    assert general_probes("dev")


# --- entities


def test_entity_types_are_large_enough() -> None:
    least = {"country": 190, "chemical_element": 118, "us_state": 50, "person_invented": 120}
    wanted = {
        *(
            "country",
            "city",
            "us_state",
            "river",
            "mountain",
            "planet_or_body",
            "chemical_element",
            "chemical_compound",
        ),
        *("person_writer", "person_painter", "person_scientist", "person_inventor", "person_composer", "person_leader"),
        *("book_or_play", "painting", "invention", "company", "animal", "food", "language", "sport", "person_invented"),
    }
    assert wanted <= set(gazetteer.kinds())
    for kind in gazetteer.kinds():
        assert len(gazetteer.members(kind)) >= least.get(kind, 30), kind
    assert len(gazetteer.members("chemical_element")) == 118
    assert len(gazetteer.members("us_state")) == 50


def test_entity_names_are_clean_and_distinct() -> None:
    seen: Counter[str] = Counter()
    for kind, entry in ENTITIES.items():
        assert set(entry) <= {"members", "other_relations", "also", "article"}, kind
        names = [*entry["members"], *entry.get("also", [])]
        assert all(name and name == name.strip() for name in names)
        folded = Counter(name.casefold() for name in names)
        assert max(folded.values()) == 1, (kind, folded.most_common(2))
        assert set(entry.get("article", [])) <= set(entry["members"])
        seen.update(names)
    assert {name.casefold() for name, count in seen.items() if count > 1} == SHARED_NAMES


def test_other_relations_have_one_slot_and_are_open_questions() -> None:
    openers = {
        "What",
        "Which",
        "Who",
        "Where",
        "When",
        "How",
        "In",
        "On",
        "To",
        "Into",
        "After",
        "For",
        "Through",
        "From",
        "Is",
        "Why",
        "Has",
    }
    for kind in gazetteer.kinds():
        templates = gazetteer.other_relations(kind)
        assert 5 <= len(templates) <= 20, kind
        assert len(set(templates)) == len(templates)
        for template in templates:
            assert template.count("{}") == 1 and template.count("{") == 1
            assert template.endswith("?")
            assert template.split()[0] in openers, template


def test_every_member_is_found_by_its_name() -> None:
    for kind in gazetteer.kinds():
        for name in gazetteer.members(kind):
            expected = "country" if name == "Georgia" else kind
            assert gazetteer.entity_type(name) == expected, name


@pytest.mark.parametrize(
    ("subject", "kind"),
    [
        ("France", "country"),
        ("france", "country"),
        ("the Netherlands", "country"),
        ("  United   States ", "country"),
        ("Mercury", "planet_or_body"),
        ("mercury", "chemical_element"),
        ("MERCURY", "chemical_element"),
        ("Emily Bronte", "person_writer"),
        ("Pelé", "person_athlete"),
        ("Pele", "person_athlete"),
        ("Shakespeare", "person_writer"),
        ("The Hobbit", "book_or_play"),
        ("telephone", "invention"),
        ("gold", "chemical_element"),
        ("Jane Q. Doevandale", "person_invented"),
        ("Maria de los Olmos", "person_invented"),
        ("Siobhán O'Grathy-Lunn", "person_invented"),
        ("Springfield Elementary School", None),
        ("Agent 47 Smith", None),
        ("jane doevandale", None),
        ("Xylograph", None),
        ("One Two Three Four Five", None),
        ("", None),
    ],
)
def test_entity_type(subject: str, kind: str | None) -> None:
    assert gazetteer.entity_type(subject) == kind


def test_unknown_kind_is_empty() -> None:
    assert gazetteer.members("dragon") == ()
    assert gazetteer.other_relations("dragon") == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What is the capital of France?", [("France", "country")]),
        ("what is the capital of france?", [("france", "country")]),
        ("What is France's capital?", [("France", "country")]),
        ("Who wrote Romeo and Juliet?", [("Romeo and Juliet", "book_or_play")]),
        ("Who painted the Mona Lisa?", [("Mona Lisa", "painting")]),
        ("What is the chemical symbol for gold?", [("gold", "chemical_element")]),
        (
            "What is the capital of the Democratic Republic of the Congo?",
            [("Democratic Republic of the Congo", "country")],
        ),
        ("Is Paris in France?", [("France", "country"), ("Paris", "city")]),
        ("Where was Emily Bronte born?", [("Emily Bronte", "person_writer")]),
        ("Where did the gold rush end?", [("gold", "chemical_element")]),
        ("Golden Francesca tells us of goldsmiths.", []),
        ("tell us who took the lead", []),
        ("Which French emperor lost the battle?", []),
        ("In which country is French spoken?", [("French", "language")]),
        ("Which country speaks French?", [("French", "language")]),
        ("Who was Florence Ravensdyke?", []),
        ("Which country is South Georgia part of?", []),
        ("Who ate the turkey in Boston?", [("Boston", "city")]),
        ("", []),
    ],
)
def test_find_entities(text: str, found: list[tuple[str, str]]) -> None:
    assert gazetteer.find_entities(text) == found


def test_find_entities_gives_what_stands_in_the_text() -> None:
    text = "Compare MEXICO CITY with New York City and The Hague, then New York City again."
    found = gazetteer.find_entities(text)
    assert all(name in text for name, _ in found)
    assert [name for name, _ in found] == ["New York City", "MEXICO CITY", "The Hague"]


@pytest.mark.parametrize(
    ("template", "name", "expected"),
    [
        ("What is the capital of {}?", "Japan", "What is the capital of Japan?"),
        ("What is the capital of {}?", "Netherlands", "What is the capital of the Netherlands?"),
        ("How far is {} from the Earth?", "Moon", "How far is the Moon from the Earth?"),
        ("How long is the {}?", "Nile", "How long is the Nile?"),
        ('What is "{}" about?', "Emma", 'What is "Emma" about?'),
    ],
)
def test_ask_about(template: str, name: str, expected: str) -> None:
    assert gazetteer.ask_about(template, name) == expected


# --- synonyms


def test_synonyms_are_many_longest_first_and_different() -> None:
    entries = gazetteer.synonyms()
    assert len(entries) >= 80
    lengths = [len(key) for key, _ in entries]
    assert lengths == sorted(lengths, reverse=True)
    assert len({key.casefold() for key, _ in entries}) == len(entries)
    for key, values in entries:
        assert 1 <= len(values) <= 4
        assert len(set(values)) == len(values)
        assert all(value.strip() == value and value and value.casefold() != key.casefold() for value in values)


@pytest.mark.parametrize(
    "phrase",
    [
        *("capital of", "author of", "spouse of", "married to", "CEO of", "population of", "currency of"),
        *("wrote", "who painted", "who invented", "who discovered", "founded", "located", "chemical symbol for"),
        *("email address", "phone number", "language is spoken in", "profession", "hometown", "currency"),
    ],
)
def test_usual_relations_have_a_synonym_for_each_share(phrase: str) -> None:
    assert len(dict(gazetteer.synonyms())[phrase]) == 3


@pytest.mark.parametrize(
    ("prompt", "subject", "expected"),
    [
        ("When was Marie Curie born?", "Marie Curie", "When was Marie Curie brought into the world?"),
        ("What is the largest city in Brazil?", "Brazil", "What is the biggest city in Brazil?"),
        ("Who won the war?", "war", "Who was the winner of the war?"),
        ("Who is the CEO of Apple?", "Apple", "Who is the head of Apple?"),
        ("Who painted the Mona Lisa?", "Mona Lisa", "Who was the painter of the Mona Lisa?"),
        ("What is the capital of France?", "France", "What is the seat of government of France?"),
        ("What is John Smith's phone number?", "John Smith", "What is John Smith's contact number?"),
        ("What language is spoken in Brazil?", "Brazil", "What language is used in Brazil?"),
        ("When was penicillin discovered?", "penicillin", "When was penicillin first identified?"),
        ("What is Jo's social security number?", "Jo", "What is Jo's SSN?"),
        ("Which continent is Egypt in?", "Egypt", None),
        ("What gas do plants need?", "plants", None),
        ("Who wrote the children's opera?", "children's opera", "Who penned the children's opera?"),
        ("Which company published the children's album?", None, "Which company released the children's album?"),
    ],
)
def test_synonyms_give_questions_that_read_well_and_ask_the_same(
    prompt: str, subject: str | None, expected: str | None
) -> None:
    variants = synonym_variants(prompt, subject)
    assert (expected in variants) if expected else variants == []
    text = " ".join(variants)
    odd = "Boss|Head of|as a baby|greatest in size|took home|made the painting|governing|to ring|landmass|town|vapour"
    assert not re.search(rf"{odd}|national insurance|their birth|tongue|kids's|offspring's", text)


# --- translations


def test_every_name_has_a_plain_form_and_one_after_of_in_each_language() -> None:
    data = json.loads(files("lune").joinpath("data", "translations.json").read_text(encoding="utf-8"))
    assert len(data["names"]) >= 50
    for name, entry in data["names"].items():
        assert re.fullmatch(r"[^\W\d_]+(?: [^\W\d_]+)*", name), name
        assert set(entry) == {"es", "fr", "de"}
        for texts in entry.values():
            assert len(texts) == 2, name
            assert all(re.fullmatch(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*", text) for text in texts), name
