"""The membership attacks that need more than token scores: another model, or gradients.

    reference  mean log p - mean log p of the reference model                (Carlini et al., arXiv 2012.07805)
    gradnorm   -||gradient of the mean loss in the last decoder layer||_2    (Wang et al., arXiv 2402.17012)

Both are higher for members. The gradient is taken in all weights of the last decoder layer of the model as it answers
(with an adapter: in the weights under it, whose gradient is that of the merged ones), so that models with and without
an adapter can be compared and a small machine can compute it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from lune.adapters import decoder_layers
from lune.batching import batches, response_logits
from lune.language_model import TokenScores
from lune.models import LoadedModel


def reference_scores(scores: Sequence[TokenScores], reference: Sequence[TokenScores]) -> list[float]:
    """Return each text's mean log-probability less that under the reference model, in nats; NaN without a token.

    Args:
        scores: Token scores of the texts under the model that is attacked.
        reference: The same texts under a model that never saw them, with the same tokenizer or another.
    """
    return [
        own.mean_log_prob - other.mean_log_prob if own.log_probs and other.log_probs else float("nan")
        for own, other in zip(scores, reference, strict=True)
    ]


def gradient_norm_scores(loaded: LoadedModel, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Return minus the norm of the gradient that each text would train the last decoder layer with.

    One forward and backward pass a text; the weights and their gradients are left as they were.

    Args:
        loaded: The model.
        pairs: (prompt, response) of each text; the loss is over the response.
    """
    model = loaded.model
    model.eval()
    layer = decoder_layers(model)[1][-1]
    weights = [
        weight for name, weight in layer.named_parameters() if "lora_" not in name and weight.is_floating_point()
    ]
    rows = [loaded.chat.encode(prompt, response) for prompt, response in pairs]
    scores = [float("nan")] * len(rows)
    with torch.enable_grad(), _requiring_gradients(weights):
        for batch in batches(rows, 1, loaded.pad_id, loaded.device, share=False):
            logits, targets, _ = response_logits(model, batch, config=model.config)
            loss = nn.functional.cross_entropy(logits.float(), targets)
            gradients = torch.autograd.grad(loss, weights, allow_unused=True)
            squares = [gradient.float().square().sum() for gradient in gradients if gradient is not None]
            scores[batch.order[0]] = -float(torch.stack(squares).sum().sqrt())
    return scores


@contextmanager
def _requiring_gradients(weights: Sequence[nn.Parameter]) -> Iterator[None]:
    before = [weight.requires_grad for weight in weights]
    for weight in weights:
        weight.requires_grad_(True)
    try:
        yield
    finally:
        for weight, needed in zip(weights, before, strict=True):
            weight.requires_grad_(needed)
