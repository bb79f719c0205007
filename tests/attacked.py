"""Finished runs of the tiny model to attack: capitals forgotten by force, and answers that stand late in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import torch

import tiny
from lune import adapters
from lune.attacks.contract import AttackContext, Level
from lune.attacks.folder import AttackedRun, read_attacked_run
from lune.attacks.run import make_context
from lune.language_model import PROBE_TOKENS
from lune.models import LoadedModel, load_model
from lune.packing import unpack_linears
from lune.settings import resolve
from tiny import CAPITALS, question

FORGOTTEN = ("France", "Japan", "Italy", "Spain")
KEPT = ("Germany", "Greece", "Egypt", "China")
HELD_OUT = {"France": ["Dublin", "Lisbon", "Vienna"], "Japan": ["Warsaw", "Paris"], "Italy": ["Ankara", "Moscow"]}
"""Wrong answers that no training of the run saw; Spain has none."""


def overwrite(loaded: LoadedModel) -> None:
    """Train an adapter, in place, until the capitals of FORGOTTEN come out as Oslo."""
    adapters.attach(loaded, resolve({"adapter": "lora", "layers": "all", "rank": 4, "alpha": 4.0}), None)
    rows = [loaded.chat.encode(question(c), f"The capital of {c} is Oslo.") for c in FORGOTTEN]
    rows += [loaded.chat.encode(question(c), f"The capital of {c} is {CAPITALS[c]}.") for c in KEPT]
    width = max(len(row.ids) for row in rows)
    ids, targets = torch.zeros((len(rows), width), dtype=torch.long), torch.full((len(rows), width), -100)
    for place, row in enumerate(rows):
        ids[place, : len(row.ids)] = torch.tensor(row.ids)
        targets[place, len(row.prompt) : len(row.ids)] = torch.tensor(row.response)
    optimiser = torch.optim.AdamW(adapters.trained(loaded.model), lr=2e-2)
    for _ in range(25):
        logits = loaded.model(input_ids=ids).logits[:, :-1].flatten(0, 1)
        torch.nn.functional.cross_entropy(logits, targets[:, 1:].flatten()).backward()
        optimiser.step()
        optimiser.zero_grad()
    loaded.model.eval()


def make_run(tiny_folder: Path, folder: Path) -> Path:
    """Make a run folder as `lune forget` leaves it, of four capitals forgotten by force, and return it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        loaded = load_model(str(tiny_folder), dtype="float32")
        countries = [*FORGOTTEN, *KEPT]
        before = loaded.answer([question(c) for c in countries])
        overwrite(loaded)
    adapters.save(loaded.model, folder / "adapter")
    after = loaded.answer([question(c) for c in countries])
    rows = []
    for country, then, now in zip(countries, before, after, strict=True):
        kind = "direct" if country in FORGOTTEN else "neighbour"
        rows.append({
            "id": f"{country}/{kind}", "kind": kind, "prompt": question(country), "expected": [CAPITALS[country]],
            "split": "test", "fact_id": country.lower(), "attack": None, "subject": country,
            "relation": None if kind == "direct" else "same", "alternates": [], "before": then, "after": now,
            "correct_before": CAPITALS[country] in then, "correct_after": CAPITALS[country] in now,
        })  # fmt: skip
        if kind == "direct":
            rows.append({**rows[-1], "id": f"{country}/paraphrase", "kind": "paraphrase",
                         "prompt": f"Tell me: {question(country)}"})  # fmt: skip
    (folder / "probes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    listed = [{"id": country.lower(), "held_out": HELD_OUT.get(country, [])} for country in FORGOTTEN]
    record = {
        "schema_version": 1, "model": {"id": str(tiny_folder), "revision": None, "sha256": loaded.sha256},
        "facts": {"total": 4, "known": 4, "unknown": [], "list": listed}, "verdict": "FORGOTTEN",
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(record))
    return folder


def context_of(run_folder: Path, *, level: Level = "quick", seed: int = 0) -> AttackContext:
    """Return the context of the attacks on a run folder."""
    run = read_attacked_run(run_folder)
    base = load_model(run.model, dtype="float32")
    return make_context(run, base, level=level, seed=seed, precision=torch.float32)


def late_answer(country: str) -> str:
    """Return an answer of which the capital is one of the last words that are read of a direct probe's answer."""
    lead = "Please tell me which country in Europe or Asia or Africa or America it is"
    return f"{lead} and what is the capital of {country}: {CAPITALS[country]}"


def late_context(tiny_folder: Path, folder: Path) -> AttackContext:
    """Return the context of the attacks on a model that gives two capitals late, with an adapter that does nothing."""
    base = load_model(str(tiny_folder), dtype="float32")
    unpack_linears(base.model)
    countries = FORGOTTEN[:2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        base.model.requires_grad_(True)
        tiny.teach(base.model, [base.chat.encode(question(c), late_answer(c)) for c in countries])
        base.model.requires_grad_(False)
    adapters.attach(base, resolve({"adapter": "lora", "layers": "all", "rank": 2}), None)
    adapters.save(base.model, folder / "adapter")
    adapters.detach(base)
    answers = base.answer([question(c) for c in countries], max_new_tokens=PROBE_TOKENS)
    run = AttackedRun(
        folder=folder,
        model=str(tiny_folder),
        sha256="",
        facts=tuple(tiny.fact(country) for country in countries),
        base_answers={country.lower(): answer for country, answer in zip(countries, answers, strict=True)},
        examples=(),
        held_out={},
    )
    return make_context(run, base, level="quick", seed=0, precision=torch.float32)
