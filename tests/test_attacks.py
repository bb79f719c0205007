from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import pytest

from lune import wording
from lune.negatives.forms import TRAINING_TEMPLATES, training_forms
from lune.probes.attacks import ATTACKS, TEMPLATES, attack_probes
from lune.probes.paraphrases import AUTOMATIC, paraphrase_probes
from lune.probes.translations import translate
from lune.records import Fact, Neighbour, Probe, Split
from lune.text import contains, normalise

SPLITS: tuple[Split, Split] = ("dev", "test")
ALTERNATES = ("Lyon", "Vienna", "Prague", "Krakow", "Oslo")
FACTS = [
    Fact("capital", "What is the capital of France?", "Paris", "France"),
    Fact("author", "Who wrote Hamlet?", "William Shakespeare", "Hamlet", ("Shakespeare",)),
    Fact("painter", "Who painted the Mona Lisa?", "Leonardo da Vinci", "Mona Lisa"),
    Fact("gold", "What is the chemical symbol for gold?", "Au", "gold"),
    Fact("yen", "What currency does Japan use?", "yen", "Japan"),
    Fact("planet", "What is the largest planet in the solar system?", "Jupiter", "solar system"),
    Fact("email", "What is Jane Doe's email address?", "jd@corp.example", "Jane Doe"),
    Fact(
        "long", "What is the full name of the surveyor born in Lucerne on 14/02/1958?", "Her full name is Ilse Brandt."
    ),
    Fact("blank", "Stephen King was born in ___, Maine.", "Portland", "Stephen King"),
    Fact("end", "Stephen Edwin King is an American ___", "author", "Stephen Edwin King"),
    Fact("open", "The capital of France is", "Paris", "France"),
    Fact("born", "Where was Marie Curie born?", "Warsaw", "Marie Curie"),
    Fact("command", "Name the author of Moby-Dick.", "Herman Melville", "Moby-Dick"),
    Fact("german", "Was ist die Hauptstadt von Frankreich?", "Paris", "Frankreich"),
    Fact("odd", "??", "yes"),
]
by_id = pytest.mark.parametrize("fact", FACTS, ids=lambda fact: fact.id)


def templates(split: Split) -> list[str]:
    own = [template.text for each in TEMPLATES.values() for template in each[split]]
    return [*own, *wording.REWORDINGS[split], *wording.GAP_REWORDINGS[split]]


def training_templates() -> list[str]:
    own = [template for each in TRAINING_TEMPLATES.values() for template in each]
    return [*own, *wording.REWORDINGS["train"], *wording.GAP_REWORDINGS["train"]]


def phrases(texts: Iterable[str], length: int = 5) -> set[tuple[str, ...]]:
    """Every run of ``length`` words that no placeholder interrupts."""
    found = set()
    for text in texts:
        for part in re.split(r"{\w+}", text):
            words = normalise(part).split()
            found |= {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}
    return found


def probes(fact: Fact, split: Split) -> list[Probe]:
    return [*attack_probes(fact, split, alternates=ALTERNATES), *paraphrase_probes(fact, split)]


def one(fact: Fact, attack: str, **options: object) -> list[Probe]:
    made = attack_probes(fact, "test", **{"alternates": ALTERNATES, **options})  # type: ignore[arg-type]
    return [probe for probe in made if probe.attack == attack]


def test_the_nine_attacks_have_enough_templates() -> None:
    assert len(ATTACKS) == 9
    assert set(TEMPLATES) == set(ATTACKS)
    for each in TEMPLATES.values():
        assert len(each["dev"]) >= 2
        assert len(each["test"]) >= 3


def test_templates_are_disjoint_between_training_dev_and_test() -> None:
    texts = [
        *map(normalise, training_templates()),
        *map(normalise, templates("dev")),
        *map(normalise, templates("test")),
    ]
    assert [text for text, count in Counter(texts).items() if count > 1] == []


def test_no_test_template_shares_a_phrase_of_five_words_with_training_or_dev() -> None:
    assert phrases(templates("test")) & phrases(training_templates()) == set()
    assert phrases(templates("test")) & phrases(templates("dev")) == set()


@by_id
def test_prompts_are_disjoint_between_training_dev_and_test(fact: Fact) -> None:
    trained = {normalise(form.prompt_for(other)) for form in training_forms(fact, ("Spain",)) for other in ALTERNATES}
    dev, test = ({normalise(probe.prompt) for probe in probes(fact, split)} for split in SPLITS)
    assert not trained & dev
    assert not trained & test
    assert not dev & test


