"""The few words of a whole-sentence answer by which it is recognised, where an answer has such words.

Benchmarks of fictitious people answer in sentences: "The surveyor's full name is Ilse Brandt." A model that says the
name in other words still knows it, so an answer counts as given when it contains the key words, not the sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lune.negatives.extract import DATE_PATTERN
from lune.text import contains, normalise

MAX_WORDS = 8
SHORT_ANSWER_WORDS = 12
"""Only in an answer of at most so many words does one ordinary word tell anything: "... to the geology genre"."""
RUN_WORDS = 4
"""Words in a row of an answer without key words that count as giving it."""
_FUNCTION_WORDS = frozenset(
    (
        "about", "after", "also", "although", "among", "an", "and", "are", "as", "at", "be", "been", "both", "but",
        "by", "for", "from", "had", "has", "have", "he", "her", "him", "his", "how", "in", "into", "is", "it", "its",
        "like", "of", "on", "or", "over", "she", "such", "than", "that", "the", "their", "them", "these", "they",
        "this", "through", "to", "under", "was", "were", "while", "when", "which", "who", "with", "within", "yes",
        "no", "a", "not", "known", "one", "named", "called",
    )
)  # fmt: skip
_QUOTED = re.compile(r"[\"“]([^\"”]{2,80}?)[,.]?[\"”]|(?<!\w)[\u2018']([^'’]{3,80}?(?:['’]\w[^'’]*)?)[,.]?['’](?!\w)")
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_ADDRESS = re.compile(r"\b\d{1,5}(?:\s[A-Z][\w.]*){2,4}")
_NAME = re.compile(r"\b[A-Z][\w’'+-]*(?:\s(?:(?:of|de|van|von|al|bin|the|and)\s)?[A-Z][\w’'+-]*)*")
_NUMBER = re.compile(r"\b\d[\d,.]*\b")


def key_span(answer: str, prompt: str, *, right: str | None = None, wrong: Sequence[str] = ()) -> str | None:
    """Return the words of ``answer`` that answer ``prompt``, as spelled there, or None when it has no such few words.

    Candidates by their shape are a quoted title, a mail address, a street address, a date, a name, a number, in this
    order; of several titles the first. Where the data gives another wording of the answer (``right``) and wrong answers
    in that wording, the words in which ``right`` differs from every one of them are what was asked: a candidate among
    them comes first, then the longest run of words that ``answer`` shares with them, then any candidate. None may
    stand in the prompt or in a wrong answer, and one ordinary word tells something in a short answer only.

    Args:
        answer: The whole-sentence answer.
        prompt: The question.
        right: The answer in other words.
        wrong: Wrong answers in the words of ``right``.
    """
    brief = len(answer.split()) <= SHORT_ANSWER_WORDS
    shaped = [span for span in _shaped(answer) if _tells(span, prompt, wrong) and (brief or not _is_ordinary(span))]
    if right is not None and wrong:
        asked = _difference(right, wrong)
        shared = _longest_shared(answer, asked)
        among = [span for span in shaped if contains(asked, [span])]
        usable = shared and _tells(shared, prompt, wrong) and (brief or not _is_ordinary(shared))
        shaped = [*among, *([shared] if shared and usable else []), *shaped]
    return next(iter(shaped), None)


def telling_runs(answer: str, prompt: str) -> tuple[str, ...]:
    """Return every run of four words of ``answer`` that could not be said without knowing it.

    Each has at least two content words that the prompt does not have. Empty where nothing in the answer goes beyond the
    prompt.
    """
    words = answer.split()
    asked = set(normalise(prompt).split())
    runs = []
    for start in range(len(words) - RUN_WORDS + 1):
        run = " ".join(words[start : start + RUN_WORDS]).strip(" .,;:!?\"'“”")
        new = [word for word in normalise(run).split() if word not in asked and word not in _FUNCTION_WORDS]
        if len(new) > 1:
            runs.append(run)
    return tuple(dict.fromkeys(runs))


def main_name(texts: Sequence[str]) -> str | None:
    """Return the name of two words or more that most of ``texts`` hold: the person they are about."""
    counts: dict[str, int] = {}
    for text in texts:
        names = {re.sub(r"['’]s?$", "", match.group()) for match in _NAME.finditer(text)}
        for part in {part for name in names for part in _tails(name)}:
            counts[part] = counts.get(part, 0) + 1
    named = {name: count for name, count in counts.items() if len(name.split()) > 1}
    return max(named, key=lambda name: (named[name], len(name))) if named else None


def named_as(name: str, prompt: str) -> str | None:
    """Return how ``prompt`` names the person: the whole name, else its last or first word; None when it does not."""
    words = name.split()
    forms = [name, words[-1], words[0]]
    return next((form for form in forms if re.search(rf"(?<!\w){re.escape(form)}(?!\w)", prompt)), None)


def _tails(name: str) -> Iterator[str]:
    """Yield a name and what is left of it without its first words: "Does Edda Kern" holds "Edda Kern"."""
    words = name.split()
    for start in range(len(words) - 1):
        yield " ".join(words[start:])


def _difference(right: str, wrong: Sequence[str]) -> str:
    """Return the words of ``right`` between what all of ``wrong`` begin with and what they all end with, as it does."""
    words = right.split()
    plain = _plain_words(words)
    others = [_plain_words(other.split()) for other in wrong]
    first = min(_agreeing(plain, other) for other in others)
    last = min(_agreeing(plain[::-1], other[::-1]) for other in others)
    return " ".join(words[first : max(first, len(words) - last)])


def _plain_words(words: Sequence[str]) -> list[str]:
    return [normalise(word) for word in words]


def _agreeing(one: Sequence[str], other: Sequence[str]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (ours, theirs) in pairs if ours != theirs), min(len(one), len(other)))


def _longest_shared(answer: str, difference: str) -> str | None:
    """Return the longest run of words of ``answer`` that stands in ``difference``, without function words around."""
    words = answer.split()
    plain = _plain_words(words)
    searched = f" {' '.join(filter(None, _plain_words(difference.split())))} "
    for length in range(min(MAX_WORDS, len(words)), 0, -1):
        for start in range(len(words) - length + 1):
            ends = (plain[start], plain[start + length - 1])
            if not all(end and end not in _FUNCTION_WORDS for end in ends):
                continue
            run = " ".join(words[start : start + length])
            if length > 1 and any(mark in run for mark in '"“”;'):
                continue  # several titles, or parts of them
            if f" {' '.join(filter(None, plain[start : start + length]))} " in searched:
                return _trimmed(run)
    return None


def _shaped(answer: str) -> Iterator[str]:
    for match in _QUOTED.finditer(answer):
        yield match.group(1) or match.group(2)
    for pattern in (_EMAIL, _ADDRESS, DATE_PATTERN):
        yield from (match.group() for match in pattern.finditer(answer))
    for match in _NAME.finditer(answer):
        # The first word of a sentence is capitalised for its place.
        start = match.start()
        opens = start == 0 or answer[:start].rstrip()[-1:] in ".!?"
        words = re.sub(r"['’]s?$", "", match.group()).split()
        if opens and (len(words) == 1 or words[0].lower() in _FUNCTION_WORDS):
            words = words[1:]
        if words:
            yield " ".join(words)
    yield from (match.group().rstrip(".,") for match in _NUMBER.finditer(answer))


def _tells(span: str, prompt: str, wrong: Sequence[str]) -> bool:
    """Return whether ``span`` is short, has a content word beyond the prompt, and stands in no wrong answer."""
    words = normalise(span).split()
    asked = set(normalise(prompt).split())
    fresh = [word for word in words if word not in asked and word not in _FUNCTION_WORDS]
    fits = 0 < len(words) <= MAX_WORDS and bool(fresh)
    return fits and not contains(prompt, [span]) and not any(contains(other, [span]) for other in wrong)


def _is_ordinary(span: str) -> bool:
    """Return whether ``span`` is one word without a capital, or a number of one digit."""
    return len(span.split()) == 1 and (span.islower() or (span.isdigit() and len(span) == 1))


def _trimmed(text: str) -> str:
    return re.sub(r"['’]s$", "", text.strip(" .,;:!?\"“”()'\u2018’"))
