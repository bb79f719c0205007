"""Asking probes and counting: the same functions before, during and after training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lune.answer_store import AnswerStore, Question
from lune.language_model import MAX_NEW_TOKENS, PROBE_TOKENS, LanguageModel, TokenScores
from lune.metrics import summarise
from lune.metrics.membership import LOWEST_SHARE, ScoredText, membership_within
from lune.records import Answered, Fact, Probe
from lune.text import contains, is_degenerate
from lune.training.steering import DevScores
from lune.wording import response_for

Texts = tuple[Sequence[tuple[str, str]], Sequence[tuple[str, str]]]
"""Members and non-members of a membership attack, each (prompt, response)."""


class RememberedAnswers:
    """The base model, asked nothing twice: greedy answers by prompt, samples and scores by what was asked together."""

    def __init__(self, model: LanguageModel, store: AnswerStore | None = None) -> None:
        """Wrap ``model``, which must not change afterwards; ``store`` remembers its greedy answers on disk as well."""
        self._model = model
        self._store = store
        self._answers: dict[Question, str] = {}
        self._samples: dict[tuple[object, ...], list[list[str]]] = {}
        self._scores: dict[tuple[tuple[str, str], ...], list[TokenScores]] = {}

    def answer(
        self, prompts: Sequence[str], *, max_new_tokens: int = MAX_NEW_TOKENS, system: str | None = None
    ) -> list[str]:
        """Return the greedy answer to each prompt, computing only those not asked before."""
        asked: list[Question] = [(prompt, max_new_tokens, system) for prompt in prompts]
        if self._store and any(question not in self._answers for question in asked):
            self._answers |= self._store.find(asked)
        if new := [question for question in dict.fromkeys(asked) if question not in self._answers]:
            texts = self._model.answer([each[0] for each in new], max_new_tokens=max_new_tokens, system=system)
            found = dict(zip(new, texts, strict=True))
            self._answers |= found
            if self._store:
                self._store.keep(found)
        return [self._answers[question] for question in asked]

    def sample(
        self,
        prompts: Sequence[str],
        *,
        count: int,
        seed: int,
        temperature: float = 1.0,
        max_new_tokens: int = MAX_NEW_TOKENS,
        system: str | None = None,
        banned: Sequence[str] = (),
    ) -> list[list[str]]:
        """Return sampled answers, those of an equal call where there was one."""
        key = (tuple(prompts), count, seed, temperature, max_new_tokens, system, tuple(banned))
        if key not in self._samples:
            self._samples[key] = self._model.sample(
                prompts,
                count=count,
                seed=seed,
                temperature=temperature,
                max_new_tokens=max_new_tokens,
                system=system,
                banned=banned,
            )
        return [list(texts) for texts in self._samples[key]]

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[TokenScores]:
        """Return token scores, those of an equal call where there was one."""
        key = tuple(pairs)
        if key not in self._scores:
            self._scores[key] = self._model.score(pairs)
        return list(self._scores[key])


def ask(model: LanguageModel, probes: Sequence[Probe]) -> dict[str, str]:
    """Return the greedy answer to each probe by probe id."""
    texts = model.answer([probe.prompt for probe in probes], max_new_tokens=PROBE_TOKENS)
    return dict(zip((probe.id for probe in probes), texts, strict=True))


def answered(probes: Sequence[Probe], before: Mapping[str, str], after: Mapping[str, str]) -> list[Answered]:
    """Return the probes with their answers and whether each contains the expected one."""
    return [
        Answered(
            probe,
            before[probe.id],
            after[probe.id],
            contains(before[probe.id], probe.expected),
            contains(after[probe.id], probe.expected),
        )
        for probe in probes
    ]


def probe_scores(
    probes: Sequence[Probe], answers: Sequence[str], before: Mapping[str, tuple[str, bool]]
) -> dict[str, float | None]:
    """Return the scores of a model's answers to the probes of a file.

    What the base model knew decides which probes count towards a score. Where that is not told, the scores are the
    shares of answers that contain the expected one, by kind of probe: ``contains_expected.KIND``.

    Args:
        probes: The probes, of one split.
        answers: The model's answers, in the same order.
        before: Probe id to the base model's answer and whether it was right, for every probe; empty when not known.
    """
    right = [contains(text, probe.expected) for probe, text in zip(probes, answers, strict=True)]
    if not before:
        kinds = dict.fromkeys(probe.kind for probe in probes)
        hits = {kind: [hit for hit, probe in zip(right, probes, strict=True) if probe.kind == kind] for kind in kinds}
        return {f"contains_expected.{kind}": sum(each) / len(each) for kind, each in hits.items()}
    rows = [
        Answered(probe, before[probe.id][0], text, before[probe.id][1], hit)
        for probe, text, hit in zip(probes, answers, right, strict=True)
    ]
    known = {row.probe.fact_id for row in rows if row.probe.kind == "direct" and row.correct_before} - {None}
    after = summarise(rows, {str(name) for name in known}, {})["after"]
    return {
        "usr": after["usr"],
        "paraphrase_usr": after["paraphrase_usr"],
        "apr": after["apr"],
        "gur_neighbour": after["gur_neighbour"],
        "gur_general": after["gur_general"],
        "gur": after["gur"],
        "degenerate_rate": after["degenerate_rate"],
    }


def known_facts(facts: Sequence[Fact], model: LanguageModel) -> list[Fact]:
    """Return the facts whose direct prompt the base model answers rightly."""
    texts = model.answer([fact.prompt for fact in facts], max_new_tokens=PROBE_TOKENS)
    return [fact for fact, text in zip(facts, texts, strict=True) if contains(text, fact.spellings)]


def dev_scores(model: LanguageModel, probes: Sequence[Probe]) -> DevScores:
    """Return the scores on dev probes; the neighbour and general ones must be those the base model got right."""
    texts = model.answer([probe.prompt for probe in probes], max_new_tokens=PROBE_TOKENS)
    right = [contains(text, probe.expected) for text, probe in zip(texts, probes, strict=True)]

    def share(kind: str) -> float | None:
        hits = [hit for hit, probe in zip(right, probes, strict=True) if probe.kind == kind]
        return sum(hits) / len(hits) if hits else None

    return DevScores(
        usr=1 - (share("paraphrase") or 0.0),
        apr=1 - (share("adversarial") or 0.0),
        gur_neighbour=share("neighbour"),
        gur_general=share("general"),
        degenerate=sum(map(is_degenerate, texts)) / max(1, len(texts)),
    )


def membership_texts(facts: Sequence[Fact], held_out: Mapping[str, Sequence[str]]) -> list[Texts]:
    """Return the texts of a membership attack by fact: its true answer against valid ones that were never trained.

    They are whole sentences where the prompt's answer is one, as the model says them and training wrote them. A real
    request has no texts that the base model never read; docs/metrics.md says what this can and cannot show.

    Args:
        facts: The facts the model knew.
        held_out: Valid alternates that no training saw, by fact id; a fact without one is left out.
    """

    def texts(fact: Fact, answers: Sequence[str]) -> list[tuple[str, str]]:
        return [(fact.prompt, response_for(fact.prompt, answer, subject=fact.subject)) for answer in answers]

    return [(texts(fact, [fact.answer]), texts(fact, held_out[fact.id])) for fact in facts if held_out.get(fact.id)]


def infer_membership(
    model: LanguageModel, groups: Sequence[Texts], *, lowest: float = LOWEST_SHARE
) -> dict[str, dict[str, float | None]]:
    """Return the scores of the membership attacks, members compared with the non-members of their own group only.

    Args:
        model: The model attacked; all texts are scored in one call.
        groups: The texts of each fact, or one group of a benchmark's own.
        lowest: Share of the tokens that min-k and min-k++ look at.
    """
    pairs = list(dict.fromkeys(pair for group in groups for side in group for pair in side))
    if not pairs:
        return {}
    scores = {pair: _of_the_answer(pair[0], scored) for pair, scored in zip(pairs, model.score(pairs), strict=True)}

    def scored(side: Sequence[tuple[str, str]]) -> list[ScoredText]:
        return [(pair[1], scores[pair]) for pair in side]

    return membership_within([(scored(members), scored(others)) for members, others in groups], lowest=lowest)


def _of_the_answer(prompt: str, scores: TokenScores) -> TokenScores:
    """Return the scores without the end of turn, which only a response to a prompt has, not a raw text."""
    return scores.without_end() if prompt else scores
