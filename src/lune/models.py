"""Loading a causal language model: hub id, local folder, or the built-in one."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import model_info, try_to_load_from_cache
from huggingface_hub.errors import RepositoryNotFoundError
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import (
    CONFIG_NAME,
    SAFE_WEIGHTS_INDEX_NAME,
    SAFE_WEIGHTS_NAME,
    WEIGHTS_INDEX_NAME,
    WEIGHTS_NAME,
)
from transformers.utils import logging as transformers_logging

from lune.builtin import GGUF_SHA256, UPSTREAM_ID, built_in_folder
from lune.chat import ChatFormat, Conversation, Encoded
from lune.errors import ModelError, did_you_mean
from lune.generation import Chooser, decode
from lune.hardware import keep_freed_memory, pick_device, pick_dtype, pick_evaluation_dtype
from lune.language_model import MAX_NEW_TOKENS, TokenScores
from lune.packing import pack_linears, unpack_linears
from lune.scoring import next_log_probs, score
from lune.settings import BUILT_IN_MODEL

GENERATION_BATCH = 64
SCORING_BATCH = 32
HUB_TIMEOUT = 10.0
"""Seconds the hub has to say whether it has a model."""
_MODELS = f"give a hub id, a local folder with config.json and weights, or '{BUILT_IN_MODEL}' (built in)"
_HUB_ID = re.compile(r"\w[\w.-]*(/[\w.-]+)?")


@dataclass
class LoadedModel:
    """A transformers model with its tokenizer; implements ``lune.language_model.LanguageModel``.

    Attributes:
        model: The network, in evaluation mode, frozen until an adapter is attached. It may be a PEFT wrapper.
        tokenizer: Its tokenizer.
        id: What the user asked for.
        source: The folder or hub id the weights were read from.
        revision: The hub commit, when there is one.
        sha256: Hash over the weights.
        opening: Literal text with which responses begin; see ``ChatFormat``.
        raw: Whether texts are taken as they stand; see ``ChatFormat``. ``dataclasses.replace`` gives such a view.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    id: str
    source: str
    revision: str | None
    sha256: str
    opening: str | None = None
    raw: bool = False

    @cached_property
    def chat(self) -> ChatFormat:
        """How prompts are rendered for this model."""
        configuration = getattr(self.model, "generation_config", None)
        named = getattr(configuration, "eos_token_id", None)  # one id, or a list as Llama 3, Gemma and Phi have
        end_ids = frozenset(named if isinstance(named, list) else [named]) - {None}
        return ChatFormat(self.tokenizer, self.opening, self.raw, end_ids)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return torch.device(self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the frozen weights."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    @property
    def pad_id(self) -> int:
        """A token id that fills the left of short rows; it is always masked."""
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id or 0)

    @property
    def published_id(self) -> str:
        """The base model's name as an adapter should record it: a hub id for the built-in model."""
        return UPSTREAM_ID if self.id == BUILT_IN_MODEL else self.id

    def answer(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = MAX_NEW_TOKENS,
        system: str | None = None,
        whole: bool = False,
    ) -> list[str]:
        """Return the greedy answer to each prompt; see the protocol. ``whole`` answers go on past a newline."""
        rows = [self.chat.encode(prompt, system=system) for prompt in prompts]
        return self.continue_rows(rows, max_new_tokens=max_new_tokens, whole=whole)

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
        """Return ``count`` sampled answers to each prompt; see the protocol."""
        first = {
            ids[0]
            for text in banned
            for spelling in (text, f" {text}")
            if (ids := self.tokenizer(spelling, add_special_tokens=False)["input_ids"])
        }
        choose = Chooser(temperature, seed, sorted(first))
        rows = [self.chat.encode(prompt, system=system) for prompt in prompts for _ in range(count)]
        flat = self.continue_rows(rows, choose=choose, max_new_tokens=max_new_tokens)
        return [flat[start : start + count] for start in range(0, len(flat), count)]

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[TokenScores]:
        """Return the token scores of each (prompt, response); see the protocol."""
        self.model.eval()
        # Without a prompt a text stands for itself.
        raw = replace(self.chat, raw=True)
        rows = [(self.chat if prompt else raw).encode(prompt, response) for prompt, response in pairs]
        return score(self.model, rows, pad_id=self.pad_id, batch_size=SCORING_BATCH)

    def next_log_probs(self, prompts: Sequence[str], options: Sequence[str]) -> list[list[float]]:
        """Return the log-probability that each prompt is followed by the last token of each option, in nats."""
        self.model.eval()
        tokens = [self.tokenizer(option, add_special_tokens=False)["input_ids"][-1] for option in options]
        rows = [self.chat.encode(prompt) for prompt in prompts]
        return next_log_probs(self.model, rows, tokens, pad_id=self.pad_id, batch_size=SCORING_BATCH)

    def training_twin(self, dtype: torch.dtype) -> LoadedModel:
        """Return this model in the precision it trains in: itself when that is its own, else a copy.

        Greedy answers of a small model in bfloat16 change with the batch they are computed in, so on a CPU
        answers are taken in float32 while training uses what the hardware does fast.
        """
        return self if dtype == self.dtype else self.copied(dtype)

    def copied(self, dtype: torch.dtype) -> LoadedModel:
        """Return a copy with weights in ``dtype`` that may be changed, fast to train where it is.

        Weights go over one by one, so that no second copy in the model's own precision is ever there. Rotary
        frequencies stay float32, as in a model that is loaded in ``dtype``: rounded they would be other positions.
        """
        others: dict[int, Any] = {
            id(weight): torch.nn.Parameter(weight.detach().to(dtype, copy=True), weight.requires_grad)
            for weight in self.model.parameters()
            if weight.is_floating_point()
        }
        for name, buffer in self.model.named_buffers():
            if buffer.is_floating_point() and not name.endswith("inv_freq"):
                others[id(buffer)] = buffer.to(dtype, copy=True)
        network = copy.deepcopy(self.model, others)
        unpack_linears(network)
        if self.device.type == "cpu":
            # Rows are short: torch's fused attention for CPUs goes back through them slower than plain products do.
            network.set_attn_implementation("eager")
        return replace(self, model=network)

    def reply(self, conversations: Sequence[Conversation], *, max_new_tokens: int = MAX_NEW_TOKENS) -> list[str]:
        """Return the greedy answer to each conversation, without the opening that was put into its mouth."""
        rows = [self.chat.encode_conversation(conversation) for conversation in conversations]
        return self.continue_rows(rows, max_new_tokens=max_new_tokens)

    def continue_rows(
        self,
        rows: Sequence[Encoded],
        *,
        choose: Chooser | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
        whole: bool = False,
    ) -> list[str]:
        """Return what the model writes after each row of tokens, greedily unless ``choose`` says otherwise."""
        self.model.eval()
        return decode(
            self.model,
            self.tokenizer,
            rows,
            stop_ids=self.chat.stop_ids,
            max_new_tokens=max_new_tokens,
            batch_size=GENERATION_BATCH,
            choose=choose or Chooser(),
            whole=whole,
        )


