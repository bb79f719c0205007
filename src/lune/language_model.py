"""What the stages need of a language model: the one interface between them and torch.

``lune.models.LoadedModel`` implements it for transformers models; proposing negatives, making probes
and evaluating use nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

MAX_NEW_TOKENS = 20
"""Length of an answer: all that is scored stands in the first line, and a short answer in its first words."""
PROBE_TOKENS = 32
"""Length of an answer to a probe: a leak may come late, after an evasive opening, and so may what is kept."""


@dataclass(frozen=True)
class TokenScores:
    """Likelihood facts of one text, from one forward pass; all lists have one entry a scored token.

    Attributes:
        log_probs: Natural log-probability of each token given those before it.
        means: Expected log-probability under the model's own distribution (min-k++, mu).
        deviations: Standard deviation of the same (min-k++, sigma).
        correct: Whether each token is the likeliest one there, given the true tokens before it.
    """

    log_probs: tuple[float, ...]
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    correct: tuple[bool, ...] = ()

    def without_end(self) -> TokenScores:
        """Return the scores without the last token's: the end of turn, which says nothing about what was answered."""
        return TokenScores(self.log_probs[:-1], self.means[:-1], self.deviations[:-1], self.correct[:-1])

    @property
    def mean_log_prob(self) -> float:
        """Mean log-probability a token, in nats."""
        return sum(self.log_probs) / len(self.log_probs)


class LanguageModel(Protocol):
    """A causal language model seen through prompts and answers as a user types and reads them."""

    def answer(
        self, prompts: Sequence[str], *, max_new_tokens: int = MAX_NEW_TOKENS, system: str | None = None
    ) -> list[str]:
        """Return the greedy answer to each prompt, stopped at the end of turn or a newline.

        Args:
            prompts: What the user types; the chat template (or question/answer form) is put around.
            max_new_tokens: Most tokens generated.
            system: A system message instead of the template's own.
        """
        ...

    def sample(
        self,
        prompts: Sequence[str],
        *,
        count: int,
        seed: int,
        temperature: float = 1.0,
        max_new_tokens: int = MAX_NEW_TOKENS,
        system: str | None = None,
        banned: Sequence[str] = (),
    ) -> list[list[str]]:
        """Return ``count`` sampled answers to each prompt; the first tokens of ``banned`` texts never occur."""
        ...

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[TokenScores]:
        """Return the token scores of each (prompt, response), over the response's tokens only.

        With an empty prompt the response is raw text, without a template; its first token has none before it and is
        not scored where the tokenizer puts no token of its own at the start.
        """
        ...
