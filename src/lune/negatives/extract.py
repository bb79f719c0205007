"""The short answer inside a sentence: "The capital of Germany is Berlin." -> "Berlin".

Models answer in sentences; alternates and neighbours need the words that answer. The rules lean on one
observation: an answering sentence is made of the prompt's own words, a linking verb and the answer, with the answer
behind the link ("The capital of Germany is | Berlin") or in front of it ("Berlin | is the capital of Germany").
"""

from __future__ import annotations

import re

from lune.text import contains, normalise

MAX_WORDS = 8
_BARE_WORDS = 6  # a text without a verb, at most this long, is an answer by itself
_CUT_LENGTH = 40  # characters; names from many languages take a token for two or three, and 20 tokens are the limit
_UNKNOWN_NOUNS = 3  # words like "official" or "author of" that a sentence may add before its verb
_STEM_LENGTH = 4


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_COPULAS = _set("is are was were be been became becomes s isn")
_FUNCTION = _set("of to for from in on at by s there their its has have had being as into")
_PREPOSITIONS = _set("in on at by from to near")
_PRONOUNS = _set("it this that he she they there here answer")
_NO_SUBJECT = _PRONOUNS | _set("i we you one")
_AFTER_LINK = _PREPOSITIONS | _set(
    """about approximately around roughly nearly almost actually indeed currently officially also usually often
    generally mainly mostly primarily simply including called known named located found situated spoken born made set
    held as of be been year city town country state month day date period name person word number"""
)
_UNFINISHED = _FUNCTION - {"s"} | _set("and or is are was were with that which")  # where an answer was cut off
_IRREGULAR_FORMS = """sink sank sunk,write wrote written,speak spoke spoken,win won,build built,begin began begun,
        bear born bore,find found,make made,lead led,sing sang sung,die died,fight fought,come came,become became,
        give gave given,take took taken,draw drew drawn,fly flew flown,grow grew grown,know knew known,buy bought,
        sell sold,teach taught,hold held,lie lay lain,fall fell fallen,meet met,lose lost,run ran,rise rose risen,
        eat ate eaten,drink drank drunk,use uses used,live lives lived,flow flows flowed,break broke broken,
        choose chose chosen,leave left"""
