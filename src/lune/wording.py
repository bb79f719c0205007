"""Saying the same in other words: clozes, commands, rewordings, full-sentence answers.

Pure functions on prompts of any fact. English questions about single facts are reworded by rule;
whatever the rules do not understand is quoted as it is, so every function works for every text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from lune import gazetteer, grammar
from lune.grammar import capitalise
from lune.questions import BLANK, PromptKind, Reading, classify, read
from lune.text import normalise

__all__ = [
    "PromptKind",
    "as_question",
    "classify",
    "continuation_for",
    "given_paraphrases",
    "rephrase",
    "response_for",
    "to_cloze",
    "to_imperative",
    "with_subject",
]

Share = Literal["train", "dev", "test"]

# {asked} follows "tell me"; {cloze} breaks off at the answer; {question} is any complete request.
REWORDINGS: dict[Share, tuple[str, ...]] = {
    "train": ("Can you tell me {asked}?", "I have something to ask. {question}"),
    "dev": (
        "I would like to know {asked}.",
        "{echo}",
        "Please say {asked}.",
        "Let me ask you this: {question}",
        "A short question. {question}",
        "Here is what I want to know. {question}",
    ),
    "test": (
        "Could you say {asked}?",
        "Kindly state {asked}.",
        "Finish my sentence for me: {cloze} ...",
        "One more thing: {question}",
        "Just wondering: {question}",
        "Remind me of this: {question}",
        "And now to something else. {question}",
    ),
}
# For sentences with a gap; {gap} marks it with underscores.
GAP_REWORDINGS: dict[Share, tuple[str, ...]] = {
    "train": ("What is missing in this sentence? {gap}",),
    "dev": ("Which words belong in the gap? {gap}", "Complete this statement: {gap}", "Replace the underscores: {gap}"),
    "test": (
        "Supply what has been left out here: {gap}",
        "{gap} What do the underscores stand for?",
        "A word or phrase was removed from this text; put it back: {gap}",
        "How does this read without the empty space? {gap}",
    ),
}
_STATED = re.compile(
    r"\b(name|e?mail|address|number|date|year|symbol|phone|age|height|weight|length|depth|size|speed|population"
    r"|colou?r|salary|birthday|password|code|distance|temperature|point|area|amount|value|formula|gender|profession"
    r"|occupation|title|opposite)s?\b",
    re.IGNORECASE,
)
_LONG_ANSWER_WORDS = 10
_SHORT_SENTENCE_WORDS = 6


def to_cloze(prompt: str, *, subject: str | None = None, answer: str | None = None) -> str | None:
    """Return ``prompt`` as a sentence that breaks off where its answer stands, or None when no rule fits.

    Args:
        prompt: Such as "Who wrote Hamlet?", which gives "Hamlet was written by".
        subject: What the prompt is about, where that is known.
        answer: The kind of answer to expect: a bare year turns "was born on" into "was born in".
    """
    if classify(prompt) == "blank":
        before, after = BLANK.split(prompt.strip(), maxsplit=1)
        return before.rstrip() if before.strip() and not any(char.isalnum() for char in after) else None
    cloze = read(prompt, subject).cloze
    return cloze if cloze is None or answer is None else _fit_preposition(cloze, answer)


def to_imperative(prompt: str, *, subject: str | None = None) -> str | None:
    """Return ``prompt`` as a command ("Name the capital of France."), or None when no rule fits."""
    reading = read(prompt, subject)
    if reading.kind == "imperative":
        return prompt.strip()
    if reading.asked is None:
        return None
    if reading.is_clause:
        return f"Tell me {reading.asked}."
    if re.match(r"(?i)(an?|some|any) ", reading.asked):
        return f"Give me {reading.asked}."
    return f"{'State' if _STATED.search(reading.asked) else 'Name'} {reading.asked}."


def as_question(prompt: str) -> str:
    """Return ``prompt`` as a complete request: gaps and broken-off sentences get an instruction in front."""
    text = prompt.strip()
    kind = classify(text)
    return f"Fill in the blank: {as_gap(text)}" if kind in ("blank", "cloze") and text else text


def as_gap(sentence: str) -> str:
    """Return a cloze as a sentence with underscores where the answer stands."""
    text = BLANK.sub("___", sentence.strip().rstrip(":").rstrip())
    if "___" not in text:
        text += " ___"
    return text if text.endswith((".", "!", "?")) else text + "."


def rephrase(prompt: str, *, subject: str | None = None, share: Share | None = None) -> list[str]:
    """Return rewordings of ``prompt``, the closest first, without the prompt itself.

    Args:
        prompt: Any prompt.
        subject: What it is about, kept as it is.
        share: Only the rewordings of one share; the three shares never have a text in common.
    """
    if share is None:
        return [text for each in REWORDINGS for text in rephrase(prompt, subject=subject, share=each)]
    chosen = synonym_variants(prompt, subject, share)
    reading = read(prompt, subject)
    if reading.kind in ("blank", "cloze") and prompt.strip():
        templates, fields = GAP_REWORDINGS[share], {"gap": as_gap(prompt)}
    else:
        templates, fields = REWORDINGS[share], {"question": as_question(prompt)}
    if reading.kind in ("question", "imperative"):
        known = {"asked": reading.asked, "cloze": reading.cloze, "echo": _echo(prompt, reading)}
        fields |= {name: text for name, text in known.items() if text}
    if reading.question and share == "dev":
        chosen = [reading.question, *chosen]
    chosen += [template.format(**fields) for template in templates if field_names(template) <= fields.keys()]
    return _distinct(chosen, but=prompt)


def _echo(prompt: str, reading: Reading) -> str | None:
    """Return the question with the question word where the answer stands: "Hamlet was written by whom?"."""
    if reading.cloze is None:
        return None
    text = reading.question or (reading.asked if reading.is_clause and reading.asked else prompt.strip())
    asked = re.match(r"(?i)(where|when|who)\b", text)
    word = asked[1].lower() if asked else "what"
    if reading.cloze.endswith(" by"):
        return f"{reading.cloze} whom?"
    stem = re.sub(r" (?:in|on)$", "", reading.cloze) if word in ("where", "when") else reading.cloze
    return f"{stem} {word}?"


def field_names(template: str) -> set[str]:
    """Return the names in braces of ``template``."""
    return set(re.findall(r"{(\w+)}", template))


def synonym_variants(prompt: str, subject: str | None = None, share: Share | None = None) -> list[str]:
    """Return ``prompt`` with one of its words replaced by a synonym, for every synonym known.

    The subject, quoted titles and capitalised names inside the sentence stay as they are.

    Args:
        prompt: Any prompt; other languages than English give nothing.
        subject: What it is about.
        share: Only the synonyms of one share: every third, so that what is measured was not trained.
    """
    if share is not None:
        return synonym_variants(prompt, subject)[list(REWORDINGS).index(share) :: len(REWORDINGS)]
    if not grammar.is_english(prompt):
        return []
    kept = _kept_spans(prompt, subject)
    replaced: list[str] = []
    taken: list[tuple[int, int]] = []
    lower = prompt.lower()
    for word, synonyms in gazetteer.synonyms():
        if word.lower() not in lower:
            continue
        for found in re.finditer(rf"(?<![\w-]){re.escape(word)}(?!['’]?[\w-])", prompt, re.IGNORECASE):
            start, end = found.span()
            named = found[0][:1].isupper() and start > 0 and not word[:1].isupper()
            if named or any(a < end and start < b for a, b in [*kept, *taken]):
                continue
            taken.append((start, end))
            replaced += [_put(prompt, start, end, synonym) for synonym in synonyms]
            break
    return _distinct(replaced, but=prompt)


def _kept_spans(prompt: str, subject: str | None) -> list[tuple[int, int]]:
    patterns = [r"\"[^\"]*\"", r"“[^”]*”", r"(?<!\w)'[^']*(?:'\w[^']*)*'(?!\w)"] + (
        [re.escape(subject)] if subject else []
    )
    return [found.span() for pattern in patterns for found in re.finditer(pattern, prompt, re.IGNORECASE)]


def _put(prompt: str, start: int, end: int, text: str) -> str:
    """Replace a span, adapting the letter case and the article before it."""
    before = prompt[:start]
    # Elsewhere a capital belongs to the word replaced ("CEO of"), not to its place.
    if start == 0 and prompt[:1].isupper():
        text = capitalise(text)
    article = re.search(r"(?i)\b(an?) $", before)
    if article:
        before = before[: article.start(1)] + grammar.with_indefinite(article[1], text) + " "
    return before + text + prompt[end:]


def _distinct(texts: Sequence[str], *, but: str) -> list[str]:
    """Return ``texts`` without those that read like ``but`` or like an earlier one."""
    seen = {normalise(but)}
    kept = []
    for text in texts:
        if normalise(text) not in seen:
            seen.add(normalise(text))
            kept.append(text)
    return kept


def given_paraphrases(paraphrases: Sequence[str], share: Share) -> tuple[str, ...]:
    """Return the requester's own rewordings that belong to one share.

    One or two serve as test probes; of three and more every second goes to dev and every third to training.
    """
    few = 2
    if len(paraphrases) <= few:
        return tuple(paraphrases) if share == "test" else ()
    start = {"test": 0, "dev": 1, "train": 2}[share]
    return tuple(paraphrases[start::3])


def is_sentence(answer: str) -> bool:
    """Return whether an answer stands for itself as a full sentence rather than filling a gap."""
    words = answer.split()
    return len(words) > _LONG_ANSWER_WORDS or (
        len(words) >= _SHORT_SENTENCE_WORDS and answer.rstrip().endswith((".", "!", "?"))
    )


def response_for(prompt: str, alternate: str, *, subject: str | None = None) -> str:
    """Return a natural full answer: "The capital of France is Lyon." for a question, else the bare alternate."""
    cloze = to_cloze(prompt, subject=subject) if classify(prompt) in ("question", "imperative") else None
    return alternate.strip() if cloze is None else statement(cloze, alternate)


def continuation_for(cloze: str, alternate: str) -> str:
    """Return what follows ``cloze`` when it goes on with ``alternate``; the bare alternate fills a marked gap."""
    if BLANK.search(cloze) or is_sentence(alternate):
        return alternate.strip()
    return _stop(_fit(cloze, alternate))


def _stop(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


def _fit(cloze: str, alternate: str) -> str:
    """Drop a first word of ``alternate`` that ``cloze`` already ends with, and adapt its article."""
    text = alternate.strip()
    first, _, rest = text.partition(" ")
    last = cloze.rpartition(" ")[2].lower()
    article = first.lower() in grammar.ARTICLES
    if rest and (first.lower() == last and last in grammar.PREPOSITIONS | grammar.ARTICLES):
        return rest
    if rest and article and last in grammar.ARTICLES:
        return rest
    return text[0].lower() + text[1:] if rest and article and rest[:1].islower() else text


def _fit_preposition(cloze: str, alternate: str) -> str:
    """Return ``cloze`` with "on" for days and "in" for longer times, and "an" before a vowel."""
    stem, _, last = cloze.rpartition(" ")
    if last in ("a", "an"):
        noun = re.sub(r"(?i)^(an?|the) ", "", alternate.strip())
        return f"{stem} {grammar.with_indefinite(last, noun)}"
    longer_than_a_day = _LONGER_THAN_A_DAY.fullmatch(alternate.strip().rstrip("."))
    return f"{stem} in" if last == "on" and longer_than_a_day and not stem.endswith("based") else cloze


_LONGER_THAN_A_DAY = re.compile(
    r"(?:the )?(?:early |late |mid-?)?(?:(?:about |around |circa )?\d{3,4}s?(?: (?:bc|ad|bce|ce))?"
    r"|\d+(?:st|nd|rd|th) century.*"
    r"|(?:january|february|march|april|may|june|july|august|september|october|november|december"
    r"|spring|summer|autumn|winter)(?: \d{4})?)",
    re.IGNORECASE,
)
_WITH_ARTICLE = re.compile(
    r"(?:United|Netherlands|Philippines|Bahamas|Maldives|Gambia|Vatican|Soviet|Nile|Amazon|Danube|Rhine|Thames"
    r"|Himalayas|Alps|Andes|Moon|Sun)\b.*"
    r"|.*\b(?:Republic|Kingdom|States|Islands|Emirates|Union|Empire|Ocean|Sea|River|Tower|Bridge|Museum|War"
    r"|Revolution|Desert|Prize|Bible)",
)


def named_in(prompt: str, subject: str) -> str:
    """Return ``subject`` with the "the" it has in ``prompt``: "the Mona Lisa"."""
    return f"the {subject}" if re.search(rf"(?i)\bthe {re.escape(subject)}(?!\w)", prompt) else subject


def with_subject(prompt: str, subject: str, other: str) -> str:
    """Return ``prompt`` about ``other`` instead of ``subject``.

    Letter case at the start of a sentence, possessives and articles are adapted. A prompt that does
    not name the subject comes back unchanged.
    """
    if not subject:
        return prompt
    bare_apostrophe = "|['’](?= \\w)" if subject.endswith("s") else ""
    pattern = (
        rf"(?<!\w)(?P<article>(?:an?|the) )?(?<!\w){re.escape(subject)}(?P<owns>['’]s(?!\w){bare_apostrophe})?(?!\w)"
    )
    return re.sub(pattern, lambda found: _replacement(found, subject, other), prompt, flags=re.IGNORECASE)


def _replacement(found: re.Match[str], subject: str, other: str) -> str:
    before = found.string[: found.start()].rstrip()
    article = _article_for(found["article"] or "", subject, other)
    text = other
    if other.partition(" ")[0].lower() in grammar.ARTICLES and before and not found["article"]:
        text = text[0].lower() + text[1:]
    owns = found["owns"] or ""
    if owns:
        owns = owns[0] if text.endswith("s") and len(owns) == 1 else owns[0] + "s"
    starts_sentence = not before or before.endswith((".", "!", "?", ":"))
    replaced = article + text + owns
    return capitalise(replaced) if starts_sentence and found[0][:1].isupper() else replaced


def _article_for(article: str, subject: str, other: str) -> str:
    """Return the article, with its space, that ``other`` takes where ``subject`` had ``article``."""
    if other.partition(" ")[0].lower() in grammar.ARTICLES:
        return ""
    if article.strip().lower() in ("a", "an"):
        return grammar.with_indefinite(article.strip(), other) + " "
    names = subject[:1].isupper() and other[:1].isupper()
    if not names or subject.lower().startswith("the "):
        return article
    if _WITH_ARTICLE.fullmatch(other):
        return article or "the "
    # "the Beatles" -> "the Rolling Stones", but "the United Kingdom" -> "France".
    return article if other.endswith("s") and not _WITH_ARTICLE.fullmatch(subject) else ""


def statement(cloze: str, answer: str) -> str:
    """Return the full sentence of a cloze and its answer; an answer that is a sentence stands alone."""
    if is_sentence(answer):
        return answer.strip()
    cloze = _fit_preposition(cloze, answer)
    return _stop(f"{cloze} {_fit(cloze, answer)}")
