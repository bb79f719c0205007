"""Learns a few vectors after the question that draw out half of the facts, and tries them on the other half."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from peft import TrainableTokensConfig, get_peft_model

from lune import adapters
from lune.attacks.contract import DIRECT_TOKENS, AttackContext, Finding
from lune.attacks.finetuning import NO_HALVES, fine_tune, grid, halves, pooled, sizes
from lune.chat import Encoded
from lune.generation import Chooser
from lune.models import LoadedModel
from lune.packing import pack_linears, unpack_linears
from lune.settings import ForgetSettings

SOURCE = "https://arxiv.org/abs/2402.09063"
THREAT = (
    "Whoever holds the merged weights and knows some of the facts. Such vectors can also put an answer in, so they are "
    "tested on facts whose answers they were not made with."
)
VECTORS = 4
STEPS = {"quick": 16, "standard": 48, "strong": 192}
RATES = {"quick": (3e-2,), "standard": (3e-3, 3e-2), "strong": (1e-3, 3e-3, 1e-2, 3e-2)}


def run(context: AttackContext) -> Finding:
    """Optimise the vectors on one half by cross-entropy to the true answers, ask the other half with them, and swap.

    The vectors take the places of tokens that no text of the run uses: training and asking are those of any text.
    """
    parts = halves(
        context.facts, {fact.id: (fact.prompt, context.base_answers[fact.id]) for fact in context.facts}, context.seed
    )
    if not parts:
        return Finding([], details={"note": NO_HALVES})
    victim = adapters.merged(context.shipped)
    _untie(victim)
    texts = {text for fact in context.facts for text in (fact.prompt, context.base_answers[fact.id])}
    ids = spare_tokens(victim, sorted(texts), context.seed)
    findings = []
    for rate in RATES[context.level]:
        done = []
        for trained, tested in parts:
            rows = [with_suffix(victim, ids, fact.prompt, context.base_answers[fact.id]) for fact in trained]
            asked = [with_suffix(victim, ids, fact.prompt) for fact in tested]
            answers = fine_tune(
                victim,
                victim,
                rows,
                rate=rate,
                steps=STEPS[context.level],
                seed=context.seed,
                ask=lambda asked=asked: _continued(victim, asked, ids),  # type: ignore[misc]
                attach=lambda model, settings: _attach(model, settings, ids),
            )
            done.append((tested, answers))
        findings.append(pooled(context, f"learning rate {rate:g}", done))
    return grid(findings, {"vectors": VECTORS, **sizes(parts)})


def spare_tokens(model: LoadedModel, texts: Sequence[str], seed: int) -> list[int]:
    """Return ids of tokens that occur in none of ``texts`` as the model reads them and are not special."""
    used = {token for text in texts for token in model.chat.encode(text, text).ids}
    used |= set(model.tokenizer.all_special_ids) | model.chat.stop_ids
    spare = [token for token in range(len(model.tokenizer)) if token not in used]
    return random.Random(seed).sample(spare, VECTORS)


def with_suffix(model: LoadedModel, ids: Sequence[int], prompt: str, response: str | None = None) -> Encoded:
    """Return the tokens of a prompt with ``ids`` put in where the user's text ends."""
    row = model.chat.encode(prompt, response)
    longer = model.chat.encode(f"{prompt} !").prompt
    end = 0
    while end < min(len(row.prompt), len(longer)) and row.prompt[end] == longer[end]:
        end += 1
    return Encoded((*row.prompt[:end], *ids, *row.prompt[end:]), row.response)


def _continued(model: LoadedModel, rows: Sequence[Encoded], ids: Sequence[int]) -> list[str]:
    """Return greedy answers in which no token of the vectors' places occurs."""
    return model.continue_rows(rows, choose=Chooser(banned=ids), max_new_tokens=DIRECT_TOKENS)


def _untie(model: LoadedModel) -> None:
    """Give the output head weights of its own: the vectors are read, never written."""
    head = model.model.get_output_embeddings()
    if head is not None and head.weight is model.model.get_input_embeddings().weight:
        unpack_linears(head)
        head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
        model.model.config.tie_word_embeddings = False
        pack_linears(model.model)


def _attach(model: LoadedModel, settings: ForgetSettings, ids: list[int]) -> None:
    """Make the vectors of ``ids`` trainable and nothing else."""
    torch.manual_seed(settings.seed)
    place = model.model.get_input_embeddings()
    name = next(name for name, module in model.model.named_modules() if module is place)
    with adapters.peft_quiet():
        model.model = get_peft_model(model.model, TrainableTokensConfig(target_modules=[name], token_indices=ids))
