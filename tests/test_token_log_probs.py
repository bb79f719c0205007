"""The short way to a few log-probabilities gives what a log-softmax gives, and its gradient."""

from __future__ import annotations

import torch

from lune.training.token_log_probs import token_log_probs


def test_values_and_gradients_are_those_of_a_log_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (3 * torch.randn(4, 11, generator=generator)).requires_grad_()
    ids = torch.tensor([[0, 1, 1], [5, 5, 5], [10, 2, 0], [7, 8, 9]])  # the same token may be asked for twice
    weights = torch.randn(4, 3, generator=generator)
    per_row = torch.randn(4, generator=generator)

    found, normaliser = token_log_probs(logits, ids)
    ((found * weights).sum() + (normaliser * per_row).sum()).backward()  # type: ignore[no-untyped-call]
    ours, logits.grad = logits.grad, None

    log_p = logits.log_softmax(-1).gather(-1, ids)
    ((log_p * weights).sum() + (logits.logsumexp(-1) * per_row).sum()).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(found, log_p)
    torch.testing.assert_close(ours, logits.grad)


def test_the_gradient_comes_in_the_precision_of_the_logits() -> None:
    logits = torch.randn(2, 5).bfloat16().requires_grad_()
    found, _ = token_log_probs(logits, torch.tensor([[1], [2]]))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert found.dtype == torch.float32
    assert logits.grad is not None and logits.grad.dtype == torch.bfloat16
