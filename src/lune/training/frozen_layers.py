"""The frozen first layers, run once a text: what enters the lowest adapted layer never changes while training.

Below the lowest adapter nothing is trained, so the hidden states that enter its layer are the same in every pass. They
are computed once for each distinct text, without gradients, and put in the place of those layers' output afterwards.
States are kept in memory up to a budget and in a memory-mapped file beyond it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lune.adapters import decoder_layers
from lune.chat import Encoded
from lune.models import SCORING_BATCH, LoadedModel
from lune.outputs import refusals_named
from lune.packed_rows import Packed, pack, packed_attention

Tensor = torch.Tensor
Text = tuple[int, ...]
_MEGABYTE = 10**6


class FrozenLayers:
    """The first ``count`` decoder layers of a model, run once a text.

    Args:
        loaded: The model; nothing below decoder layer ``count`` may be trained or changed any more.
        count: How many layers are frozen; 0 makes every call do nothing.
        budget_mb: How many units of 10^6 bytes of states are kept in memory; the others are kept in a file.

    Attributes:
        count: How many layers are frozen.
        in_memory_mb: Size of what is kept in memory, in units of 10^6 bytes.
        on_disk_mb: Size of what is kept in files.
    """

    def __init__(self, loaded: LoadedModel, count: int, budget_mb: float) -> None:
        self.count = count
        self.in_memory_mb = 0.0
        self.on_disk_mb = 0.0
        self._loaded = loaded
        self._layers = decoder_layers(loaded.model)[1]
        self._budget_mb = budget_mb
        self._states: dict[Text, Tensor] = {}

    @property
    def texts(self) -> int:
        """How many texts are kept."""
        return len(self._states)

    def close(self) -> None:
        """Let go of everything that is kept."""
        self._states.clear()

    @contextmanager
    def skipped(self, rows: Sequence[Encoded], packed: Packed) -> Iterator[None]:
        """Let the frozen layers hand on what is kept of ``rows`` instead of running, inside the block."""
        if not self.count:
            yield
            return
        self.keep(rows)
        kept = [self._states[row.ids].to(self._loaded.device) for row in rows]
        states = torch.cat([kept[0][: packed.shared], *(each[packed.shared :] for each in kept)])[None]
        replaced = list(self._layers[: self.count])
        before = [layer.__dict__.get("forward") for layer in replaced]
        try:
            for layer in replaced:
                layer.forward = partial(_hand_on, states)
            yield
        finally:
            for layer, own in zip(replaced, before, strict=True):
                layer.__dict__.pop("forward", None)
                if own is not None:
                    layer.forward = own

    @torch.no_grad()
    def keep(self, rows: Sequence[Encoded]) -> None:
        """Run the frozen layers on those of ``rows`` that are not kept yet."""
        texts = {row.ids: row for row in rows if row.ids not in self._states}
        new = sorted(texts.values(), key=lambda row: len(row.ids))
        if not self.count or not new:
            return
        width = int(self._loaded.model.config.get_text_config().hidden_size)
        room = self._room(sum(len(row.ids) for row in new), width)
        start = 0
        for first in range(0, len(new), SCORING_BATCH):
            group = new[first : first + SCORING_BATCH]
            packed = pack(group, self._loaded.device)
            states = self._run(packed)
            prefix, *tails = torch.split(states, [packed.shared, *packed.lengths])
            for row, tail in zip(group, tails, strict=True):
                place = room[start : start + len(row.ids)]
                place.copy_(torch.cat([prefix, tail]))
                self._states[row.ids] = place
                start += len(row.ids)

    def _run(self, packed: Packed) -> Tensor:
        """Return the states [N, D] that enter the first layer above the frozen ones."""
        found: list[Tensor] = []

        def stop(_layer: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            found.append(arguments[0] if arguments else named["hidden_states"])
            raise _Reached

        handle = self._layers[self.count].register_forward_pre_hook(stop, with_kwargs=True)
        model = self._loaded.model
        try:
            with packed_attention(model, packed):
                model(input_ids=packed.ids, position_ids=packed.positions, use_cache=False)
        except _Reached:
            pass
        finally:
            handle.remove()
        return found[0][0]

    def _room(self, tokens: int, width: int) -> Tensor:
        """Return an empty tensor [tokens, width] in memory, or in a file where the budget is spent."""
        dtype = self._loaded.dtype
        size_mb = tokens * width * dtype.itemsize / _MEGABYTE
        if self.in_memory_mb + size_mb <= self._budget_mb:
            self.in_memory_mb += size_mb
            return torch.empty(tokens, width, dtype=dtype, device=self._loaded.device)
        self.on_disk_mb += size_mb
        return _mapped(tokens * width, dtype).view(tokens, width)


def _mapped(size: int, dtype: torch.dtype) -> Tensor:
    """Return an empty tensor in a file that has no name any more: nothing of it is left behind, however the run ends.

    Raises:
        OutputError: When the disk has no room for it.
    """
    with tempfile.NamedTemporaryFile(prefix="lune-states-") as file:
        with refusals_named(Path(file.name)):
            if hasattr(os, "posix_fallocate"):  # a file with holes would end the process once the disk is full
                os.posix_fallocate(file.fileno(), 0, size * dtype.itemsize)
        return torch.from_file(file.name, shared=True, size=size, dtype=dtype)


class _Reached(Exception):
    """The first layer above the frozen ones was reached."""


def _hand_on(states: Tensor, *_arguments: Any, **_named: Any) -> Tensor:
    return states
