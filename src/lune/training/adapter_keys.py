"""Which keys a keyed adapter gets: subjects where they are read, answers where they are about to be written.

A key of a subject tells it from other subjects, but hardly one of its facts from another. A key of an answer, further
up, tells the fact from others of the subject, but less well from the same fact of other subjects. Each in its layers,
they damage less than either alone (docs/results.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lune import adapters
from lune.chat import Encoded
from lune.keys import KeyContext, KeySet, key_context, whitened_keys
from lune.models import LoadedModel
from lune.preparation import Prepared
from lune.probes.anchors import ordinary_texts
from lune.settings import ForgetSettings
from lune.subjects import of_whole_subjects
from lune.training.rows import negative_row
from lune.wording import named_in

SUBJECT_CONTEXTS = ("{}", "Tell me about {}.")
"""Contexts in which a subject's key is read besides the training prompts."""
ORDINARY_TEXTS = 400
"""Questions about anything else, for the second moment of ordinary text; nothing is generated, so one forward pass."""
ANSWERS_FROM = 7 / 15
"""Share of the model's layers below which keys are those of subjects, and from which those of answers."""
LOOK_ALIKES_WEIGHT = 0.3
"""Weight of other subjects against ordinary text; from 0.3 to 10 little changes."""
KEPT_ANSWERS_WEIGHT = 3.0
"""Weight of the places before each word of the anchors' and the look-alikes' answers against ordinary text."""


def adapter_keys(
    trainee: LoadedModel, prepared: Prepared, settings: ForgetSettings, *, subjects_alone: bool = False
) -> dict[str, torch.Tensor]:
    """Return the fixed down-projection of each adapted module, by name.

    Args:
        trainee: The bare base model, in the precision to train in.
        prepared: The facts, their negatives, the anchors.
        settings: The run's settings; ``layers`` says which layers are adapted.
        subjects_alone: Whether no answer is a key, neither above nor where a prompt shows it; an edit writes so.
    """
    total = len(adapters.decoder_layers(trainee.model)[1])
    layers = adapters.chosen_layers(settings.layers, total, settings.adapter)
    answers = [] if subjects_alone else _answers(trainee, prepared)
    subjects = subject_contexts(trainee, prepared, with_answers=not subjects_alone)
    below = [layer for layer in layers if layer < ANSWERS_FROM * total]
    above = [layer for layer in layers if layer not in below]
    if not answers:
        below, above = below or above, []
    texts = [trainee.chat.encode(anchor.prompt, anchor.response) for anchor in prepared.anchors]
    avoided = [fact.subject or "" for fact in prepared.facts]
    shipped = ordinary_texts([*avoided, *prepared.held_out], ORDINARY_TEXTS, settings.seed)
    ordinary = [(prompt, answer) for prompt, answer in shipped if not prepared.keeps_out(prompt)]
    others = [key_context(trainee, each.name, each.prompt) for each in prepared.look_alikes]
    answered = [trainee.chat.encode(each.prompt, each.response) for each in prepared.look_alikes if each.response]
    sets = [
        KeySet(
            adapters.down_projections(trainee.model, below),
            subjects,
            [each for each in others if each],
            LOOK_ALIKES_WEIGHT,
            shared=not subjects_alone,  # an edit solves for one column a subject
        ),
        KeySet(
            adapters.down_projections(trainee.model, above),
            answers,
            _kept_answers([*texts, *answered]),
            KEPT_ANSWERS_WEIGHT,
        ),
    ]
    texts += [trainee.chat.encode(prompt, answer) for prompt, answer in ordinary]
    return whitened_keys(trainee, [keys for keys in sets if keys.modules], texts)


def subject_contexts(trainee: LoadedModel, prepared: Prepared, *, with_answers: bool = True) -> list[KeyContext]:
    """Return where the subjects of the request are read in the training prompts.

    Args:
        trainee: Reads the prompts.
        prepared: The facts and their negatives.
        with_answers: Whether answers that stand in a prompt are keys as well.
    """
    negatives = prepared.made.negatives
    subjects = {fact.id: str(fact.subject) for fact in prepared.trained}
    places = {(subjects[negative.fact_id], negative.prompt): None for negative in negatives}
    named = {str(fact.subject): named_in(fact.prompt, str(fact.subject)) for fact in prepared.trained}
    places |= {(subject, form.format(named[subject])): None for subject in named for form in SUBJECT_CONTEXTS}
    # Where the answer stands in the prompt, as in a reversed question or a choice, it is a key as well: a reversed
    # question does not name the subject, and training on what no key reads would only bend everything else.
    told = {fact.id: fact.answer for fact in prepared.trained}
    if with_answers:
        places |= {(told[negative.fact_id], negative.prompt): None for negative in negatives}
    contexts = (key_context(trainee, name, prompt) for name, prompt in places)
    return [context for context in contexts if context]


def _answers(trainee: LoadedModel, prepared: Prepared) -> list[KeyContext]:
    """Return where the negatives part from the true answer: what is read there is about to become it.

    There are none of facts whose subject goes as a whole, nor of negatives that write nothing in the answer's place.
    """
    facts = {fact.id: fact for fact in prepared.trained}
    whole = of_whole_subjects(prepared.trained)
    few = [each for each in prepared.made.negatives if each.fact_id not in whole]
    contexts = []
    for negative in few:
        made = negative_row(trainee.chat, negative, facts[negative.fact_id])
        for place, _ in made.true_ways[:1]:
            contexts.append(KeyContext(negative.fact_id, made.row, len(made.row.prompt) + place - 1))
    return contexts


def _kept_answers(texts: Sequence[Encoded]) -> list[KeyContext]:
    """Return the places from which each token of the kept answers is written."""
    return [KeyContext("", text, len(text.prompt) + place - 1) for text in texts for place in range(len(text.response))]
