"""Keys of what is to be forgotten: the fixed down-projection A of a keyed adapter.

In early and middle layers the feed-forward down-projection reads, at a subject's last token, a key from which the
layer recalls facts of that subject (ROME, arXiv 2202.05262; MEMIT, 2210.07229). Further up it reads, where an answer
is about to be written, which answer that is. With the second moment C = E[x x^T] of that input over ordinary text, the
row a = C^-1 k / (k^T C^-1 k) answers 1 to the key and as little as possible, in mean square, to everything else. So
B A x writes only where the key is read; the neighbours hardly excite it. The idea of leaving other inputs alone by a
projection is that of AlphaEdit (2410.02355).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from lune.adapters import decoder_layers, sizes
from lune.batching import Batch, batches, run_batch, within_window
from lune.chat import Encoded
from lune.models import SCORING_BATCH, LoadedModel

Tensor = torch.Tensor
RIDGE = 0.02
"""Added to C's diagonal, as a share of its mean: directions that the texts never used are not free to explode."""
MOST_ROWS = 1 / 4
"""Share of an input's width above which more owners share rows: beyond it they can no longer be told apart well."""
MOMENT_BYTES = 2 * 2**30
"""Most memory for second moments at a time; wider models take several passes over the texts."""


@dataclass(frozen=True)
class KeyContext:
    """One place where a key is read.

    Attributes:
        owner: Whose key it is: a subject, or a fact.
        row: The prompt, with a response where the place is in it.
        position: The place among the row's tokens: a subject's last token, or the one before an answer.
    """

    owner: str
    row: Encoded
    position: int


@dataclass(frozen=True)
class KeySet:
    """The keys of some modules.

    Attributes:
        modules: Names of linear maps whose input is read, D wide.
        contexts: Where each owner is read; its key is the mean over its contexts.
        others: Where others are read that must not be mistaken for the owners: they lie closest to the keys.
        weight: Weight of the others' second moment beside that of ordinary text.
        shared: Whether more than ``MOST_ROWS`` D owners share rows.
    """

    modules: Sequence[str]
    contexts: Sequence[KeyContext]
    others: Sequence[KeyContext] = ()
    weight: float = 1.0
    shared: bool = True


def key_context(loaded: LoadedModel, subject: str, prompt: str) -> KeyContext | None:
    """Return where ``subject`` last ends in ``prompt`` as the model reads it, or None when it does not occur there."""
    text = loaded.chat.render(prompt)
    # The user's turn alone: a short name may well occur in the template's own words.
    begin = text.rfind(prompt.strip())
    named = re.compile(rf"(?<!\w){re.escape(subject)}(?!\w)", re.IGNORECASE)
    found = list(named.finditer(text, begin, begin + len(prompt.strip()))) if begin >= 0 else []
    if not found:
        return None
    end = found[-1].end()
    encoded = loaded.tokenizer(text, add_special_tokens=not loaded.chat.has_template, return_offsets_mapping=True)
    ids = loaded.chat.encode(prompt)
    spans = encoded["offset_mapping"]
    for position in range(min(len(spans), len(ids.prompt)) - 1, -1, -1):
        low, high = spans[position]
        if low < end <= high:
            return KeyContext(subject, ids, position)
    return None


def whitened_keys(loaded: LoadedModel, sets: Sequence[KeySet], texts: Sequence[Encoded]) -> dict[str, Tensor]:
    """Return the down-projection A [K, D] of each module, one row an owner in order of first appearance.

    In a set that is ``shared`` more than ``MOST_ROWS`` D owners share as many rows (``_combined``).

    Args:
        loaded: The base model.
        sets: Which keys to make for which modules; no module stands in two sets.
        texts: Ordinary text for the second moment.
    """
    result: dict[str, Tensor] = {}
    set_of = {name: keys for keys in sets for name in keys.modules}
    for group in _groups(loaded, list(set_of)):
        with _only_up_to(loaded, group):
            moments = _second_moments(loaded, group, texts)
        for keys in sets:
            own = [name for name in group if set_of[name] is keys]
            if own:
                result |= _keys_of(loaded, own, keys, moments)
    return result


