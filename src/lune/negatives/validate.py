"""Which proposed alternates may be trained on. Bad negatives cost more forgetting than any choice of loss.

Every check is a small function that returns why it fails, or None. The rules follow LUNE (arXiv 2512.07375, App. B.3:
no hedging, no repetition of the fact) and the validity rules of DualCF (no copy, no gold substring, same answer type,
short, overlap below 0.85, base-plausible).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from lune.language_model import LanguageModel
from lune.negatives.extract import MAX_WORDS
from lune.negatives.kinds import Kind, is_listed_like, kind_of, same_kind
from lune.negatives.propose import GIVEN_ORIGINS, INVENTED_ORIGINS, Candidate
from lune.records import Fact, Rejected
from lune.text import contains, is_degenerate, is_hedged, normalise

MAX_OVERLAP = 0.85
LONG_ANSWER_FACTOR = 2.5  # an alternate may have this many times the words of a long true answer
INVENTED_EXCESS_WORDS = 2
# A response may lie this many nats a token below the typical (median) one of its fact. With the built-in model, real
# capitals in the place of Paris lie within 0.8 of the median and invented ones up to 2.6 below it.
MAX_SHORTFALL = 1.0
# ... or this many median absolute deviations, where the scores spread more, as they do for responses of one word.
MAX_DEVIATIONS = 3.0
_SCORED_SURPLUS = 2
_TYPICAL_OF = 3  # fewer alternates of one fact than this have no median worth the name
_SHORT_WORDS = frozenset(
    ("of", "in", "on", "at", "by", "to", "de", "la", "le", "el", "da", "di", "du", "van", "von", "der", "and", "s")
)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class Context:
    """What a check may look at besides the alternate.

    Attributes:
        fact: The fact to forget.
        accepted: Alternates accepted for it so far.
        origin: The source that proposed the alternate.
        shortfall: Nats a token below the typical response of the fact; None when there is nothing to compare with.
        allowed: The largest shortfall that is still plausible.
    """

    fact: Fact
    accepted: Sequence[str] = ()
    origin: str = ""
    shortfall: float | None = None
    allowed: float = MAX_SHORTFALL


Check = Callable[[str, Context], str | None]


@dataclass(frozen=True)
class Accepted:
    """An alternate that passed.

    Attributes:
        alternate: The short wrong answer.
        origin: Which source proposed it.
        checks: Names of the checks it passed.
    """

    alternate: str
    origin: str
    checks: tuple[str, ...]


def not_the_answer(alternate: str, context: Context) -> str | None:
    """Reject what says the answer: either contains the other, or it carries a person's surname."""
    fact = context.fact
    wanted = _content(alternate)
    if not wanted:
        return "has no word"
    for spelling in fact.spellings:
        answer = _content(spelling)
        if contains(wanted, [answer]):
            return f"contains the answer '{spelling}'"
        if contains(answer, [wanted]):
            return f"is part of the answer '{spelling}'"
        if _rounds_to(alternate, spelling):
            return f"is the answer '{spelling}' with other digits behind the point"
        surname = _surname(spelling, fact.prompt)
        if surname and contains(wanted, [surname]):
            return f"contains '{surname}' of the answer '{spelling}'"
    return None


def not_hedged(alternate: str, context: Context) -> str | None:
    """Reject unsure and refusing answers (LUNE App. B.3)."""
    return "is unsure or refuses" if is_hedged(alternate) else None


def not_degenerate(alternate: str, context: Context) -> str | None:
    """Reject empty and repeated words; a model's own may repeat none ("Robert Louis Robert")."""
    words = _content(alternate).split()
    repeats = len(set(words)) < len(words) if context.origin in INVENTED_ORIGINS else len(set(words)) == 1 < len(words)
    if is_degenerate(alternate) or repeats:
        return "repeats a word or is empty"
    return None


def same_type(alternate: str, context: Context) -> str | None:
    """Reject another kind of thing than the answer: a place for a person, a word for a number."""
    fact = context.fact
    return same_kind(fact.answer, alternate, fact.prompt, invented=context.origin in INVENTED_ORIGINS)


def length(alternate: str, context: Context) -> str | None:
    """Reject more than eight words, or 2.5 times a long answer's; a model's must be about as long as it."""
    words, answer = len(alternate.split()), len(context.fact.answer.split())
    most = max(MAX_WORDS, int(LONG_ANSWER_FACTOR * answer))
    if context.origin in INVENTED_ORIGINS:
        most = min(most, answer + INVENTED_EXCESS_WORDS)
    return f"has {words} words; at most {most}" if words > most else None


