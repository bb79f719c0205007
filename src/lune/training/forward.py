"""The trainee's logits at the response tokens of a batch: as little work as the model allows, always the same result.

Rows go through the model packed (``lune.packed_rows``), from the lowest adapted layer up (``frozen_layers``), in lean
LoRA layers (``lean_lora``), and the output head sees the places that predict response tokens. Whether a model's family
allows that is not looked up but tried: on the first rows the logits are compared with those of the plain padded pass,
and one row is left out to see that the others do not notice. Where they do, or where the model refuses packed rows,
then or later, every further batch takes the plain pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from lune.adapters import decoder_layers
from lune.batching import make_batch, response_logits, shortest_window
from lune.chat import Encoded
from lune.models import LoadedModel
from lune.packed_rows import NotPackable, Packed, pack, packed_attention
from lune.training.frozen_layers import FrozenLayers
from lune.training.lean_lora import lean_lora
from lune.training.recomputing import recomputed

Tensor = torch.Tensor
TRIED = 4
"""How many rows the two ways are compared on."""
LARGEST_DIFFERENCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
"""Root mean square of the differences of logits that rounding explains, in units of the logits' standard deviation."""

Logits = tuple[Tensor, Tensor, Tensor]
"""Logits [N, V] at N response tokens in row order, their targets [N], the row of each [N]."""


class ResponseForward:
    """The forward pass of training.

    Args:
        trainee: The model with its adapter.
        frozen: How many decoder layers lie below the lowest adapted one.
        budget_mb: How much of what these layers give is kept in memory, in units of 10^6 bytes.
        recompute: Whether the other layers run again on the way back instead of remembering what they computed;
            packed rows alone.

    Attributes:
        frozen: The frozen layers and what is kept of them.
        plain_because: Why batches take the plain pass, in words; empty where they do not.
    """

    def __init__(
        self, trainee: LoadedModel, frozen: int = 0, budget_mb: float = 0.0, *, recompute: bool = False
    ) -> None:
        self._trainee = trainee
        self._recompute = recompute
        self.frozen = FrozenLayers(trainee, frozen, budget_mb)
        self.plain_because = ""
        self._tried = False

    def __call__(self, rows: Sequence[Encoded]) -> Logits:
        """Return the logits at the response tokens of ``rows``, with gradients to what is trained."""
        if not self._tried:
            tried = list({row.ids: row for row in rows}.values())[:TRIED]
            if len(tried) > 1:  # one row shows nothing of how rows are kept apart
                self._tried = True
                self.plain_because = self._try(tried)
        with lean_lora(self._trainee.model):
            if self._tried and not self.plain_because:
                try:
                    return self._packed(rows)
                except NotPackable as error:  # a longer text than those tried
                    self.plain_because = str(error)
            return self._plain(rows)

    def close(self) -> float:
        """Let go of all that is kept of the frozen layers; return how much that was, in units of 10^6 bytes."""
        kept_mb = self.frozen.in_memory_mb + self.frozen.on_disk_mb if self.frozen.count else 0.0
        self.frozen.close()
        return kept_mb

    def _packed(self, rows: Sequence[Encoded]) -> Logits:
        packed = pack(rows, self._trainee.device)
        model = self._trainee.model
        if shortest_window(model.config) < packed.shared + max(packed.lengths):
            raise NotPackable("its attention looks at a window shorter than the texts")
        with self.frozen.skipped(rows, packed), packed_attention(model, packed), self._recomputed(packed):
            output = model(
                input_ids=packed.ids,
                position_ids=packed.positions,
                use_cache=False,
                logits_to_keep=packed.predicting,
            )
        return output.logits[0], packed.targets, packed.owners

    @contextmanager
    def _recomputed(self, packed: Packed) -> Iterator[None]:
        """Let the layers that are not frozen run again on the way back, inside the block, where that is asked for."""
        model = self._trainee.model

        @contextmanager
        def inside() -> Iterator[None]:
            with lean_lora(model), packed_attention(model, packed):
                yield

        layers = list(decoder_layers(model)[1])[self.frozen.count :]
        with recomputed(layers if self._recompute else [], inside):
            yield

    def _plain(self, rows: Sequence[Encoded]) -> Logits:
        batch = make_batch(rows, list(range(len(rows))), self._trainee.pad_id, self._trainee.device)
        return response_logits(self._trainee.model, batch, config=self._trainee.model.config)

    def _try(self, rows: Sequence[Encoded]) -> str:
        """Return why packed rows do not give what padded ones give; without the frozen layers' states if need be."""
        found = self._compare(rows)
        if found and self.frozen.count:
            self.frozen.count = 0  # a family whose layers hand on more than hidden states
            found = self._compare(rows)
        return found

    @torch.no_grad()
    def _compare(self, rows: Sequence[Encoded]) -> str:
        """Return how packed rows differ from padded ones, or from themselves without the first of them."""
        network = self._trainee.model
        training = [module for module in network.modules() if module.training]
        network.eval()  # dropout would tell the two apart
        try:
            expected = self._plain(rows)[0].float()
            found = self._packed(rows)[0].float()
            behind = self._packed(rows[1:])[0].float()
        except NotPackable as error:
            return str(error)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, ValueError, TypeError, AttributeError, LookupError) as error:
            told = next(iter(str(error).splitlines()), "")
            return f"the model refuses packed rows ({type(error).__name__}: {told})"
        finally:
            for module in training:
                module.training = True
        if found.shape != expected.shape:
            return "its output head does not take single places"
        largest = LARGEST_DIFFERENCE.get(self._trainee.dtype, 1e-3)
        for other, wanted in ((found, expected), (behind, found[len(rows[0].response) :])):
            difference = (other - wanted).square().mean().sqrt() / expected.std().clamp(min=1e-6)
            if not difference <= largest:
                return f"packed rows gave other logits (they differ by {difference:.2g} standard deviations)"
        return ""