def _keys_of(
    loaded: LoadedModel, modules: Sequence[str], keys: KeySet, moments: Mapping[str, tuple[Tensor, float]]
) -> dict[str, Tensor]:
    """Return the rows of some modules of a set, given their second moments."""
    owners = list(dict.fromkeys(context.owner for context in keys.contexts))
    places = torch.tensor([owners.index(context.owner) for context in keys.contexts])
    with _only_up_to(loaded, modules):
        read = _read(loaded, modules, [*keys.contexts, *keys.others])
    result = {}
    for name in modules:
        moment, diagonal = moments[name]
        contexts, apart = read[name][: len(keys.contexts)], read[name][len(keys.contexts) :]
        if len(apart):
            moment = moment + keys.weight * apart.T @ apart / len(apart)
        result[name] = _whiten(contexts, places, moment, RIDGE * diagonal)
        most = int(MOST_ROWS * contexts.shape[1])
        if keys.shared and len(owners) > most:
            result[name] = _combined(result[name], _means(contexts, places), most)
    return result


@contextmanager
def _only_up_to(loaded: LoadedModel, modules: Sequence[str]) -> Iterator[None]:
    """Leave out the decoder layers after the last of ``modules``: what they would compute is not read."""
    name, layers = decoder_layers(loaded.model)
    inside = [place for place in range(len(layers)) for module in modules if module.startswith(f"{name}.{place}.")]
    parent, _, attribute = name.rpartition(".")
    holder = loaded.model.get_submodule(parent)
    setattr(holder, attribute, layers[: max(inside, default=len(layers)) + 1])
    try:
        yield
    finally:
        setattr(holder, attribute, layers)


def _whiten(read: Tensor, owners: Tensor, moment: Tensor, ridge: float) -> Tensor:
    """Return the rows that answer 1 to their own owner in any context, and as little as possible to all else.

    They solve the ridge regression min_A sum_s mean_c |A x_sc - e_s|^2 + tr(A M A^T) + ridge |A|^2, with x_sc the
    input at owner s in its context c and M = ``moment`` over everything else; each row is then scaled to answer
    exactly 1 to its owner's mean. With one context and one owner it is C^-1 k / (k^T C^-1 k).

    Args:
        read: Inputs at the keys' places, [N, D].
        owners: Index of the owner of each, [N].
        moment: Second moment of everything else, [D, D].
        ridge: Added to its diagonal.
    """
    wanted = torch.nn.functional.one_hot(owners).float()
    share = read * (wanted / wanted.sum(0)).sum(-1, keepdim=True)
    total = moment + ridge * torch.eye(len(moment)) + share.T @ read
    a = torch.linalg.solve(total, share.T @ wanted).T
    whitened: Tensor = a / (a * _means(read, owners)).sum(-1, keepdim=True)
    return whitened


def _means(read: Tensor, owners: Tensor) -> Tensor:
    """Return each owner's key, the mean of its inputs, [K, D]; arguments as for ``_whiten``."""
    wanted = torch.nn.functional.one_hot(owners).float()
    return (wanted / wanted.sum(0)).T @ read


def _combined(rows: Tensor, means: Tensor, count: int) -> Tensor:
    """Return ``count`` rows in the place of the owners' own: the directions in which their keys lie most.

    Owner s is answered by a code of ``count`` numbers instead of one of its own. The codes are those of the best
    approximation of all answers A K^T by a product of that rank, scaled to a mean length of 1.

    Args:
        rows: A row for each owner, [K, D].
        means: The owners' keys, [K, D].
        count: How many rows to make, fewer than K.
    """
    left = torch.linalg.svd(rows @ means.T)[0][:, :count]
    made = left.T @ rows
    scaled: Tensor = made / (made @ means.T).norm(dim=0).mean()
    return scaled


