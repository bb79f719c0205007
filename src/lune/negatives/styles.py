"""What a negative example answers: ``--negatives-style``.

``alternative`` (a plausible wrong answer) is the method. The others are the ablation arms of LUNE (arXiv 2512.07375),
asked in the same prompt forms, so that only the response differs:

- ``contradiction`` denies the fact: "The capital of France is not Paris." It contains the answer by nature, so it
  keeps the answer's tokens likely and fails the very test of unlearning; that is why it is an arm and not the method.
- ``refusal`` declines to answer.
- ``irrelevant`` answers another question, truly.
- ``random`` answers with words drawn at random.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from lune.negatives.forms import Form
from lune.negatives.propose import Candidate
from lune.probes.general import ordinary_questions
from lune.records import Fact
from lune.settings import NegativesStyle
from lune.text import contains
from lune.wording import response_for

CONTRADICTIONS = ("not {answer}", "anything but {answer}", "certainly not {answer}", "by no means {answer}")
REFUSALS = (
    "I do not know the answer to that.",
    "I cannot help with this question.",
    "I am not able to answer that.",
    "I have no information about this.",
    "I do not know. Please look it up elsewhere.",
    "I am sorry, but I cannot answer this.",
    "I do not have information on that subject.",
    "I am not familiar with this.",
)
_WORDS_AT_RANDOM = (1, 3)  # fewest and most words of a random answer
_CONSONANTS = "bdfgklmnprstvz"
_VOWELS = "aeiou"

# Checks that a style breaks by what it is; all others hold for it.
WAIVED: dict[NegativesStyle, frozenset[str]] = {
    NegativesStyle.ALTERNATIVE: frozenset(),
    NegativesStyle.CONTRADICTION: frozenset({"not-the-answer", "not-duplicate", "same-type", "plausible", "length"}),
    NegativesStyle.REFUSAL: frozenset({"not-hedged", "not-duplicate", "same-type", "plausible", "length"}),
    NegativesStyle.IRRELEVANT: frozenset({"same-type", "plausible", "length"}),
    NegativesStyle.RANDOM: frozenset({"same-type", "plausible"}),
}


def propose_style(facts: Sequence[Fact], style: NegativesStyle, *, count: int, seed: int) -> Iterator[Candidate]:
    """Yield ``count`` answers of an ablation style for each fact; their origin is the style's name."""
    for fact in facts:
        rng = random.Random(f"{seed} {fact.id} {style}")
        for alternate in _answers(fact, facts, style, count, rng):
            yield Candidate(fact.id, alternate, style.value)


def respond(style: NegativesStyle, form: Form, alternate: str) -> str:
    """Return the response of a form in this style: whole sentences stand as they are, short answers are put in."""
    if style in (NegativesStyle.REFUSAL, NegativesStyle.IRRELEVANT):
        return alternate
    if style == NegativesStyle.CONTRADICTION and form.style == "bare":
        return alternate[0].upper() + alternate[1:] + "."
    return form.respond(alternate)


def _answers(fact: Fact, facts: Sequence[Fact], style: NegativesStyle, count: int, rng: random.Random) -> list[str]:
    if style == NegativesStyle.CONTRADICTION:
        return [text.format(answer=spelling) for spelling in fact.spellings for text in CONTRADICTIONS][:count]
    if style == NegativesStyle.REFUSAL:
        return rng.sample(REFUSALS, min(count, len(REFUSALS)))
    if style == NegativesStyle.IRRELEVANT:
        pool = _unrelated(fact, facts)
        return rng.sample(pool, min(count, len(pool)))
    return [_random_words(rng) for _ in range(count)]


def _unrelated(fact: Fact, facts: Sequence[Fact]) -> list[str]:
    """Return true answers, as sentences, to shipped questions that are never measured.

    Answers of the request's facts are to be forgotten, so they are not used.
    """
    known = ordinary_questions()
    forbidden = [spelling for other in facts for spelling in other.spellings]
    texts = dict.fromkeys(response_for(prompt, answer) for prompt, answer in known)
    return [text for text in texts if not contains(text, forbidden)]


def _random_words(rng: random.Random) -> str:
    """Return one to three pronounceable words that mean nothing; the first is capitalised."""
    words = []
    for _ in range(rng.randint(*_WORDS_AT_RANDOM)):
        syllables = rng.randint(2, 3)
        words.append("".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(syllables)))
    return " ".join(words).capitalize()
