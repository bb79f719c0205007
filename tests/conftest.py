"""What several test files share: the taught tiny model, and a folder for its runs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from command_line import FACT
from lune import answer_store, preparation
from lune.models import LoadedModel, load_model
from lune.probes import surroundings
from tiny import CAPITALS, GENERAL_QUESTIONS, make_model, question


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the taught model, as `save_pretrained` leaves it."""
    return make_model(tmp_path_factory.mktemp("tiny") / "capitals")


@pytest.fixture
def tiny_model(tiny_folder: Path) -> LoadedModel:
    """The taught model, loaded afresh: tests put adapters on it."""
    return load_model(str(tiny_folder), dtype="float32")


@pytest.fixture(scope="module")
def only_taught() -> Iterator[None]:
    """Ask the tiny model only what it was taught; about anything else it babbles, which takes time and says nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(preparation, "GENERAL_QUESTIONS", GENERAL_QUESTIONS)
        patch.setattr(surroundings, "BEST_KNOWN", len(CAPITALS))
        yield


@pytest.fixture(autouse=True)
def _own_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a bench's answers in the test's own folder; the built-in model stays where it is unpacked."""
    monkeypatch.setattr(answer_store, "cache_folder", lambda: tmp_path / "lune-cache")


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    """A request to forget two facts that the tiny model knows."""
    path = tmp_path / "request.jsonl"
    rows = [{"prompt": question(country), "answer": CAPITALS[country]} for country in ("France", "Japan")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(autouse=True)
def _generator_unmoved() -> Iterator[None]:
    """Leave torch's global random state as it was, so that no test depends on those before it."""
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test in an empty folder that has one good request, with help texts 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("LUNE_DEBUG", raising=False)
    (tmp_path / "facts.jsonl").write_text(json.dumps(FACT) + "\n")