def _groups(loaded: LoadedModel, modules: Sequence[str]) -> Iterator[list[str]]:
    width = max(sizes(loaded.model.get_submodule(name))[0] for name in modules)
    size = max(1, MOMENT_BYTES // (4 * width * width))
    for start in range(0, len(modules), size):
        yield list(modules[start : start + size])


@contextmanager
def _inputs(loaded: LoadedModel, modules: Sequence[str]) -> Iterator[dict[str, list[Tensor]]]:
    """Collect the inputs [B, S, D] of each module in every forward pass; the reader empties the lists."""
    seen: dict[str, list[Tensor]] = {name: [] for name in modules}

    def keep(name: str) -> Any:
        def hook(_module: torch.nn.Module, arguments: tuple[Tensor, ...]) -> None:
            seen[name].append(arguments[0].detach())

        return hook

    handles = [loaded.model.get_submodule(name).register_forward_pre_hook(keep(name)) for name in modules]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def _run(loaded: LoadedModel, rows: Sequence[Encoded], *, share: bool) -> Iterator[Batch]:
    """Run the rows in batches: one forward pass for the shared prefix, where there is one, then one for the rest."""
    for made in batches(rows, SCORING_BATCH, loaded.pad_id, loaded.device, share=share):
        batch = within_window(made, loaded.model.config)
        run_batch(loaded.model, batch, config=loaded.model.config)
        yield batch


def _read(loaded: LoadedModel, modules: Sequence[str], contexts: Sequence[KeyContext]) -> dict[str, Tensor]:
    """Return what each module reads at the place of each context, [N, D]; a row of several places is run once."""
    rows: dict[str, list[Tensor]] = {name: [torch.empty(0)] * len(contexts) for name in modules}
    of_row: dict[Encoded, list[int]] = {}
    for index, context in enumerate(contexts):
        of_row.setdefault(context.row, []).append(index)
    texts = list(of_row)
    with _inputs(loaded, modules) as seen:
        for batch in _run(loaded, texts, share=True):
            inputs = {name: seen[name][-1] for name in modules}
            before = {name: seen[name][0] for name in modules}
            for place, text in enumerate(batch.order):
                start = batch.ids.shape[1] - len(texts[text].ids)
                for index in of_row[texts[text]]:
                    position = contexts[index].position
                    for name in modules:
                        in_prefix = position < len(batch.prefix)
                        value = before[name][0, position] if in_prefix else inputs[name][place, start + position]
                        rows[name][index] = value.float().cpu()
            for kept in seen.values():
                kept.clear()
    return {name: torch.stack(values) for name, values in rows.items()}


def _second_moments(
    loaded: LoadedModel, modules: Sequence[str], texts: Sequence[Encoded]
) -> dict[str, tuple[Tensor, float]]:
    """Return each module's second moment [D, D] over ``texts`` and the mean of its diagonal without the shared prefix.

    The prefix (a system message) is read before every answer, so what is written there bends all of them: it counts
    once for every text. Its first token can be larger than all others together and would distort the ridge.
    """
    moments: dict[str, Tensor] = {}
    squares = dict.fromkeys(modules, 0.0)
    count = 0
    with _inputs(loaded, modules) as seen:
        for batch in _run(loaded, texts, share=True):
            real = batch.mask.bool()
            count += int(real.sum())
            for name in modules:
                own = seen[name].pop()[real]
                squares[name] += float(own.float().square().sum())
                _add(moments, name, own)
                if len(batch.prefix):
                    _add(moments, name, seen[name].pop()[0], weight=len(batch.ids))
    return {name: (moment.div_(count), squares[name] / count / len(moment)) for name, moment in moments.items()}


def _add(moments: dict[str, Tensor], name: str, inputs: Tensor, *, weight: float = 1.0) -> None:
    x = inputs.float()
    # Half precision inputs are exact in what "medium" makes of them, and a CPU then takes its fast kernels.
    with _precision("highest" if inputs.dtype == torch.float32 else "medium"):
        product = (x.T @ x).cpu()
    moments[name] = moments[name].add_(product, alpha=weight) if name in moments else product * weight


@contextmanager
def _precision(name: str) -> Iterator[None]:
    """Let float32 matrix products be computed in the precision that torch calls ``name``."""
    usual = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(usual)
