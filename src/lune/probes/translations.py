"""Common questions in Spanish, French and German, for the cross-lingual attack."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from importlib.resources import files
from typing import Literal

from lune.grammar import TIME_NOUNS
from lune.questions import read

Language = Literal["es", "fr", "de"]


@lru_cache(maxsize=1)
def _data() -> tuple[list[dict[str, str]], dict[str, dict[str, list[str]]]]:
    """Return the questions and the names of data/translations.json.

    A question has a pattern of the English sentence up to its answer, with the name as group x or y,
    and a text in each language: {x} is the name, {of_x} the name after "of". A name has both in each language.
    """
    data = json.loads(files("lune").joinpath("data", "translations.json").read_text(encoding="utf-8"))
    return data["questions"], {name.lower(): entry for name, entry in data["names"].items()}


def translate(prompt: str, language: Language, subject: str | None = None) -> str | None:
    """Return ``prompt`` in another language, or None when its question is none of the common ones.

    Names without a translation of their own stay in English.
    """
    cloze = read(prompt, subject).cloze
    if cloze is None:
        return None
    sentence = re.sub(r"\b(was|were)$", "is", cloze.replace("’", "'"))
    asks_time = any(word in TIME_NOUNS for word in re.findall(r"[a-z]+", prompt.lower()))
    for question in _data()[0]:
        found = re.fullmatch(question["pattern"], sentence, re.IGNORECASE)
        if found and not (asks_time and " born in" in question["pattern"]):
            groups = found.groupdict()
            return _fill(question[language], groups.get("x") or groups.get("y") or "", language)
    return None


def _fill(template: str, name: str, language: Language) -> str:
    bare = re.sub(r"(?i)^the ", "", name.strip())
    names = _data()[1]
    entry = names.get(bare.lower()) or names.get(f"the {bare.lower()}")
    of = {"es": "de ", "fr": "d'" if bare[:1].lower() in "aeiouéèh" else "de ", "de": "von "}[language]
    plain, of_name = entry[language] if entry else (bare, of + bare)
    return template.format(x=plain, of_x=of_name)
