"""From prepared facts to a trained adapter: twin, keys, anchors, loop."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator

from lune import adapters
from lune.errors import RunError
from lune.evaluation import dev_scores
from lune.language_model import PROBE_TOKENS
from lune.methods import method
from lune.methods.contract import Edit, Objective
from lune.models import LoadedModel
from lune.negatives.own_words import relapsed
from lune.outputs import SPACE_FOR_RECORDS_MB, free_space_check
from lune.preparation import Prepared
from lune.progress import Display
from lune.records import History, Negative
from lune.settings import AdapterKind, ForgetSettings, NegativesStyle
from lune.subjects import of_whole_subjects
from lune.training.adapter_keys import adapter_keys, subject_contexts
from lune.training.anchors import AnchorRow, anchor_rows
from lune.training.editing import edit_rows, refuse_last_layer, write_edit
from lune.training.loop import Row, TrainingOutcome, train
from lune.training.rows import TrainingRow, training_rows, with_base
from lune.training.steering import COLLAPSE, DevScores


@dataclass(frozen=True)
class Trained:
    """What training left, besides the adapter that is now on the model.

    Attributes:
        outcome: How the loop ended.
        history: One row a step or evaluation.
        parameters: How many numbers were trained.
        rank: The adapter's rank.
        layers: The adapted decoder layers.
        modules: Last part of the adapted modules' names.
        moved: "N of N" adapter matrices that moved.
        relapses: Negatives that were added between passes, for what was still given away.
        seconds: Wall time of the whole training stage, dev evaluations included.
    """

    outcome: TrainingOutcome
    history: History
    parameters: int
    rank: int
    layers: list[int]
    modules: list[str]
    moved: str
    relapses: list[Negative]
    seconds: float


def check_layers(model: LoadedModel, settings: ForgetSettings) -> None:
    """Refuse layers that the model does not have, and for an edit its last one.

    Raises:
        ConfigError: When they are refused.
    """
    total = len(adapters.decoder_layers(model.model)[1])
    layers = adapters.chosen_layers(settings.layers, total, settings.adapter)
    if isinstance(method(settings.method), Edit):
        refuse_last_layer(layers, total)


def train_adapter(
    model: LoadedModel,
    prepared: Prepared,
    settings: ForgetSettings,
    *,
    precision: torch.dtype,
    accelerator: Accelerator,
    display: Display,
    folder: Path | None = None,
) -> Trained:
    """Train an adapter and leave the best one on ``model``.

    Args:
        model: The base model in the precision in which answers are taken; gets the adapter.
        prepared: Negatives, anchors, dev probes.
        settings: The run's settings.
        precision: What to train in; a copy of the model is made when it differs from the model's.
        accelerator: Processes and devices.
        display: Where progress goes.
        folder: Where the adapter will be saved: its disk must have room for it and the run's records.

    Raises:
        OutputError: When the disk has no room for the adapter.
        RunError: When training diverged at once or the adapter did not move.
    """
    began = time.perf_counter()
    trainee = model.training_twin(precision)
    negatives = _Negatives(model, trainee, prepared, settings)
    anchors = _attach(model, trainee, prepared, settings)
    if folder is not None:
        free_space_check(folder, adapters.megabytes(model.model) + SPACE_FOR_RECORDS_MB)

    def evaluate() -> DevScores:
        if trainee is not model:
            adapters.load_state(model.model, adapters.state(trainee.model))
        return dev_scores(model, prepared.dev)

    steps = settings.passes * max(1, math.ceil(len(negatives.rows) / settings.batch_size))
    # Other styles have no wrong answer that could stand in the right one's place.
    paced = settings.release > 0 and settings.negatives_style is NegativesStyle.ALTERNATIVE
    history = History()
    with display.training(steps, "training") as line:
        if isinstance(method(settings.method), Edit):
            outcome = _edit(trainee, prepared, settings, evaluate=evaluate, report=line.update, history=history)
        else:
            outcome = train(
                trainee,
                negatives.rows,
                anchors,
                settings,
                accelerator=accelerator,
                evaluate=evaluate,
                relapses=negatives.relapses if paced else None,
                report=line.update,
                history=history,
            )
    if trainee is not model:
        adapters.load_state(model.model, adapters.state(trainee.model))
    moved = adapters.check_moved(model.model)
    return Trained(
        outcome,
        history,
        sum(parameter.numel() for parameter in adapters.trained(trainee.model)),
        adapters.rank(model.model),
        adapters.adapted_layers(model.model),
        adapters.adapted_kinds(model.model),
        moved,
        negatives.written[len(prepared.made.negatives) :],
        time.perf_counter() - began,
    )


def _edit(
    trainee: LoadedModel,
    prepared: Prepared,
    settings: ForgetSettings,
    *,
    evaluate: Callable[[], DevScores],
    report: Callable[[Row], None],
    history: History,
) -> TrainingOutcome:
    """Write the adapter in closed form and ask the dev probes once.

    Raises:
        RunError: When no prompt names its subject.
    """
    began = time.perf_counter()

    def add(row: Row) -> None:
        history.rows.append(row)
        report(row)

    contexts = subject_contexts(trainee, prepared, with_answers=False)
    rows = edit_rows(trainee, prepared, list(dict.fromkeys(context.owner for context in contexts)))
    if not rows:
        raise RunError("No prompt names its subject, so there is no place to edit.", hint="give each fact a subject")
    write_edit(trainee, rows, settings, report=add)
    seconds = time.perf_counter() - began
    steps, scores = settings.passes, evaluate()
    add({"step": steps, "pass": 1, **scores.as_row()})
    if scores.degenerate > COLLAPSE:
        raise RunError("The edited model's answers are broken.", hint="lower --learning-rate or --passes")
    return TrainingOutcome(
        steps=steps,
        passes=1,
        best_step=steps,
        best=scores,
        stopped="written in closed form",
        interrupted=False,
        seconds=seconds,
        plain_because="",
        frozen_layers=0,
        kept_mb=0.0,
    )


class _Negatives:
    """The negatives of a run, and those that are added for what is still given away; made before the adapter is there.

    Attributes:
        written: All of them, in the order in which they came.
        rows: What the method trains on for those made before training, encoded; nothing for an edit.
    """

    def __init__(self, model: LoadedModel, trainee: LoadedModel, prepared: Prepared, settings: ForgetSettings) -> None:
        self._model = model
        self._chat = trainee.chat
        self._facts = {fact.id: fact for fact in prepared.trained}
        self._whole = of_whole_subjects(prepared.trained)
        self._chooser = random.Random(settings.seed)
        self._made = prepared.made.negatives
        self.written = list(self._made)
        how = method(settings.method)
        self.rows = [] if isinstance(how, Edit) else training_rows(self._chat, self._made, self._facts, how.rows)
        if isinstance(how, Objective) and how.needs_base:
            self.rows = with_base(trainee, self.rows)

    def relapses(self, places: Sequence[int]) -> list[TrainingRow]:
        """Ask the adapted model the prompts of these negatives; return new ones for the true answers it gives.

        Of a subject that goes as a whole every prompt is asked: with no key of its answer, a fact may be unlikely where
        its negatives part from it and be given away in other words all the same.
        """
        doubtful = [self.written[place] for place in places]
        doubtful += [negative for negative in self._made if negative.fact_id in self._whole]
        prompts = list(dict.fromkeys(negative.prompt for negative in doubtful))
        answers = dict(zip(prompts, self._model.answer(prompts, max_new_tokens=PROBE_TOKENS), strict=True))
        asked = [negative for negative in self._made if negative.prompt in answers]
        made = relapsed(asked, list(self._facts.values()), answers, self._chooser)
        self.written += made
        return training_rows(self._chat, made, self._facts, "negatives")


def _attach(model: LoadedModel, trainee: LoadedModel, prepared: Prepared, settings: ForgetSettings) -> list[AnchorRow]:
    """Put the same fresh adapter on ``model`` and its twin; return the anchors, which the bare base model gives."""
    keys = None
    if settings.adapter is AdapterKind.KEYED:
        edited = isinstance(method(settings.method), Edit)
        keys = adapter_keys(trainee, prepared, settings, subjects_alone=edited)
    held = prepared.anchors if settings.anchor_weight else []
    anchors = anchor_rows(trainee, [trainee.chat.encode(anchor.prompt, anchor.response) for anchor in held])
    adapters.attach(trainee, settings, keys)
    if trainee is not model:
        adapters.attach(model, settings, keys)
    return anchors
