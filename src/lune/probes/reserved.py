"""What no self-made question may touch: the request's own questions, and the neighbours that its author gave."""

from __future__ import annotations

from dataclasses import dataclass

from lune.records import Fact
from lune.text import contains, normalise


@dataclass(frozen=True)
class Reserved:
    """The prompts that belong to the requester.

    A neighbour that they gave is their yardstick: nothing that trains, steers or is kept apart may hold it, in whatever
    wording around it. What is to be forgotten must not be counted as what must stay.

    Attributes:
        facts: All facts of the request, those the model does not know as well.
    """

    facts: tuple[Fact, ...]

    @property
    def given(self) -> list[str]:
        """The prompts of the given neighbours."""
        return [neighbour.prompt for fact in self.facts for neighbour in fact.neighbours]

    def allows(self, prompt: str) -> bool:
        """Return whether a self-made question is neither one of the request's nor holds a given neighbour's."""
        text = normalise(prompt)
        asked = {normalise(each) for fact in self.facts for each in (fact.prompt, *fact.paraphrases)}
        return text not in asked and not any(normalise(each) in text for each in self.given)

    def names(self, subject: str) -> bool:
        """Return whether a given neighbour's prompt names ``subject``."""
        return any(contains(prompt, [subject]) for prompt in self.given)

    def forgotten(self, subject: str, expected: str) -> bool:
        """Return whether ``expected`` holds something to be forgotten about ``subject``."""
        spellings = [each for fact in self.facts if fact.subject == subject for each in fact.spellings]
        return contains(expected, spellings)