def load_model(model_id: str, *, device: str = "auto", dtype: str = "auto") -> LoadedModel:
    """Load a causal language model, frozen, in evaluation mode and in the precision in which answers are taken.

    Args:
        model_id: A hub id, a local folder, or the built-in model's name.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``; see ``lune.hardware`` for what auto means.

    Raises:
        ModelError: When there is no such model or it cannot be loaded as a causal language model.
    """
    # Progress belongs to the caller's one display, not to each library's own bar.
    logging: Any = transformers_logging
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    source = str(built_in_folder()) if model_id == BUILT_IN_MODEL else model_id
    _check_exists(source)
    where = pick_device(device)
    if where.type == "cpu":
        keep_freed_memory()
    # transformers' types know nothing of what output_loading_info returns.
    factory: Any = AutoModelForCausalLM
    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        precision = pick_evaluation_dtype(dtype, pick_dtype(dtype, where), where, _parameters(source))
        model, report = factory.from_pretrained(source, dtype=precision, output_loading_info=True)
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise _not_loaded(model_id, error) from error
    if missing := sorted(report["missing_keys"]):
        # transformers would leave them at random values.
        raise ModelError(
            f"The weights of '{model_id}' are not complete: {len(missing)} tensors are missing, such as {missing[0]}.",
            hint="download or save the model again",
        )
    model.requires_grad_(False)
    model.eval()
    model.to(where)
    pack_linears(model)
    if tokenizer.eos_token_id is None:
        raise ModelError(f"The tokenizer of '{model_id}' has no end-of-text token.", hint="use another model")
    folder = Path(source) if Path(source).is_dir() else _cached_snapshot(source)
    # The hub cache names the folder of a snapshot by its commit; the model itself no longer tells it.
    revision = folder.name if folder is not None and folder != Path(source) else None
    return LoadedModel(model, tokenizer, model_id, source, revision, _weights_hash(model_id, folder, model))


