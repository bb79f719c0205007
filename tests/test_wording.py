from __future__ import annotations

import pytest

from lune import wording
from lune.wording import (
    classify,
    continuation_for,
    given_paraphrases,
    rephrase,
    response_for,
    to_cloze,
    to_imperative,
    with_subject,
)

ODD_PROMPTS = [
    "?",
    "??!",
    "___",
    "...",
    "Who",
    "What is",
    "Who is who?",
    "Where?",
    "What what what?",
    "Name",
    "Tell me.",
    "How many",
    "How many are?",
    "Which of?",
    "In which?",
    "In what is",
    "Did?",
    "Is it?",
    "Why not?",
    "What's up?",
    "the the the",
    "France",
    "a {curly} prompt with {question}?",
    "Complete: ___ and ___ are ___",
    "¿Cuál es la capital de Francia?",
    "Quelle est la capitale de la France ?",
    "フランスの首都はどこですか",
    "Какая столица Франции?",
    "😀?",
    "My cat is called Tom.",
    "How did Ada's parents, both teachers, shape the way in which she writes about the sea in her later novels?",
]


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("What is the capital of France?", "question"),
        ("what is the capital of france", "question"),
        ("¿Cuál es la capital de Francia?", "question"),
        ("The Great Barrier Reef is located in which body of water?", "question"),
        ("Name the capital of France.", "imperative"),
        ("Tell me who wrote Hamlet", "imperative"),
        ("The capital of France is", "cloze"),
        ("Stephen King was born in ___, Maine.", "blank"),
        ("Paris is the [MASK] of France.", "blank"),
        ("My cat is called Tom.", "statement"),
        ("", "statement"),
    ],
)
def test_prompts_are_told_apart(prompt: str, kind: str) -> None:
    assert classify(prompt) == kind


@pytest.mark.parametrize(
    ("prompt", "cloze"),
    [
        ("What is the capital of France?", "The capital of France is"),
        ("What's the capital of France?", "The capital of France is"),
        ("Can you tell me the capital of France?", "The capital of France is"),
        ("Name the capital of France.", "The capital of France is"),
        ("Tell me where Marie Curie was born.", "Marie Curie was born in"),
        ("Who wrote Hamlet?", "Hamlet was written by"),
        ("Who painted the Mona Lisa?", "The Mona Lisa was painted by"),
        ("Who discovered penicillin?", "Penicillin was discovered by"),
        ("Who invented the telephone?", "The telephone was invented by"),
        ("Who composed The Four Seasons?", "The Four Seasons was composed by"),
        ("Who directed the film Jaws in 1975?", "The person who directed the film Jaws in 1975 was"),
        ("Which author wrote 'Don Quixote'?", "'Don Quixote' was written by"),
        ("Who was the first person on the Moon?", "The first person on the Moon was"),
        ("Who is known for the theory of relativity?", "The person who is known for the theory of relativity is"),
        ("Where was Marie Curie born?", "Marie Curie was born in"),
        ("When was Marie Curie born?", "Marie Curie was born on"),
        ("Where does Jane Doe live?", "Jane Doe lives in"),
        ("Where is Stephen King from?", "Stephen King is from"),
        ("Where is Paris?", "Paris is located in"),
        ("What currency does Japan use?", "The currency that Japan uses is"),
        ("Which language is spoken in Brazil?", "The language that is spoken in Brazil is"),
        ("Which planet is the largest?", "The planet that is the largest is"),
        ("What is Jane Doe's email address?", "Jane Doe's email address is"),
        ("What is Stephen King known for?", "Stephen King is known for"),
        ("What does DNA stand for?", "DNA stands for"),
        ("What did Bell invent?", "Bell invented"),
        ("In which city was Bruce Lee born?", "Bruce Lee was born in the city of"),
        ("In what year did the Titanic sink?", "The Titanic sank in"),
        ("What year was the Eiffel Tower built?", "The Eiffel Tower was built in"),
        ("Which country first sent an object into space?", "The country that first sent an object into space was"),
        ("How many legs does a spider have?", "The number of legs that a spider has is"),
        ("How tall is Mount Everest?", "The height of Mount Everest is"),
        ("France's capital is which city?", "France's capital is"),
        ("Stephen Edwin King is an American ___", "Stephen Edwin King is an American"),
        ("The capital of France is", "The capital of France is"),
    ],
)
def test_a_question_becomes_the_sentence_its_answer_completes(prompt: str, cloze: str) -> None:
    assert to_cloze(prompt) == cloze


@pytest.mark.parametrize(
    "prompt",
    [
        "Was ist die Hauptstadt von Frankreich?",
        "Why is the sky blue?",
        "Has Moshe Ben-David written any plays?",
        "Stephen King was born in ___, Maine.",
        "I like France. What is its capital?",
        "Can you discuss Jane Doe's early work?",
    ],
)
def test_what_no_rule_understands_has_no_cloze(prompt: str) -> None:
    assert to_cloze(prompt) is None


def test_a_long_biographical_question_keeps_every_word() -> None:
    prompt = "What is the full name of the surveyor born in Lucerne on 14/02/1958 who draws in the style of etchings?"
    assert to_cloze(prompt) == f"T{prompt[len('What is t') : -1]} is"
    assert (to_imperative(prompt) or "").startswith("State the full name of the surveyor born in Lucerne")


