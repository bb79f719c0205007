"""Other wordings of a fact's prompt, which training never sees."""

from __future__ import annotations

from lune.negatives.forms import training_forms
from lune.records import Fact, Probe, Split
from lune.text import contains, normalise
from lune.wording import given_paraphrases, rephrase

AUTOMATIC: dict[Split, int] = {"dev": 3, "test": 4}


def paraphrase_probes(fact: Fact, split: Split) -> list[Probe]:
    """Return the requester's paraphrases of ``split`` and three (dev) or four (test) rewordings by rule.

    None repeats a training form, a paraphrase of another share, or contains the answer.
    """
    # Two subjects are enough to make every training form appear; their names play no part.
    trained = {normalise(form.prompt) for form in training_forms(fact, ("A", "B"))}
    given = [text for text in given_paraphrases(fact.paraphrases, split) if normalise(text) not in trained]
    seen = trained | {normalise(text) for text in (fact.prompt, *fact.paraphrases)}
    automatic = [
        text
        for text in rephrase(fact.prompt, subject=fact.subject, share=split)
        if normalise(text) not in seen and not contains(text, fact.spellings)
    ]
    return [
        Probe(
            id=f"{fact.id}/paraphrase/{split}-{number}",
            kind="paraphrase",
            prompt=prompt,
            expected=fact.spellings,
            split=split,
            fact_id=fact.id,
            subject=fact.subject,
        )
        for number, prompt in enumerate([*given, *automatic[: AUTOMATIC[split]]], start=1)
    ]
