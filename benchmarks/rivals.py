"""The arms of other projects, each trained by its own trainer, set up as its own documentation does.

- Full fine-tuning: transformers' ``Trainer``; ``TrainingArguments(bf16=True)`` for bfloat16 (mixed precision: the
  weights stay float32 beside it).
- trl: ``SFTTrainer`` with ``peft_config``, a conversational prompt-completion dataset and completion-only loss. Its
  defaults are kept, among them gradient checkpointing and bfloat16.
- peft: ``get_peft_model`` and transformers' ``Trainer``, as in peft's quicktour.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    DataCollatorForSeq2Seq,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from benchmarks.arms import speed_of_steps
from benchmarks.goal import MOST_PASSES, Forgetting, scorer
from benchmarks.material import Material, tokens
from benchmarks.measures import Clock, PeakMemory, StepTimes, take_first_steps
from benchmarks.plan import BATCH, DOCUMENTED, STEP_PASSES, WARM_UP_PASSES
from lune import adapters
from lune.chat import ChatFormat
from lune.hardware import keep_freed_memory, pick_device
from lune.models import LoadedModel, load_model
from lune.packing import pack_linears, unpack_linears
from lune.preparation import Prepared
from lune.records import Negative

RANK = 16
IGNORED = -100
"""The label that transformers' losses leave out."""


def lora_config() -> LoraConfig:
    """Return the LoRA of both rivals: trl's documented values, on every linear map but the output head."""
    return LoraConfig(
        r=RANK,
        lora_alpha=16,
        lora_dropout=0.05,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules="all-linear",
    )


def import_trainer(arm: str) -> None:
    """Import what an arm's trainer is made of: neither the time nor the memory of that is training's."""
    take_first_steps()
    if arm == "trl-peft":
        _ = (_trl().SFTConfig, _trl().SFTTrainer)  # trl imports its modules when a name is first used


def _trl() -> Any:
    """Return trl, an extra: the other arms do without it."""
    return importlib.import_module("trl")


def load_plain(source: str) -> tuple[Any, PreTrainedTokenizerBase]:
    """Return a model as transformers loads it, its weights read from the disk to the last page, and its tokenizer.

    The allocator is set as this project sets it, for every arm and figure: the judge of the time to forget does so too.
    """
    keep_freed_memory()
    factory: Any = AutoModelForCausalLM
    model = factory.from_pretrained(source)
    for parameter in model.parameters():
        # Weights are mapped from the file and come into memory when first used: they are no memory of training.
        parameter.detach().sum()
    return model, AutoTokenizer.from_pretrained(source)


class _Watcher(TrainerCallback):
    """Tells what happens in a trainer's loop."""

    def __init__(self, step_ended: Callable[[int], None], pass_ended: Callable[[Any], bool]) -> None:
        self._step_ended = step_ended
        self._pass_ended = pass_ended
        self._pass = 0

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the pass."""
        self._pass += 1

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell that a step, its optimiser included, is done."""
        self._step_ended(self._pass)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Tell that a pass is done, and end the training where that is wanted."""
        if self._pass_ended(kwargs["model"]):
            control.should_training_stop = True


def make_trainer(
    arm: str,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Negative],
    *,
    rate: float,
    passes: int,
    seed: int,
    folder: Path,
    watcher: TrainerCallback,
) -> Any:
    """Return an arm's trainer, ready for ``train()``.

    Args:
        arm: One of ``plan.RIVALS``.
        model: The network as ``load_plain`` gave it.
        tokenizer: Its tokenizer.
        rows: What it trains on.
        rate: The peak learning rate.
        passes: Over the rows.
        seed: Of the adapter, dropout and order.
        folder: Where a trainer may write.
        watcher: Is told of steps and passes.
    """
    arguments: dict[str, Any] = {
        "output_dir": str(folder),
        "per_device_train_batch_size": BATCH,
        "num_train_epochs": passes,
        "learning_rate": rate,
        "seed": seed,
        "use_cpu": pick_device("auto").type == "cpu",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    if arm == "trl-peft":
        return _trl_trainer(model, tokenizer, rows, arguments, watcher)
    if arm == "trainer-peft":
        model = get_peft_model(model, lora_config())
        arguments["weight_decay"] = 0.01
    if arm == "full-ft-bf16":
        arguments["bf16"] = True
    return Trainer(
        model=model,
        args=TrainingArguments(**arguments),
        train_dataset=_tokenised(ChatFormat(tokenizer), rows),
        data_collator=DataCollatorForSeq2Seq(tokenizer, label_pad_token_id=IGNORED),
        callbacks=[watcher],
    )


def _trl_trainer(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Negative],
    arguments: dict[str, Any],
    watcher: TrainerCallback,
) -> Any:
    dataset = Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": row.prompt}],
                "completion": [{"role": "assistant", "content": row.response}],
            }
            for row in rows
        ]
    )
    return _trl().SFTTrainer(
        model=model,
        args=_trl().SFTConfig(**arguments, completion_only_loss=True),
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=lora_config(),
        callbacks=[watcher],
    )


def _tokenised(chat: ChatFormat, rows: Sequence[Negative]) -> Any:
    """Return rows as transformers' trainer takes them: the loss is on the response alone."""
    encoded = [chat.encode(row.prompt, row.response) for row in rows]
    return Dataset.from_list(
        [
            {
                "input_ids": list(row.ids),
                "attention_mask": [1] * len(row.ids),
                "labels": [IGNORED] * len(row.prompt) + list(row.response),
            }
            for row in encoded
        ]
    )


