"""TOFU's data: each config from the hub or from a folder, checked row by row."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lune.benchmarks.task import wrong_layout
from lune.errors import RequestError

HUB_ID = "locuslab/TOFU"

Row = Mapping[str, Any]

_FIELDS = {"question": str, "answer": str}
_PERTURBED_FIELDS = {**_FIELDS, "perturbed_answer": list}
_PARAPHRASED_FIELDS = {**_PERTURBED_FIELDS, "paraphrased_answer": str, "paraphrased_question": str}


def refuse_missing(folder: Path, configs: Sequence[str]) -> bool:
    """Return True where a folder has the files of all configs.

    Raises:
        RequestError: When any is missing; all are named.
    """
    if missing := [f"there is no {name}.json" for name in configs if not (folder / f"{name}.json").is_file()]:
        raise _wrong_layout(folder, missing)
    return True


def read_config(source: Path | None, config: str) -> list[Row]:
    """Return the rows of a config, from the hub or from a folder's ``CONFIG.json`` (JSON lines or one list).

    Raises:
        RequestError: When it cannot be had or its rows are not TOFU's.
    """
    try:
        if source is None:
            from datasets import load_dataset

            rows = list(load_dataset(HUB_ID, config, split="train"))
        else:
            text = (source / f"{config}.json").read_text(encoding="utf-8")
            rows = (
                json.loads(text) if text.lstrip().startswith("[") else [json.loads(x) for x in text.splitlines() if x]
            )
    except (OSError, ValueError) as error:
        if source is not None:
            missing = isinstance(error, FileNotFoundError)
            cause = f"there is no {config}.json" if missing else f"{config}.json cannot be read: {error}"
            raise _wrong_layout(source, [cause]) from error
        raise RequestError(
            f"The config {config} of {HUB_ID} cannot be read: {error}.", hint="give a folder of the data: --data DIR"
        ) from error
    asked = config.startswith(("forget", "retain"))
    perturbed = config.endswith("_perturbed")
    fields = _PARAPHRASED_FIELDS if asked and perturbed else _PERTURBED_FIELDS if perturbed else _FIELDS
    problems = [
        f"{config}, row {number}: {name} is missing or of another kind"
        for number, row in enumerate(rows, start=1)
        for name, kind in fields.items()
        if not isinstance(row, dict) or not isinstance(row.get(name), kind)
    ]
    if problems or not rows:
        problems = problems or [f"{config} is empty"]
        if source is not None:
            raise _wrong_layout(source, problems)
        raise RequestError(f"{config} of {HUB_ID} is not TOFU's: {problems[0]}.", problems=problems)
    return rows


def _wrong_layout(source: Path, problems: Sequence[str]) -> RequestError:
    return wrong_layout(
        "TOFU",
        source,
        problems,
        wanted="a file CONFIG.json of each config, such as full.json and forget10_perturbed.json",
        get=f"hf download {HUB_ID} --repo-type dataset --local-dir tofu, then --data tofu",
    )