def _parameters(source: str) -> int:
    """Return how many weights the model has, without making them."""
    factory: Any = AutoModelForCausalLM
    with torch.device("meta"):
        empty = factory.from_config(AutoConfig.from_pretrained(source))
    return sum(parameter.numel() for parameter in empty.parameters())


def _check_exists(source: str) -> None:
    """Ask once whether there is such a model: transformers would ask for every file of it, a minute without a network.

    Raises:
        ModelError: When it is neither a folder nor in the hub's cache, and the hub does not have it or is not reached.
    """
    if Path(source).is_dir():
        return
    if not _HUB_ID.fullmatch(source):
        raise _no_such_model(source, f"There is no model folder '{source}'.")
    if isinstance(try_to_load_from_cache(source, CONFIG_NAME), str):
        return
    try:
        model_info(source, timeout=HUB_TIMEOUT)
    except RepositoryNotFoundError:
        what = f"There is no model '{source}': no local folder, nor a public repository of the hub."
    except Exception as error:  # the hub's own HTTP library is another one in each of its versions
        what = f"There is no local folder '{source}', and the hub could not be asked: {_first_line(error).rstrip('.')}."
    else:
        return
    raise _no_such_model(source, what)


def _no_such_model(model_id: str, what: str) -> ModelError:
    path = Path(model_id)
    beside = [str(each) for each in path.parent.iterdir() if each.is_dir()] if path.parent.is_dir() else []
    near = did_you_mean(model_id, [BUILT_IN_MODEL, *beside])
    return ModelError(f"{what}{near}", hint=_MODELS)


def _not_loaded(model_id: str, error: Exception) -> ModelError:
    what = f"The folder '{model_id}' does not hold a causal language model"
    if not Path(model_id).is_dir():
        what = f"The model '{model_id}' could not be loaded from the hub"
    return ModelError(f"{what}: {_first_line(error)}", hint=_MODELS)


def _first_line(error: Exception) -> str:
    """Return the first line of a message; a line that only announces a list says nothing without it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines) if lines[0].endswith(":") else lines[0]


def _weights_hash(model_id: str, folder: Path | None, model: Any) -> str:
    """Return a SHA-256 over the weights: of the files they were read from, which no precision or device changes.

    Where these cannot be found, it is that of the tensors as they were loaded.
    """
    if model_id == BUILT_IN_MODEL:
        return GGUF_SHA256
    digest = hashlib.sha256()
    if files := _weight_files(folder) if folder is not None else []:
        for path in files:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        # A tensor without axes cannot be seen as bytes before it has one.
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _cached_snapshot(hub_id: str) -> Path | None:
    """Return the hub cache's folder of the commit that was loaded, None when it is not there."""
    cached = try_to_load_from_cache(hub_id, CONFIG_NAME)
    return Path(cached).parent if isinstance(cached, str) else None


def _weight_files(folder: Path) -> list[Path]:
    """Return the weight files that transformers reads of a folder, in its order of preference."""
    for single, index in ((SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME), (WEIGHTS_NAME, WEIGHTS_INDEX_NAME)):
        if (folder / single).is_file():
            return [folder / single]
        if (folder / index).is_file():
            shards = json.loads((folder / index).read_text(encoding="utf-8"))["weight_map"].values()
            return [folder / name for name in sorted(set(shards))]
    return []
