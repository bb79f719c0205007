"""Answers that are sentences: by which of their words they are recognised when a model says them otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lune.benchmarks.spans import key_span, telling_runs
from lune.records import Fact
from lune.text import contains, normalise

FEWEST_WORDS = 4
"""An answer of fewer words is no sentence."""


def with_key_words(facts: Sequence[Fact]) -> tuple[list[Fact], list[str]]:
    """Return the facts, each sentence among their answers with its key words as aliases, and what to tell of it.

    An answer is looked for as it stands, and no model says a sentence twice alike: without this "Ilse Brandt surveyed
    Lucerne." would count as forgotten once "I. Brandt surveyed Lucerne." is said. Aliases of the request's own stay as
    they are.
    """
    made, told = [], []
    for fact in facts:
        if fact.aliases or not is_sentence(fact.answer, fact.prompt):
            made.append(fact)
            continue
        span = key_span(fact.answer, fact.prompt)
        found = [span] if span else list(telling_runs(fact.answer, fact.prompt))
        # What holds another spelling is idle, and a neighbour's prompt may say what this prompt does not.
        aliases = tuple(text for text in found if not contains(text, [fact.answer]))
        made.append(replace(fact, aliases=aliases))
        shown = ", ".join(f"'{text}'" for text in aliases[:3]) + (" ..." if len(aliases) > 3 else "")  # noqa: PLR2004
        told.append(
            f"{fact.id}: its answer is a sentence; saying {shown} counts as giving it."
            if aliases
            else f"{fact.id}: its answer is a sentence without words of its own, so only the whole of it counts as a "
            "leak. Give the few words that tell it as `answer`, or `aliases`."
        )
    return made, told


def is_sentence(answer: str, prompt: str) -> bool:
    """Return whether an answer says more than the few words that were asked for: it repeats the prompt, or ends."""
    words = normalise(answer).split()
    asked = {word for word in normalise(prompt).split() if len(word) >= FEWEST_WORDS}
    return len(words) >= FEWEST_WORDS and (answer.rstrip().endswith((".", "!", "?")) or bool(asked & set(words)))
