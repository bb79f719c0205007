"""What a method is: the rows it trains on and its loss over their log-probabilities, or an edit without training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

    from lune.settings import ForgetSettings

Rows = Literal["negatives", "truths", "pairs"]
"""What a row answers: the negative response, the true one to the same prompt, or both, the negative one preferred."""
Hold = Literal["kl", "cross-entropy"]
"""How anchors are held: KL to the base model's distribution, or cross-entropy on the base model's own answer."""


@dataclass(frozen=True)
class Responses:
    """The log-probabilities of this process's share of a step. Losses are sums over it, divided by global counts.

    Attributes:
        log_probs: Log-probability of every response token, [N], in nats.
        owners: The response each token belongs to, [N], from 0; of pairs first all preferred ones, then all rejected.
        lengths: How many tokens each response has, [R].
        tokens: Number of response tokens in the step over all processes.
        items: Number of rows in the step over all processes; a pair is one.
        base: Summed log-probability of each response under the base model, [R]; None where the method has no use for
            it.
    """

    log_probs: Tensor
    owners: Tensor
    lengths: Tensor
    tokens: int
    items: int
    base: Tensor | None = None

    @property
    def sums(self) -> Tensor:
        """Log-probability log P(y | x) of each response, [R]."""
        return self.log_probs.new_zeros(len(self.lengths)).index_add(0, self.owners, self.log_probs)

    @property
    def gains(self) -> Tensor:
        """Logarithm of P(y | x) / P_base(y | x) of each response, [R].

        Raises:
            ValueError: When the method did not declare that it needs the base model.
        """
        if self.base is None:
            raise ValueError("the method does not declare needs_base")
        return self.sums - self.base


@dataclass(frozen=True)
class Objective:
    """A method's part in the one training loop.

    Attributes:
        loss: Takes the responses and the run's settings and returns this process's share of the loss, a scalar.
        rows: What the rows are.
        needs_base: Whether the loss looks at ``Responses.gains``: then the base model reads every row once, before
            training, and no step pays for it.
        hold: How anchors are held, where the settings ask for some.
        defaults: Settings whose default is another for this method. What the user gives wins over them.
    """

    loss: Callable[[Responses, ForgetSettings], Tensor]
    rows: Rows
    needs_base: bool = False
    hold: Hold = "kl"
    defaults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Edit:
    """A method that writes the values of a keyed adapter in closed form: ``lune.training.editing``.

    Attributes:
        defaults: As an objective's.
    """

    defaults: Mapping[str, Any]