def not_in_prompt(alternate: str, context: Context) -> str | None:
    """Reject words of the question, and what a model made of its subject ("Japan Dollar")."""
    fact = context.fact
    if contains(fact.prompt, [alternate]):
        return "stands in the prompt"
    repeats = fact.subject and context.origin in INVENTED_ORIGINS and contains(alternate, [fact.subject])
    return f"repeats '{fact.subject}' of the prompt" if repeats else None


def plausible(alternate: str, context: Context) -> str | None:
    """Reject what the base model finds far less likely than the fact's typical alternate."""
    if context.shortfall is None or context.shortfall <= context.allowed:
        return None
    return f"is {context.shortfall:.1f} nats a token less likely than the typical one; at most {context.allowed:.1f}"


def not_duplicate(alternate: str, context: Context) -> str | None:
    """Reject what equals an accepted alternate once normalised, or shares 85 % of its words."""
    words = set(normalise(alternate).split())
    for other in context.accepted:
        theirs = set(normalise(other).split())
        if len(words & theirs) >= MAX_OVERLAP * max(len(words | theirs), 1):
            return f"repeats '{other}'"
    return None


# In this order; a rejected alternate is listed with the first that failed.
SHAPE_CHECKS: Mapping[str, Check] = {
    "not-the-answer": not_the_answer,
    "not-hedged": not_hedged,
    "not-degenerate": not_degenerate,
    "not-in-prompt": not_in_prompt,
    "length": length,
    "same-type": same_type,
}
RIVAL_CHECKS: Mapping[str, Check] = {"plausible": plausible, "not-duplicate": not_duplicate}
CHECKS: tuple[str, ...] = (*SHAPE_CHECKS, *RIVAL_CHECKS)

# The requester may know better than our rules what a fitting wrong answer is.
WAIVED: Mapping[str, frozenset[str]] = {"request": frozenset({"same-type", "plausible"})}


