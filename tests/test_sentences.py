"""Sentences as answers: their key words count as giving them, and the user is told."""

from __future__ import annotations

import pytest

from lune.records import Fact
from lune.sentences import is_sentence, with_key_words
from lune.text import contains


@pytest.mark.parametrize(
    ("prompt", "answer", "said"),
    [
        ("Where was Orla Venn born?", "Orla Venn was born in Tarmouth.", "Olora Venn was born in Tarmouth."),
        ("What does Orla Venn do for a living?", "Orla Venn builds wooden clocks.", "Ola Venn builds wooden clocks."),
    ],
)
def test_a_sentence_said_a_little_otherwise_counts_as_given(prompt: str, answer: str, said: str) -> None:
    fact = Fact("f1", prompt, answer)
    assert not contains(said, fact.spellings)
    [made], [told] = with_key_words([fact])
    assert contains(said, made.spellings)
    assert made.answer == answer
    assert told.startswith("f1: its answer is a sentence; saying '")
    assert not contains(prompt, made.aliases)


@pytest.mark.parametrize(
    ("prompt", "answer", "aliases"),
    [
        ("What is the capital of France?", "Paris", ()),
        ("Which novel did Tolkien write?", "The Lord of the Rings", ()),
        ("Where was Orla Venn born?", "Orla Venn was born in Tarmouth.", ("Tarmouth Bay",)),
    ],
)
def test_a_few_words_and_what_the_request_names_itself_are_left_alone(
    prompt: str, answer: str, aliases: tuple[str, ...]
) -> None:
    fact = Fact("f1", prompt, answer, aliases=aliases)
    assert with_key_words([fact]) == ([fact], [])


def test_a_sentence_without_words_of_its_own_is_told() -> None:
    fact = Fact("f1", "Is the old mill in the valley?", "The old mill is in the valley.")
    assert is_sentence(fact.answer, fact.prompt)
    made, [told] = with_key_words([fact])
    assert made == [fact]
    assert "only the whole of it counts as a leak" in told