def steps(arm: str, source: str, material: Material, folder: Path) -> dict[str, Any]:
    """Train a few passes over the rows that all arms get, and return tokens a second, memory and parameters."""
    import_trainer(arm)
    model, tokenizer = load_plain(source)
    rows = material.step_negatives
    times = StepTimes(WARM_UP_PASSES)
    watcher = _Watcher(times.step_ended, lambda _: False)
    with PeakMemory() as memory:
        trainer = make_trainer(
            arm,
            model,
            tokenizer,
            rows,
            rate=DOCUMENTED[arm],
            passes=STEP_PASSES,
            seed=0,
            folder=folder,
            watcher=watcher,
        )
        trainer.train()
    view = LoadedModel(model, tokenizer, source, source, None, "")
    return speed_of_steps(tokens(view, rows), len(rows) // BATCH, times.seconds) | {
        "memory_above_weights_mb": memory.above_mb,
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
    }


def forget(
    arm: str, source: str, prepared: Prepared, *, rate: float | None, seed: int, folder: Path, most: int = MOST_PASSES
) -> dict[str, Any]:
    """Train until the test probes are forgotten and return how long it took.

    The clock starts when the model is loaded; setting the trainer up and encoding the rows are its own work.

    Args:
        arm: One of ``plan.RIVALS``.
        source: Folder of the model.
        prepared: Negatives and probes.
        rate: The learning rate; None for the documented one.
        seed: Of the adapter, dropout and order.
        folder: Where a trainer may write.
        most: Passes after which the run is given up.
    """
    import_trainer(arm)
    model, tokenizer = load_plain(source)
    judge = load_model(source)  # this project's fast evaluation, for every arm
    clock = Clock()
    forgetting = Forgetting(clock, scorer(judge, prepared))

    def pass_ended(trained: Any) -> bool:
        with clock.evaluation():
            show(judge, trained)
        return forgetting.pass_ended()

    chosen = rate or DOCUMENTED[arm]
    trainer = make_trainer(
        arm,
        model,
        tokenizer,
        prepared.made.negatives,
        rate=chosen,
        passes=most,
        seed=seed,
        folder=folder,
        watcher=_Watcher(lambda _: None, pass_ended),
    )
    trainer.train()
    return {"learning_rate": chosen, **forgetting.result("all passes done")}


def show(judge: LoadedModel, trained: Any) -> None:
    """Make ``judge`` answer as the network that is being trained does, in its own precision and packed for speed."""
    if hasattr(trained, "peft_config"):
        if not hasattr(judge.model, "peft_config"):
            judge.model = get_peft_model(judge.model, lora_config())
        adapters.load_state(judge.model, adapters.state(trained))
        return
    unpack_linears(judge.model)
    judge.model.load_state_dict(trained.state_dict())
    pack_linears(judge.model)
