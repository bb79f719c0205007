"""What the model would truly answer to the training prompts: what rival methods push down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from lune.negatives.forms import training_forms
from lune.records import Fact, Negative


def true_responses(negatives: Sequence[Negative], facts: Mapping[str, Fact]) -> list[str]:
    """Return, for each negative, the true response to its prompt, worded as its form words any answer.

    Asked backwards that is the subject. A truth comes once a negative, so that every method trains on as many rows of
    each prompt form.

    Args:
        negatives: The negative examples.
        facts: The facts they are about, by id.
    """
    return responses_with(negatives, facts, lambda each: each.truths(facts[each.fact_id])[0])


def responses_with(
    negatives: Sequence[Negative], facts: Mapping[str, Fact], answer: Callable[[Negative], str]
) -> list[str]:
    """Return, for each negative, the response to its prompt that answers ``answer(negative)`` in its form's words.

    Args:
        negatives: The negative examples.
        facts: The facts they are about, by id.
        answer: The short answer.
    """
    # The form of the reversed question is there only where wrong subjects are; which they are changes nothing.
    forms = {
        fact_id: {form.name: form for form in training_forms(fact, _wrong_subjects(fact_id, negatives))}
        for fact_id, fact in facts.items()
    }
    return [forms[each.fact_id][each.form].respond(answer(each)) for each in negatives]


def _wrong_subjects(fact_id: str, negatives: Sequence[Negative]) -> list[str]:
    return [each.alternate for each in negatives if each.fact_id == fact_id and each.expects == "subject"]