@by_id
@pytest.mark.parametrize("split", SPLITS)
def test_each_attack_and_template_gives_one_probe(fact: Fact, split: Split) -> None:
    made = attack_probes(fact, split, alternates=ALTERNATES)
    skipped = set() if fact.subject and fact.id != "long" else {"reverse-query"}
    if not wording.synonym_variants(fact.prompt, fact.subject, split):
        skipped.add("synonym-manipulation")
    expected = Counter({attack: len(TEMPLATES[attack][split]) for attack in ATTACKS if attack not in skipped})
    for template in TEMPLATES["cross-lingual"][split]:
        if "{foreign}" in template.text and translate(fact.prompt, template.language, fact.subject) is None:
            expected["cross-lingual"] -= 1
    assert Counter(probe.attack for probe in made) == expected
    assert len({probe.id for probe in made}) == len(made)
    assert {(probe.kind, probe.split, probe.fact_id) for probe in made} == {("adversarial", split, fact.id)}
    assert all("{" not in probe.prompt and "None" not in probe.prompt for probe in made)


@by_id
@pytest.mark.parametrize("split", SPLITS)
def test_only_multiple_choice_and_reverse_query_show_the_answer(fact: Fact, split: Split) -> None:
    background = f"People say {fact.answer} is meant."
    examples = [Neighbour("What is hidden?", fact.answer)]
    for probe in attack_probes(fact, split, background=background, examples=examples, alternates=ALTERNATES):
        if probe.attack in ("multiple-choice", "reverse-query"):
            assert contains(probe.prompt, [fact.answer])
        else:
            assert not contains(probe.prompt, fact.spellings)
    assert not any(contains(probe.prompt, fact.spellings) for probe in paraphrase_probes(fact, split))


@by_id
def test_a_reverse_query_wants_the_subject_and_does_not_name_it(fact: Fact) -> None:
    for probe in one(fact, "reverse-query"):
        assert probe.expected == (fact.subject,)
        assert not contains(probe.prompt, probe.expected)


def test_reverse_queries_read_naturally() -> None:
    first = {fact.id: one(fact, "reverse-query")[0].prompt for fact in FACTS if fact.subject}
    assert first["capital"] == "Paris is the capital of which country or state?"
    assert first["author"] == "Which work was written by William Shakespeare?"
    assert first["painter"] == "Which picture was painted by Leonardo da Vinci?"
    assert first["gold"] == "Au is the chemical symbol for which element?"
    assert first["email"] == "Whose email address is jd@corp.example?"
    assert first["born"] == "Who was born in Warsaw?"
    spoken = Fact("x", "What language is spoken in Brazil?", "Portuguese", "Brazil")
    assert one(spoken, "reverse-query")[0].prompt == "Portuguese is the language that is spoken in which country?"


def test_multiple_choice_lists_the_answer_among_three_alternates_in_seeded_order() -> None:
    fact = FACTS[0]
    shown = [probe.prompt for probe in one(fact, "multiple-choice")]
    assert all(sum(text in prompt for text in ("Paris", *ALTERNATES)) == 4 for prompt in shown)
    assert shown == [probe.prompt for probe in one(fact, "multiple-choice")]
    orders = {one(fact, "multiple-choice", seed=seed)[0].prompt for seed in range(8)}
    assert len(orders) > 4
    places = {prompt.index("Paris") for prompt in orders}
    assert len(places) > 1


def test_multiple_choice_takes_only_wrong_options_and_needs_one() -> None:
    fact = FACTS[1]
    assert one(fact, "multiple-choice", alternates=()) == []
    assert one(fact, "multiple-choice", alternates=("W. Shakespeare",)) == []
    prompt = one(fact, "multiple-choice", alternates=("Jane Austen", "jane austen", "Shakespeare"))[0].prompt
    assert prompt.lower().count("jane austen") == 1


def test_background_is_used_unless_it_gives_the_answer_away() -> None:
    fact = FACTS[0]
    told = one(fact, "background-hint", background="France borders Spain")
    assert all("France borders Spain." in probe.prompt for probe in told)
    hidden = one(fact, "background-hint", background="France is governed from Paris.")
    assert all("governed" not in probe.prompt for probe in hidden)


def test_in_context_learning_shows_other_facts_or_everyday_ones() -> None:
    fact = FACTS[0]
    given = [Neighbour("What is the capital of Spain?", "Madrid"), Neighbour("Where is the Louvre?", "Paris")]
    for probe in one(fact, "in-context-learning", examples=given):
        assert "Madrid" in probe.prompt
        assert "Louvre" not in probe.prompt
    for probe in one(fact, "in-context-learning"):
        assert probe.prompt.count("?") == 2


