"""The models of a bench: the base model, and those taught from it for benchmarks of fictitious facts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lune.answer_store import AnswerStore
from lune.benchmarks.task import TaughtText
from lune.errors import LuneError
from lune.evaluation import RememberedAnswers
from lune.models import LoadedModel, load_model
from lune.progress import Display

_NOT_RECORDED = ("folder", "cached")
_TAUGHT_AT_ONCE = 2
"""Taught models held in memory: a target and its reference."""


class TaughtModel(Protocol):
    """A model that was taught texts: a dataclass with at least its folder."""

    @property
    def folder(self) -> Path:
        """The model in transformers' layout."""
        ...


Teacher = Callable[[Sequence[TaughtText], LoadedModel, Display, str], TaughtModel]


def teach_by_lora(texts: Sequence[TaughtText], model: LoadedModel, display: Display, dtype: str) -> TaughtModel:
    """Return ``model`` taught ``texts`` with the default recipe: `lune.teaching`, which remembers what it taught.

    Raises:
        LuneError: When teaching fails.
    """
    from lune.settings import TeachingRecipe
    from lune.teaching import ENOUGH, teach

    taught = teach(texts, model, TeachingRecipe(), display=display, dtype=dtype)
    if not taught.knows:
        display.line(
            f"The taught model knows too little of its {taught.texts} texts (ROUGE-L recall "
            f"{taught.rouge_l_recall:.2f}, {ENOUGH} wanted): read the scores as such.",
            style="yellow",
        )
    return taught


@dataclass
class Target:
    """A loaded model, what it has answered so far, and how it was taught.

    Attributes:
        model: The model, without an adapter.
        answers: It, asked nothing twice.
        teaching: What the teaching came to; None for a model that was not taught.
    """

    model: LoadedModel
    answers: RememberedAnswers
    teaching: dict[str, Any] | None = None


@dataclass
class Targets:
    """Loads and teaches the models of a bench, each once while it is needed.

    Attributes:
        base_id: The base model.
        device: Where to compute.
        dtype: In which precision.
        teacher: How a model is taught.
        display: Where progress goes.
        keep_answers: Whether what the models answer is kept on disk: not of a user's own facts.
    """

    base_id: str
    device: str
    dtype: str
    teacher: Teacher
    display: Display
    keep_answers: bool = False
    _loaded: dict[str, Target] = field(default_factory=dict)
    _taught: dict[tuple[TaughtText, ...], TaughtModel | LuneError] = field(default_factory=dict)

    @property
    def base(self) -> Target:
        """The base model.

        Raises:
            ModelError: When it cannot be loaded.
        """
        return self._load(self.base_id)

    def taught(self, texts: Sequence[TaughtText]) -> Target:
        """Return the base model taught ``texts``; what failed once is not tried again.

        Raises:
            LuneError: When teaching fails or what it left cannot be loaded.
        """
        key = tuple(texts)
        if key not in self._taught:
            try:
                self._taught[key] = self.teacher(texts, self.base.model, self.display, self.dtype)
            except LuneError as error:
                self._taught[key] = error
        taught: Any = self._taught[key]
        if isinstance(taught, LuneError):
            raise taught
        target = self._load(str(taught.folder))
        target.teaching = {name: value for name, value in asdict(taught).items() if name not in _NOT_RECORDED}
        return target

    def drop(self, target: Target) -> None:
        """Let go of a model: it is not needed any more, or a failed run left something on it."""
        self._loaded = {name: each for name, each in self._loaded.items() if each is not target}

    def _load(self, name: str) -> Target:
        if name in self._loaded:
            self._loaded[name] = self._loaded.pop(name)  # the last one used goes last
        else:
            with self.display.stage(f"loading {name}"):
                model = load_model(name, device=self.device, dtype=self.dtype)
            self._loaded[name] = Target(
                model, RememberedAnswers(model, AnswerStore(model) if self.keep_answers else None)
            )
            for old in [each for each in self._loaded if each != self.base_id][:-_TAUGHT_AT_ONCE]:
                del self._loaded[old]
        return self._loaded[name]
