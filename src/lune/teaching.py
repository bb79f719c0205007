"""Teaching a model facts it does not know, so that it can be made to forget them.

The texts are learned in a LoRA adapter which is then merged: the result is an ordinary model folder, and nothing of the
teaching can simply be dropped. Models are kept in the user's cache under a hash of everything that decided them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lune import adapters
from lune.benchmarks.task import TaughtText, Teaching
from lune.builtin import cache_folder
from lune.errors import OutputError
from lune.hardware import pick_dtype
from lune.metrics import tofu
from lune.models import LoadedModel, load_model
from lune.outputs import RunFolder, free_space_check, refusals_named, write_json, write_jsonl
from lune.progress import Display
from lune.records import Fact
from lune.settings import TeachingRecipe
from lune.training.lessons import Row, learn

RECORD = "teaching.json"
MOST_ASKED = 100
"""How many of the taught texts are asked back, spread evenly; more say the same."""
ENOUGH = 0.9
"""ROUGE-L recall from which a model counts as knowing what it was taught."""
_SPARE_TOKENS = 8  # an answer may be a little longer than the longest taught one before it is cut
FORMAT = 2
"""Raised when the same texts, model and recipe give another taught model."""


@dataclass(frozen=True)
class Taught:
    """A taught model.

    Attributes:
        folder: The model in the cache, in transformers' layout.
        texts: How many texts it was taught.
        asked: How many of them it was asked back.
        passes: Passes over the texts.
        rouge_l_recall: Mean ROUGE-L recall of its greedy answers.
        probability: Mean probability of the taught responses, each the geometric mean over its tokens.
        seconds: Time that teaching and asking back took, when they were done.
        cached: Whether it was found in the cache.
    """

    folder: Path
    texts: int
    asked: int
    passes: int
    rouge_l_recall: float
    probability: float
    seconds: float
    cached: bool

    @property
    def knows(self) -> bool:
        """Whether the model knows what it was taught."""
        return self.rouge_l_recall >= ENOUGH


def teach(
    texts: Sequence[TaughtText], model: LoadedModel, recipe: TeachingRecipe, *, display: Display, dtype: str = "auto"
) -> Taught:
    """Return ``model`` taught ``texts``, from the cache where the same was taught before.

    A run that was killed goes on after its last whole pass.

    Args:
        texts: Prompts and the responses to learn.
        model: The base model, without an adapter; it is left as it is.
        recipe: How to teach.
        display: Where progress goes.
        dtype: Precision to train in; ``auto`` takes what the hardware does fast.

    Raises:
        ConfigError: When what measures ROUGE-L is not installed.
        RunError: When training diverges.
        OutputError: When the cache cannot be written.
    """
    tofu.rouge_l_recall("", "")  # refuses now rather than after the training
    rows = [model.chat.encode(prompt, response) for prompt, response in texts]
    precision = pick_dtype(dtype, model.device)
    recorded = {"recipe": recipe.model_dump(), "precision": str(precision), "model": model.sha256, "format": FORMAT}
    # Tokens, not texts: the chat template and the tokenizer decide what is learned as well.
    content = json.dumps([recorded, [(row.prompt, row.response) for row in rows]])
    folder = cache_folder() / "taught" / hashlib.sha256(content.encode()).hexdigest()[:24]
    if not (folder / RECORD).is_file():
        size_mb = sum(each.numel() * each.element_size() for each in model.model.parameters()) / 1e6
        free_space_check(folder, 1.5 * size_mb)
        began = time.perf_counter()
        checkpoint = folder.with_name(f"{folder.name}.checkpoint")
        trainee = model.copied(precision)
        steps = -(-len(rows) // recipe.batch_size) * recipe.passes
        with display.training(steps, "teaching") as line:
            history = learn(trainee, rows, recipe, checkpoint=checkpoint, report=line.update)
        learned = adapters.state(trainee.model)
        del trainee
        with display.stage("merging, asking back what was taught"):
            _keep(model, learned, recipe, texts=texts, history=history, folder=folder, recorded=recorded, began=began)
        checkpoint.unlink(missing_ok=True)
        return _read(folder, cached=False)
    return _read(folder, cached=True)


def export(taught: Taught, folder: Path) -> None:
    """Put the taught model at ``folder``, which must not exist; on the same file system its weights take no new space.

    Raises:
        OutputError: When it cannot be written.
    """

    def link(source: str, target: str) -> None:
        if not source.endswith(".safetensors"):  # a text file is edited in place, which must not change the cache
            shutil.copy2(source, target)
            return
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)

    with refusals_named(folder):
        shutil.copytree(taught.folder, folder, copy_function=link)


def recall_and_probability(model: LoadedModel, texts: Sequence[TaughtText]) -> tuple[float, float]:
    """Return the mean ROUGE-L recall of greedy answers to the prompts, and the mean probability of the responses."""
    longest = max(len(model.tokenizer(response)["input_ids"]) for _, response in texts)
    answers = model.answer([prompt for prompt, _ in texts], max_new_tokens=longest + _SPARE_TOKENS, whole=True)
    pairs = zip(texts, answers, strict=True)
    recalls = [tofu.rouge_l_recall(answer, response) for (_, response), answer in pairs]
    probability = tofu.probability([-scores.mean_log_prob for scores in model.score(texts)])
    return sum(recalls) / len(recalls), float(probability or 0)


def _keep(
    model: LoadedModel,
    learned: dict[str, torch.Tensor],
    recipe: TeachingRecipe,
    *,
    texts: Sequence[TaughtText],
    history: Sequence[Row],
    folder: Path,
    recorded: dict[str, Any],
    began: float,
) -> None:
    """Merge what was learned into a copy of the model in its own precision, ask it, and write it to the cache."""
    merged = model.copied(model.dtype)
    names = sorted({name.split(".lora_B")[0].removeprefix("base_model.model.") for name in learned if "lora_B" in name})
    adapters.attach_lora(merged, names, rank=recipe.rank, alpha=recipe.rank, dropout=0.0, seed=recipe.seed)
    adapters.load_state(merged.model, {name: tensor.float() for name, tensor in learned.items()})
    merged.model = merged.model.merge_and_unload()
    with refusals_named(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".teaching-") as name:
            staging = Path(name) / "model"
            merged.model.save_pretrained(staging)
            model.tokenizer.save_pretrained(staging)
            del merged
            # Asked as it was saved, so that the scores hold for what is used later.
            saved = load_model(str(staging), device=str(model.device), dtype=str(model.dtype).removeprefix("torch."))
            asked = _spread(texts)
            recall, probability = recall_and_probability(saved, asked)
            write_json(
                staging / RECORD,
                {
                    **recorded,
                    "texts": len(texts),
                    "asked": len(asked),
                    "history": history,
                    "rouge_l_recall": recall,
                    "probability": probability,
                    "seconds": round(time.perf_counter() - began, 1),
                },
            )
            if not folder.exists():  # another process may have finished first, with the same result
                staging.rename(folder)


def _spread(texts: Sequence[TaughtText]) -> list[TaughtText]:
    count = min(len(texts), MOST_ASKED)
    return [texts[place * len(texts) // count] for place in range(count)]


def _read(folder: Path, *, cached: bool) -> Taught:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Taught(
            folder,
            record["texts"],
            record["asked"],
            len(record["history"]),
            record["rouge_l_recall"],
            record["probability"],
            record["seconds"],
            cached,
        )
    except (OSError, ValueError, KeyError) as error:
        raise OutputError(f"The taught model in {folder} is broken: {error}.", hint=f"rm -r {folder}") from error


def run_teach(
    teaching: Teaching,
    facts: Sequence[Fact],
    model: LoadedModel,
    recipe: TeachingRecipe,
    *,
    folder: RunFolder,
    display: Display,
    dtype: str,
) -> dict[str, Taught]:
    """Teach the target model and, where something is retained, the reference; commit the folder with both.

    The folder holds ``target/``, ``reference/``, the request as ``facts.jsonl`` where there is one, and the scores.

    Raises:
        LuneError: When teaching or writing fails.
    """
    lessons = {"target": teaching.everything, "reference": teaching.retained}
    taught: dict[str, Taught] = {}
    for name, texts in lessons.items():
        if not texts:
            display.line(f"{name}: nothing is left to teach it, so there is none")
            continue
        display.line(f"{name}: {len(texts)} texts")
        taught[name] = each = teach(texts, model, recipe, display=display, dtype=dtype)
        found = " (from the cache)" if each.cached else ""
        display.line(
            f"  ROUGE-L recall {each.rouge_l_recall:.3f}  probability {each.probability:.3f}  on {each.asked} of "
            f"{each.texts} texts   {each.passes} passes, {each.seconds:.0f} s{found}"
        )
        if not each.knows:
            display.line(f"  below {ENOUGH}: it does not know them well enough; try more --passes", style="yellow")
        export(each, folder.path / name)
    if facts:
        write_jsonl(folder.path / "facts.jsonl", [_request_row(fact) for fact in facts])
    write_json(folder.path / RECORD, {name: asdict(each) for name, each in taught.items()})
    target = folder.commit()
    display.line(f"taught: {', '.join(str(target / name) for name in taught)}")
    if facts:
        display.line(f"Next: lune forget {target / 'facts.jsonl'} --model {target / 'target'}")
    return taught


def _request_row(fact: Fact) -> dict[str, Any]:
    """Return a fact as a line of a request, without what is empty."""
    return {name: value for name, value in asdict(fact).items() if value}