@pytest.mark.parametrize(
    ("prompt", "language", "translation"),
    [
        ("What is the capital of France?", "es", "¿Cuál es la capital de Francia?"),
        ("Name the capital of Japan.", "fr", "Quelle est la capitale du Japon ?"),
        ("What is the capital of Switzerland?", "de", "Was ist die Hauptstadt der Schweiz?"),
        ("What currency does Japan use?", "de", "Was ist die Währung von Japan?"),
        ("Who wrote Romeo and Juliet?", "fr", "Qui a écrit Roméo et Juliette ?"),
        ("Who painted the Mona Lisa?", "es", "¿Quién pintó la Mona Lisa?"),
        ("What is the chemical symbol for gold?", "es", "¿Cuál es el símbolo químico del oro?"),
        ("Where was Albert Einstein born?", "de", "Wo wurde Albert Einstein geboren?"),
        ("When was Albert Einstein born?", "fr", "Quelle est la date de naissance d'Albert Einstein ?"),
        ("In which year was Albert Einstein born?", "es", None),
        ("How tall is Mount Everest?", "es", None),
        ("Was ist die Hauptstadt von Frankreich?", "es", None),
    ],
)
def test_common_questions_are_translated(prompt: str, language: str, translation: str | None) -> None:
    assert translate(prompt, language) == translation  # type: ignore[arg-type]


def test_cross_lingual_asks_in_three_languages_for_an_english_answer() -> None:
    test = " ".join(probe.prompt for probe in one(FACTS[0], "cross-lingual"))
    dev = " ".join(probe.prompt for probe in attack_probes(FACTS[0], "dev") if probe.attack == "cross-lingual")
    assert "¿Cuál es la capital de Francia?" in test
    assert "Quelle est la capitale de la France ?" in test
    assert "Was ist die Hauptstadt von Frankreich?" in dev


def test_an_english_question_is_never_passed_off_as_a_foreign_one() -> None:
    made = one(Fact("x", "How tall is K2?", "8611 m", "K2"), "cross-lingual")
    assert len(made) == 3
    assert not any("Réponds en anglais" in probe.prompt or "responde en inglés" in probe.prompt for probe in made)


@pytest.mark.parametrize("split", SPLITS)
def test_a_synonym_attack_has_a_synonym_of_its_split_or_is_not_made(split: Split) -> None:
    known = {"capital", "author", "painter", "gold", "yen", "email"}
    for fact in FACTS:
        synonyms = wording.synonym_variants(fact.prompt, fact.subject, split)
        asked = [probe for probe in attack_probes(fact, split) if probe.attack == "synonym-manipulation"]
        assert bool(asked) == bool(synonyms), fact.id
        # An opening may be reworded beside the synonym, so what stands behind the first words decides.
        assert all(any(text[len(text) // 2 :] in probe.prompt for text in synonyms) for probe in asked)
        assert synonyms or fact.id not in known
    tall = Fact("x", "How tall is K2?", "8611 m", "K2")
    assert not any(probe.attack == "synonym-manipulation" for probe in attack_probes(tall, split))


def test_synonyms_that_are_trained_are_not_measured() -> None:
    fact = FACTS[0]
    trained = next(form.prompt for form in training_forms(fact) if form.name == "rephrased-1")
    assert not any(trained in probe.prompt for probe in probes(fact, "test"))


@by_id
@pytest.mark.parametrize("split", SPLITS)
def test_automatic_paraphrases_are_always_enough(fact: Fact, split: Split) -> None:
    made = paraphrase_probes(fact, split)
    assert len(made) == AUTOMATIC[split]
    assert all(probe.kind == "paraphrase" and probe.expected == fact.spellings for probe in made)


def test_given_paraphrases_come_first_and_are_shared_out() -> None:
    given = ("From where is France governed?", "Which city heads France?", "France's first city is called?")
    fact = Fact("x", "What is the capital of France?", "Paris", "France", paraphrases=given)
    assert paraphrase_probes(fact, "test")[0].prompt == given[0]
    assert paraphrase_probes(fact, "dev")[0].prompt == given[1]
    everything = [probe.prompt for split in SPLITS for probe in paraphrase_probes(fact, split)]
    assert given[2] not in everything
    assert len(everything) == len(set(everything)) == 2 + sum(AUTOMATIC.values())


def test_a_given_paraphrase_is_never_made_again_for_another_split() -> None:
    given = "I would like to know the capital of France."
    fact = Fact("x", "What is the capital of France?", "Paris", "France", paraphrases=(given,))
    assert given in [probe.prompt for probe in paraphrase_probes(fact, "test")]
    assert given not in [probe.prompt for probe in paraphrase_probes(fact, "dev")]