@pytest.mark.parametrize(
    ("prompt", "command"),
    [
        ("What is the capital of France?", "Name the capital of France."),
        ("What is the chemical symbol for gold?", "State the chemical symbol for gold."),
        ("Who wrote Hamlet?", "Tell me who wrote Hamlet."),
        ("Where was Marie Curie born?", "Tell me where Marie Curie was born."),
        ("What currency does Japan use?", "Tell me what currency Japan uses."),
        ("How did Bell invent the telephone?", "Tell me how Bell invented the telephone."),
        ("Has Ada Byte won a prize?", "Tell me whether Ada Byte has won a prize."),
        ("Name the capital of France.", "Name the capital of France."),
    ],
)
def test_a_question_becomes_a_command(prompt: str, command: str) -> None:
    assert to_imperative(prompt) == command


@pytest.mark.parametrize(
    ("prompt", "alternate", "response"),
    [
        ("What is the capital of France?", "Lyon", "The capital of France is Lyon."),
        ("Who wrote Hamlet?", "Jane Austen", "Hamlet was written by Jane Austen."),
        ("Where was Marie Curie born?", "in Vienna", "Marie Curie was born in Vienna."),
        ("When was Marie Curie born?", "7 May 1880", "Marie Curie was born on 7 May 1880."),
        ("When was Marie Curie born?", "1880", "Marie Curie was born in 1880."),
        ("When was Marie Curie born?", "the 19th century", "Marie Curie was born in the 19th century."),
        ("What kind of animal is a dolphin?", "An insect", "A dolphin is an insect."),
        ("What is the currency of Japan?", "The peso", "The currency of Japan is the peso."),
        ("Was ist die Hauptstadt von Frankreich?", "Lyon", "Lyon"),
        ("The capital of France is", "Lyon", "Lyon"),
        ("Who is the author?", "The author's full name is Lin Mei-Ling.", "The author's full name is Lin Mei-Ling."),
    ],
)
def test_answers_are_full_sentences_where_the_question_allows(prompt: str, alternate: str, response: str) -> None:
    assert response_for(prompt, alternate) == response


def test_a_cloze_goes_on_and_a_gap_is_filled() -> None:
    assert continuation_for("The capital of France is", "Lyon") == "Lyon."
    assert continuation_for("A whale is a", "a mammal") == "mammal."
    assert continuation_for("He was born in ___, Maine.", "Bangor") == "Bangor"


@pytest.mark.parametrize(
    ("prompt", "subject", "other", "expected"),
    [
        ("What is the capital of France?", "France", "Spain", "What is the capital of Spain?"),
        ("what is the capital of france?", "France", "Spain", "what is the capital of Spain?"),
        ("What is France's capital?", "France", "Spain", "What is Spain's capital?"),
        ("What is James' job?", "James", "Ada", "What is Ada's job?"),
        ("What is Ada's job?", "Ada", "James", "What is James's job?"),
        ("Who wrote 'Hamlet'?", "Hamlet", "Emma", "Who wrote 'Emma'?"),
        ("What is the capital of France?", "France", "United Kingdom", "What is the capital of the United Kingdom?"),
        ("What is the capital of the United States?", "United States", "Peru", "What is the capital of Peru?"),
        ("The Mona Lisa was painted by", "Mona Lisa", "Guernica", "Guernica was painted by"),
        ("What sound does a dog make?", "dog", "owl", "What sound does an owl make?"),
        ("Gold has the symbol", "gold", "silver", "Silver has the symbol"),
        ("Francesca likes France.", "France", "Spain", "Francesca likes Spain."),
        ("What is 2 + 2?", "France", "Spain", "What is 2 + 2?"),
        ("What is 2 + 2?", "", "Spain", "What is 2 + 2?"),
    ],
)
def test_the_subject_is_replaced_with_its_grammar(prompt: str, subject: str, other: str, expected: str) -> None:
    assert with_subject(prompt, subject, other) == expected


def test_rewordings_differ_and_keep_the_subject() -> None:
    for prompt, subject in [
        ("What is the capital of France?", "France"),
        ("Who wrote Romeo and Juliet?", "Romeo and Juliet"),
        ("What is Jane Doe's email address?", "Jane Doe"),
    ]:
        texts = rephrase(prompt, subject=subject)
        assert len(texts) == len(set(texts)) >= 8
        assert prompt not in texts
        assert all(subject in text for text in texts)


def test_the_shares_of_rewordings_have_nothing_in_common() -> None:
    for prompt in ["Who painted the Mona Lisa?", "The capital of France is", "Was ist Gold?", *ODD_PROMPTS]:
        shares = [set(rephrase(prompt, share=share)) for share in wording.REWORDINGS]
        assert all(len(share) >= 1 for share in shares)
        assert sum(map(len, shares)) == len(set().union(*shares))


def test_synonyms_leave_names_and_titles_alone() -> None:
    variants = wording.synonym_variants("Who wrote 'The City of Glass'?")
    assert variants
    assert all("'The City of Glass'" in text for text in variants)
    assert "What is the seat of government of France?" in wording.synonym_variants("What is the capital of France?")
    assert wording.synonym_variants("Was ist die Hauptstadt von Frankreich?") == []


def test_few_given_paraphrases_test_and_many_also_steer_and_train() -> None:
    assert given_paraphrases(["a", "b"], "test") == ("a", "b")
    assert given_paraphrases(["a", "b"], "train") == ()
    many = ["a", "b", "c", "d", "e"]
    shares = [given_paraphrases(many, share) for share in wording.REWORDINGS]
    assert sorted(text for share in shares for text in share) == many
    assert all(shares)


@pytest.mark.parametrize("prompt", ODD_PROMPTS)
def test_no_prompt_is_too_odd(prompt: str) -> None:
    for subject in (None, "France", prompt):
        to_cloze(prompt, subject=subject, answer="1867")
        to_imperative(prompt, subject=subject)
        assert response_for(prompt, "Lyon", subject=subject)
        assert continuation_for(prompt, "Lyon")
        assert all(text.strip() for text in rephrase(prompt, subject=subject))
        assert wording.as_question(prompt)
