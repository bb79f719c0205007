"""Asking probes and counting: the same functions before, during and after training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lune.language_model import MAX_NEW_TOKENS, LanguageModel, TokenScores
from lune.records import Answered, Fact, Probe
from lune.text import contains, is_degenerate
from lune.training.steering import DevScores


class RememberedAnswers:
    """The base model, asked nothing twice: greedy answers by prompt, samples and scores by what was asked together."""

    def __init__(self, model: LanguageModel) -> None:
        """Wrap ``model``, which must not change afterwards."""
        self._model = model
        self._answers: dict[tuple[str, int, str | None], str] = {}
        self._samples: dict[tuple[object, ...], list[list[str]]] = {}
        self._scores: dict[tuple[tuple[str, str], ...], list[TokenScores]] = {}

    def answer(
        self, prompts: Sequence[str], *, max_new_tokens: int = MAX_NEW_TOKENS, system: str | None = None
    ) -> list[str]:
        """Return the greedy answer to each prompt, computing only those not asked before."""
        new = [p for p in dict.fromkeys(prompts) if (p, max_new_tokens, system) not in self._answers]
        if new:
            for prompt, text in zip(
                new, self._model.answer(new, max_new_tokens=max_new_tokens, system=system), strict=True
            ):
                self._answers[prompt, max_new_tokens, system] = text
        return [self._answers[prompt, max_new_tokens, system] for prompt in prompts]

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
    return dict(zip((p.id for p in probes), model.answer([p.prompt for p in probes]), strict=True))


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


def known_facts(facts: Sequence[Fact], model: LanguageModel) -> list[Fact]:
    """Return the facts whose direct prompt the base model answers rightly."""
    texts = model.answer([fact.prompt for fact in facts])
    return [fact for fact, text in zip(facts, texts, strict=True) if contains(text, fact.spellings)]


def dev_scores(model: LanguageModel, probes: Sequence[Probe]) -> DevScores:
    """Return the scores on dev probes; the neighbour and general ones must be those the base model got right."""
    texts = model.answer([probe.prompt for probe in probes])
    right = [contains(text, probe.expected) for text, probe in zip(texts, probes, strict=True)]

    def share(kinds: set[str], wanted: bool) -> float:
        hits = [hit is wanted for hit, probe in zip(right, probes, strict=True) if probe.kind in kinds]
        return sum(hits) / len(hits) if hits else 1.0

    return DevScores(
        usr=share({"direct", "paraphrase"}, False),
        apr=share({"adversarial"}, False),
        gur_neighbour=share({"neighbour"}, True),
        gur_general=share({"general"}, True),
        degenerate=sum(map(is_degenerate, texts)) / max(1, len(texts)),
    )


def membership_pairs(
    facts: Sequence[Fact], alternates: Mapping[str, Sequence[str]]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the texts of a membership attack: (prompt, true answer) members, (prompt, alternate) non-members.

    A real request has no never-trained texts of the same kind, so the non-members are the same prompts with valid
    alternates; docs/metrics.md says what this can and cannot show.
    """
    members = [(fact.prompt, fact.answer) for fact in facts]
    others = [(fact.prompt, alternate) for fact in facts for alternate in alternates.get(fact.id, ())]
    return members, others