class Validator:
    """Collects accepted and rejected alternates of a request over several rounds of proposals.

    Args:
        facts: The facts to forget.
        model: The base model, for plausibility.
        respond: Makes the response to a fact's own prompt out of an alternate.
        most: Alternates wanted for a fact to train on.
        spare: How many beyond these are accepted; further ones are not looked at.
        waived: Checks that are left out for every origin.
    """

    def __init__(
        self,
        facts: Sequence[Fact],
        model: LanguageModel,
        respond: Callable[[Fact, str], str],
        *,
        most: int,
        spare: int = 0,
        waived: frozenset[str] = frozenset(),
    ) -> None:
        self.facts = {fact.id: fact for fact in facts}
        self.accepted: dict[str, list[Accepted]] = {fact.id: [] for fact in facts}
        self.rejected: list[Rejected] = []
        self._model = model
        self._respond = respond
        self._most, self._kept = most, most + spare
        # Scoring is the dear part, and what is accepted beyond ``most`` comes from what was scored anyway.
        self._scored = _SCORED_SURPLUS * (most or spare)
        self._waived = waived
        self._seen: set[tuple[str, str]] = set()
        self._scores: dict[str, list[float]] = {fact.id: [] for fact in facts}

    def lacking(self, wanted: int) -> list[Fact]:
        """Return the facts with fewer than ``wanted`` accepted alternates."""
        return [fact for fact in self.facts.values() if len(self.accepted[fact.id]) < wanted]

    def add(self, candidates: Sequence[Candidate]) -> None:
        """Check the candidates with one scoring call and accept the best of each source, sources in order."""
        survivors: list[Candidate] = []
        for candidate in candidates:
            key = (candidate.fact_id, normalise(candidate.alternate))
            full = len(self.accepted[candidate.fact_id]) >= self._kept
            if key in self._seen or full:
                continue
            self._seen.add(key)
            context = Context(self.facts[candidate.fact_id], origin=candidate.origin)
            if self._passes(SHAPE_CHECKS, candidate, context) is not None:
                survivors.append(candidate)
        survivors = self._shortlist(survivors)
        scored = list(zip(survivors, self._score(survivors), strict=True))
        order = {origin: place for place, origin in enumerate(dict.fromkeys(one.origin for one in survivors))}
        for candidate, score in sorted(scored, key=lambda pair: (order[pair[0].origin], self._rank(*pair))):
            self._accept(candidate, score)

    def _shortlist(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return at most twice as many of a fact as are wanted, well-known ones first."""
        chosen: list[Candidate] = []
        counts: Counter[str] = Counter()
        for candidate in sorted(candidates, key=lambda one: self._rank(one, 0.0)):
            if counts[candidate.fact_id] < self._scored:
                counts[candidate.fact_id] += 1
                chosen.append(candidate)
        kept = set(chosen)
        return [candidate for candidate in candidates if candidate in kept]

    def _rank(self, candidate: Candidate, score: float | None) -> tuple[bool, float]:
        """Return a sort key that puts well-known and then likely alternates first; what was given keeps its order."""
        if score is None or candidate.origin in GIVEN_ORIGINS:
            return (False, 0.0)
        return (not is_listed_like(self.facts[candidate.fact_id].answer, candidate.alternate), -score)

    def _accept(self, candidate: Candidate, score: float | None) -> None:
        accepted = self.accepted[candidate.fact_id]
        # What was given is for training; spare ones are found, so that no answer of the request is among them.
        if len(accepted) >= (self._most if candidate.origin in GIVEN_ORIGINS else self._kept):
            return
        context = Context(
            self.facts[candidate.fact_id],
            [other.alternate for other in accepted],
            candidate.origin,
            *self._shortfall(candidate.fact_id, score),
        )
        passed = self._passes(RIVAL_CHECKS, candidate, context)
        if passed is not None:
            names = tuple(name for name in SHAPE_CHECKS if name not in self._skipped(candidate.origin))
            accepted.append(Accepted(candidate.alternate, candidate.origin, names + passed))

    def _passes(self, checks: Mapping[str, Check], candidate: Candidate, context: Context) -> tuple[str, ...] | None:
        """Return the names of the checks that hold, or None after noting the first that does not."""
        skipped = self._skipped(candidate.origin)
        for name, check in checks.items():
            reason = None if name in skipped else check(candidate.alternate, context)
            if reason is not None:
                fact_id, alternate, origin = candidate
                self.rejected.append(Rejected(fact_id, alternate, origin, f"{name}: {reason}"))
                return None
        return tuple(name for name in checks if name not in skipped)

    def _skipped(self, origin: str) -> frozenset[str]:
        return self._waived | WAIVED.get(origin, frozenset())

    def _score(self, candidates: Sequence[Candidate]) -> list[float | None]:
        """Return the mean log-probability of each response, and remember them as what is typical."""
        if not candidates or "plausible" in self._waived:
            return [None] * len(candidates)
        facts = [self.facts[candidate.fact_id] for candidate in candidates]
        pairs = [
            (fact.prompt, self._respond(fact, candidate.alternate))
            for fact, candidate in zip(facts, candidates, strict=True)
        ]
        scores = [scored.mean_log_prob for scored in self._model.score(pairs)]
        for candidate, score in zip(candidates, scores, strict=True):
            self._scores[candidate.fact_id].append(score)
        return list(scores)

    def _shortfall(self, fact_id: str, score: float | None) -> tuple[float | None, float]:
        """Return how far a score lies below the median of its fact, and how far it may."""
        own = self._scores[fact_id]
        if score is None or len(own) < _TYPICAL_OF:
            return None, MAX_SHORTFALL
        typical = median(own)
        deviation = median(abs(other - typical) for other in own)
        return typical - score, max(MAX_SHORTFALL, MAX_DEVIATIONS * deviation)


def _content(text: str) -> str:
    """Return ``text`` without short function words, which say nothing: "da Vinci" is "Vinci"."""
    words = [word for word in normalise(text).split() if word not in _SHORT_WORDS]
    return " ".join(words) or normalise(text)


def _rounds_to(alternate: str, answer: str) -> bool:
    """Return whether a number equals the answer at the answer's precision: 100.14 is 100, 3.1416 is 3.14."""
    mine, theirs = _NUMBER.search(alternate.replace(",", "")), _NUMBER.search(answer.replace(",", ""))
    if kind_of(answer) != Kind.NUMBER or mine is None or theirs is None:
        return False
    decimals = len(theirs[0].partition(".")[2])
    return round(float(mine[0]), decimals) == float(theirs[0])


def _surname(answer: str, prompt: str) -> str | None:
    """Return the last name of a person's full name; None for what is no full name of a person."""
    words = [word for word in normalise(answer).split() if word not in {"jr", "sr", "ii", "iii", "iv"}]
    is_person = len(words) > 1 and kind_of(answer, prompt) == Kind.PERSON
    return words[-1] if is_person else None