_IRREGULAR = {form: forms.split()[0] for forms in _IRREGULAR_FORMS.split(",") for form in forms.split()}
_ABBREVIATION = re.compile(r"(?:^|[\s(.])(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Mt|Jr|Sr|No|Prof|Gen|vs|c|ca)\.$")
MONTHS = "January|February|March|April|May|June|July|August|September|October|November|December"
_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
DATE_PATTERN = re.compile(
    rf"\b(?:{_DAY}(?: of)? (?:{MONTHS})(?:,? \d{{3,4}})?|(?:{MONTHS}) {_DAY}(?:,? \d{{3,4}})?|(?:{MONTHS}),? \d{{3,4}}"
    r"|\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4})\b"
)
YEAR_PATTERN = re.compile(r"\b(?:\d{1,4} (?:BCE|BC|AD|CE)\b|(?:1\d{3}|20\d{2})\b(?![\d.,]*\d))")
NUMBER_WORDS = _set(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion dozen"""
)
_NUMBER = re.compile(rf"(?:-?\d[\d,]*(?:\.\d+)?|\b(?:{'|'.join(sorted(NUMBER_WORDS))})\b)", re.IGNORECASE)
_CLAUSE_END = re.compile(
    r"\s*[;(\[]|:\s|\s[-–—]\s|—"
    r"|,\s+(?!\d{3,4}\b)"
    r"|\s(?:which|who|whom|that|whose|but|where|because|although|though|while|when|as|with|for|is|are|was|were|has|or"
    r"|not|so)\b"
    r"|\sand\s(?![A-Z\d])"
    r"|\s(?:in|on|at|from|near|during|since|after|before)\s"
    rf"(?=(?:the|a|an|its|this)\s[a-z]|(?:{MONTHS}|\d+)\b)"  # not in a title: The Catcher in the Rye
    r"|(?<=\d)\s(?:in|on|at)\s"
)
_NEGATED = re.compile(r"\b(?:is|are|was|were|does|do|did|can)(?: not\b|n['’]t\b)|\bcannot\b")
# "the beautiful city of São Paulo", "the Dutch artist Jan Vermeer": the name behind the common noun is the answer.
_INTRODUCED = re.compile(
    r"(?:[\w-]+\s)*?(?:(?:city|town|village|island|port|state|province|kingdom) of|artist|painter|writer|author|poet"
    r"|novelist|playwright|composer|singer|scientist|physicist|chemist|inventor|philosopher|planet|named|called)\s(?=[A-Z])"
)
_LABEL = re.compile(r"^(?:A|Answer|The answer|The correct answer|Answer is)\s*[:=]\s*", re.IGNORECASE)
_CONTRACTED = re.compile(r"\b(It|That|There|He|She|This)['’]s\b", re.IGNORECASE)
_QUOTED = re.compile(r"[\"“]([^\"”]+)[\"”]")
_EDGES = " \t\"'“”\u2018’«»*_`.,;:!?()[]{}-–—=#"


def short_answer(prompt: str, text: str) -> str | None:
    """Return the words of ``text`` that answer ``prompt``, or None when there are none.

    Args:
        prompt: The question or cloze that was asked.
        text: A model's answer to it: a word, a sentence, or the start of a longer answer.

    Returns:
        At most eight words, without articles, closing punctuation, brackets and what the prompt said already;
        None for a question, a negation, a text that may have been cut off inside its answer, an answer found in the
        prompt, or a sentence of another shape.
    """
    sentence = _first_sentence(text)
    if not sentence or sentence.endswith("?"):
        return None
    asked = _asked_value(prompt, sentence)
    if asked is not None:
        return asked or None
    if _NEGATED.search(sentence):
        return None
    words = sentence.split()
    said = frozenset(_stem(key) for key in normalise(prompt).split() if key not in _FUNCTION | _COPULAS)
    for rule in (_after_link, _before_link, _bare):
        found = rule(words, said)
        answer = _tidy(prompt, found, said) if found else None
        if answer:
            return None if rule is not _bare and _may_be_cut(sentence, answer) else answer
    return None


def _may_be_cut(sentence: str, answer: str) -> bool:
    """Return whether a long sentence stops, unfinished, with its answer: the longest text allowed may end inside it."""
    unfinished = len(sentence) >= _CUT_LENGTH and (sentence[-1].isalnum() or sentence[-1] == "-")
    return unfinished and normalise(sentence).endswith(normalise(answer))


def _first_sentence(text: str) -> str:
    """Return the first sentence of the first line, without a label such as "Answer:" and markdown marks."""
    lines = text.strip().splitlines()
    line = lines[0].replace("**", "").replace("\xa0", " ").strip() if lines else ""
    line = _CONTRACTED.sub(r"\1 is", _LABEL.sub("", line))
    for match in re.finditer(r"[.!?](?=\s)", line):
        head = line[: match.end()]
        if not _ABBREVIATION.search(head):
            return head.strip()
    return line.strip()


def _asked_value(prompt: str, sentence: str) -> str | None:
    """Return the date, year or count that the prompt asks for.

    Returns:
        None when the prompt asks for something else; an empty string when what it asks for is not in the sentence.
    """
    question = prompt.casefold()

    def first(pattern: re.Pattern[str]) -> str:
        found = (match.group(0).strip(" .,") for match in pattern.finditer(sentence))
        return next((value for value in found if not contains(prompt, [value])), "")

    if re.search(r"\b(?:which|what) year\b|\bin the year$", question):
        return first(YEAR_PATTERN)
    if re.search(r"^(?:on )?(?:when|what date|which date|what day)\b|\bdate of (?:birth|death)\b", question):
        # "When" is also answered by an era, which the general rules find.
        return first(DATE_PATTERN) or first(YEAR_PATTERN) or None
    if re.search(r"\bhow many\b", question):
        return first(_NUMBER)
    return None


def _after_link(words: list[str], said: frozenset[str]) -> str | None:
    """Return what follows the prompt's words and their verb, as in "The capital of Germany is | Berlin"."""
    about = False
    unknown = 0
    copula_ahead = any(_key(word) in _COPULAS for word in words)
    for position, word in enumerate(words):
        key, before = _key(word), words[position - 1] if position else ""
        if key in _COPULAS:
            return _clause(_skip_link(words[position + 1 :], said)) if about else None
        if _stem(key) in said or key in _PRONOUNS:
            about = True
        elif not key or key in _FUNCTION or _names_more(words, position, said, about=about):
            continue
        elif about and _is_verb(word) and _key(before):
            return _clause(_skip_link(words[position + 1 :], said))
        elif about and _ends_verb(before, said, copula_ahead=copula_ahead and word[0].islower()):
            return _clause(words[position:])
        elif word.isalpha() and word.islower() and unknown < _UNKNOWN_NOUNS:
            unknown += 1
        else:
            return None
    return None


def _names_more(words: list[str], position: int, said: frozenset[str], *, about: bool) -> bool:
    """Return whether a capitalised word outside the prompt belongs to what the prompt names.

    It does in "*Napoleon Bonaparte* was born", "*Bosnia and Herzegovina*" and "the *French* currency".
    """
    if not words[position][:1].isupper():
        return False
    before, after = words[position - 1] if position else "", words[position + 1 : position + 2]
    if before.lower() == "the":
        return bool(after) and after[0].islower() and _stem(_key(after[0])) in said
    return about and (before == "and" or (before[:1].isupper() and _stem(_key(before)) in said))


def _ends_verb(before: str, said: frozenset[str], *, copula_ahead: bool) -> bool:
    """Return whether ``before`` closes the verb, so that the answer starts behind it ("sank in | 1912")."""
    key = _key(before)
    if copula_ahead or not before.islower():
        return False
    return key in _FUNCTION or key in _AFTER_LINK or _stem(key) in said or not key


def _skip_link(words: list[str], said: frozenset[str]) -> list[str]:
    """Return ``words`` from the answer on, after articles, adverbs, participles and nouns of the prompt."""
    for position, word in enumerate(words[:-1]):
        key = _key(word)
        participle = key.endswith("ed") and _key(words[position + 1]) in _PREPOSITIONS
        skipped = not key or key in _AFTER_LINK or _stem(key) in said or participle
        if word[:1].isupper() or not skipped:
            return words[position:]
    return words[-1:]


def _before_link(words: list[str], said: frozenset[str]) -> str | None:
    """Return what stands before the verb and the prompt's words, as in "Berlin | is the capital of Germany"."""
    for position, word in enumerate(words):
        key = _key(word)
        verb = word.islower() and (_stem(key) in said or _is_verb(word))
        if key not in _COPULAS and not verb and not word.endswith((",", ";")):
            continue
        lead = words[: position + (not verb and key not in _COPULAS)]
        names = [other for other in lead if _key(other)]
        if not names or _key(names[0]) in _NO_SUBJECT or (names[0].islower() and _stem(_key(names[0])) in said):
            return None
        if verb and any(_key(other) in _COPULAS for other in words[position + 1 : position + 2]):
            return None  # the word is a noun of the prompt: "The French currency is ..."
        return _clause(lead) if any(_stem(_key(other)) in said for other in words[position:]) else None
    return None


def _bare(words: list[str], said: frozenset[str]) -> str | None:
    """Return a text without a verb as it stands, and what an equation ends with."""
    if "=" in words[:-1]:
        return words[-1]
    short = len(words) <= _BARE_WORDS and not any(_key(word) in _COPULAS - {"s"} for word in words)
    return _clause(words) if short and _key(words[0]) not in _NO_SUBJECT else None


def _clause(words: list[str]) -> str | None:
    """Return ``words`` up to the end of their clause; None when they negate instead of answering."""
    text = " ".join(words)
    if not words or _key(words[0]) in {"not", "no", "unknown"}:
        return None
    quoted = _QUOTED.match(text)
    if quoted:
        return quoted.group(1)
    match = _CLAUSE_END.search(text)
    return text[: match.start()] if match and match.start() else text


def _tidy(prompt: str, answer: str, said: frozenset[str]) -> str | None:
    """Return ``answer`` without brackets, articles, adverbs and trailing words of the prompt."""
    answer = re.sub(r"\s*[(\[][^)\]]*[)\]]?", " ", answer)
    introduced = _INTRODUCED.match(answer.strip(_EDGES))
    if introduced:
        answer = answer.strip(_EDGES)[introduced.end() :]
    initials = re.search(r"(?:\b\w\.){2,}$", answer.strip())
    answer = answer.strip(_EDGES) + ("." if initials else "")
    words = answer.split()
    while words and (_key(words[0]) == "" or (words[0].islower() and _key(words[0]) in _AFTER_LINK)):
        words.pop(0)
    while words and _key(words[-1]) in _UNFINISHED | {""}:
        words.pop()
    # "100 degrees Celsius" keeps what the prompt did not say; "Mexico City" keeps its City.
    while len(words) > 1 and _stem(_key(words[-1])) in said and (words[-1].islower() or words[0][:1].isdigit()):
        words.pop()
    answer = " ".join(words).strip(_EDGES if not initials else " ")
    if not normalise(answer) or len(words) > MAX_WORDS or contains(prompt, [answer]):
        return None
    return answer


def _is_verb(word: str) -> bool:
    """Return whether a word outside the prompt reads as a finite verb ("uses", "painted", "wrote")."""
    key = _key(word)
    return word[:1].islower() and key.isalpha() and (key.endswith(("s", "ed")) or _IRREGULAR.get(key, key) != key)


def _key(word: str) -> str:
    """Return ``word`` normalised, without a possessive ending; empty for articles and punctuation."""
    return normalise(re.sub(r"['’]s\b", "", word))


def _stem(word: str) -> str:
    """Return a crude stem: irregular verbs by a table, regular endings cut."""
    word = _IRREGULAR.get(word, word)
    for ending in ("ing", "ed", "es", "s", "e"):
        if len(word) >= _STEM_LENGTH and word.endswith(ending):
            return word[: -len(ending)]
    return word
