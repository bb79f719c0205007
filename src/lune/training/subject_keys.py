"""Where the subjects of a request are read, and the fixed down-projections of a keyed adapter made from that."""

from __future__ import annotations

import torch

from lune import adapters
from lune.keys import KeyContext, key_context, whitened_keys
from lune.models import LoadedModel
from lune.preparation import Prepared
from lune.probes.anchors import ordinary_texts
from lune.settings import ForgetSettings
from lune.wording import named_in

KEY_CONTEXTS = ("{}", "Tell me about {}.")
"""Contexts in which a subject's key is read besides the training prompts."""
ORDINARY_TEXTS = 400
"""Questions about anything else, for the second moment of ordinary text; nothing is generated, so one forward pass."""


def key_contexts(trainee: LoadedModel, prepared: Prepared, *, with_answers: bool = True) -> list[KeyContext]:
    """Return where the request's subjects are read in the training prompts, and their answers where these stand there.

    Args:
        trainee: Reads the prompts.
        prepared: The facts and their negatives.
        with_answers: Whether answers that stand in a prompt are keys as well.
    """
    subjects = {fact.id: str(fact.subject) for fact in prepared.trained}
    places = {(subjects[negative.fact_id], negative.prompt): None for negative in prepared.made.negatives}
    named = {str(fact.subject): named_in(fact.prompt, str(fact.subject)) for fact in prepared.trained}
    places |= {(subject, form.format(named[subject])): None for subject in named for form in KEY_CONTEXTS}
    # Where the answer stands in the prompt, as in a reversed question or a choice, it is a key as well: a reversed
    # question does not name the subject, and training on what no key reads would only bend everything else.
    answers = {fact.id: fact.answer for fact in prepared.trained} if with_answers else {}
    places |= {(answers[negative.fact_id], negative.prompt): None for negative in prepared.made.negatives if answers}
    contexts = (key_context(trainee, name, prompt) for name, prompt in places)
    return [context for context in contexts if context]


def subject_keys(
    trainee: LoadedModel, prepared: Prepared, settings: ForgetSettings, contexts: list[KeyContext]
) -> dict[str, torch.Tensor]:
    """Return the fixed down-projection A [K, D] of each module, by name; its rows are the names read in ``contexts``.

    Args:
        trainee: The bare base model.
        prepared: Anchors, look-alikes and what must not be read.
        settings: Which layers.
        contexts: Where the names are read.
    """
    total = len(adapters.decoder_layers(trainee.model)[1])
    layers = adapters.chosen_layers(settings.layers, total, settings.adapter)
    modules = adapters.down_projections(trainee.model, layers)
    texts = [trainee.chat.encode(anchor.prompt, anchor.response) for anchor in prepared.anchors]
    avoided = [fact.subject or "" for fact in prepared.facts]
    ordinary = ordinary_texts([*avoided, *prepared.held_out], ORDINARY_TEXTS, settings.seed)
    texts += [trainee.chat.encode(prompt, answer) for prompt, answer in ordinary]
    others = [key_context(trainee, other, prompt) for other, prompt in prepared.look_alikes]
    return whitened_keys(
        trainee,
        modules,
        contexts,
        texts,
        [context for context in others if context],
    )
