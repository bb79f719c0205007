"""The few words by which a whole-sentence answer is recognised."""

from __future__ import annotations

import pytest

from lune.benchmarks.spans import key_span, main_name, named_as, telling_runs


@pytest.mark.parametrize(
    ("answer", "prompt", "right", "wrong", "expected"),
    [
        (
            "The author's full name is Ilse Vantongeren.",
            "What is the full name of the author born in Ghent?",
            "Ilse Vantongeren is how the writer is called.",
            ["Marie Peeters is how the writer is called.", "Lotte Claes is how the writer is called."],
            "Ilse Vantongeren",
        ),
        (
            "Ilse Vantongeren mostly writes in the horticulture genre.",
            "In which genre does Ilse Vantongeren write?",
            "The main field of Ilse Vantongeren is horticulture.",
            ["The main field of Ilse Vantongeren is chess.", "The main field of Ilse Vantongeren is sailing."],
            "horticulture",
        ),
        (
            'Among her books are "The Salt Garden", "Rain on Slate" and "Moss".',
            "Which books did Ilse Vantongeren write?",
            "She wrote 'The Salt Garden', 'Rain on Slate' and 'Moss'.",
            ["She wrote 'A Dry Well', 'Sun on Tin' and 'Fern'.", "She wrote 'Cold Tea', 'Fog' and 'Ash'."],
            "The Salt Garden",
        ),
    ],
)
def test_the_words_in_which_all_wrong_answers_differ_are_what_was_asked(
    answer: str, prompt: str, right: str, wrong: list[str], expected: str
) -> None:
    assert key_span(answer, prompt, right=right, wrong=wrong) == expected


@pytest.mark.parametrize(
    ("answer", "prompt", "expected"),
    [
        ("Write to Ilse at ilse@slate.example for news.", "How can one write to Ilse?", "ilse@slate.example"),
        ("Ilse lives at 14 Willow Lane, near Ghent.", "Where does Ilse live?", "14 Willow Lane"),
        ("Ilse was born on 4 May 1961 in Ghent.", "When was Ilse born?", "4 May 1961"),
        ('Her second book, "Rain on Slate", won in Ghent.', "Which book of Ilse won?", "Rain on Slate"),
        ("She grew up with her aunt in Ghent.", "Where did Ilse grow up?", "Ghent"),
        ("It appeared in 1987, after a long wait.", "What year did Moss appear?", "1987"),
        ("Her style is calm and full of quiet wit, which readers have come to love over the years.", "Style?", None),
        ("Yes, all of them are about plants.", "Are the books of Ilse about plants?", None),
    ],
)
def test_without_wrong_answers_shape_decides(answer: str, prompt: str, expected: str | None) -> None:
    assert key_span(answer, prompt) == expected


def test_what_the_prompt_or_a_wrong_answer_says_tells_nothing() -> None:
    prompt = 'What is "Rain on Slate" by Ilse about?'
    assert key_span('"Rain on Slate" tells of Ghent.', prompt) == "Ghent"
    right, wrong = "The novel tells of Ghent.", ["The novel tells of Ghent and of rain.", "The novel tells of war."]
    assert key_span('"Rain on Slate" tells of Ghent.', prompt, right=right, wrong=wrong) is None


def test_one_ordinary_word_of_a_long_answer_tells_nothing() -> None:
    long = "The work of Ilse is warm, and people of all ages who like quiet books praise it for its plants."
    right = "Readers of every age praise the plants in it."
    wrong = ["Readers of every age praise the robots in it.", "Readers of every age praise the maps in it."]
    assert key_span(long, "Why is Ilse praised?", right=right, wrong=wrong) is None
    assert key_span("People praise its plants.", "Why is Ilse praised?", right=right, wrong=wrong) == "plants"


def test_telling_runs_go_beyond_the_prompt() -> None:
    answer = "Ilse writes calm sentences about damp gardens."
    assert telling_runs(answer, "How does Ilse write?") == (
        "Ilse writes calm sentences",
        "writes calm sentences about",
        "calm sentences about damp",
        "sentences about damp gardens",
    )
    assert telling_runs(answer, "How does Ilse write calm sentences?") == ("sentences about damp gardens",)
    assert telling_runs("Yes, it is.", "Is it?") == ()


def test_the_person_most_texts_name_is_found_and_how_a_prompt_names_her() -> None:
    texts = [
        "Does Ilse Vantongeren write?",
        "Ilse Vantongeren's book is Moss.",
        "In New York she met Ilse Vantongeren.",
    ]
    assert main_name(texts) == "Ilse Vantongeren"
    assert main_name(["no name here"]) is None
    assert named_as("Ilse Vantongeren", "Who is Ilse Vantongeren?") == "Ilse Vantongeren"
    assert named_as("Ilse Vantongeren", "What did Vantongeren write?") == "Vantongeren"
    assert named_as("Ilse Vantongeren", "Who was born in Ghent?") is None
