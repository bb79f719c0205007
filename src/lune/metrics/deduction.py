"""Deep unlearning: is a removed fact still deducible from what was kept, and how much more had to go for it?

EDU-RELAT (arXiv 2410.15153). Relations are edges (source, target, relation), read "target is source's relation", and
rules are Horn clauses over them, such as

    (0, "child", 2) and (0, "brother", 1)  =>  (2, "uncle", 1)

The *deductive closure* of a set of edges holds all that follows from it by the rules. A fact is unlearned
*superficially* when its own question is answered wrongly, and *deeply* when it is not in the closure of what is still
answered rightly. With U the relations answered wrongly, out of R, and M a minimal set whose loss unlearns deeply:

    recall(M) = |U & M| / |M|            accuracy(M) = 1 - |U - M| / (R - |M|)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

Edge = tuple[int, int, str]
"""(source, target, relation): target is source's relation."""

Atom = tuple[int, str, int]
"""(variable, relation, variable): the second is the first's relation."""

# Whom a relation can be said of; relations that are not here can be anybody's.
_GENDER = {
    **dict.fromkeys(("husband", "uncle", "father", "brother", "nephew"), "male"),
    **dict.fromkeys(("wife", "aunt", "mother", "sister", "niece"), "female"),
}
_GENDER_OF_SPOUSE = {"husband": "female", "wife": "male"}


@dataclass(frozen=True)
class HornRule:
    """A rule: where all atoms of ``body`` hold, ``head`` holds."""

    body: tuple[Atom, ...]
    head: Atom


@dataclass(frozen=True)
class DeepScores:
    """How far one fact was unlearned deeply, and at what cost.

    Attributes:
        recall: Largest share of a minimal set that was lost.
        acc_rel: Share of the relations outside that set that were kept.
        acc_bio: Share of the biographic facts that were kept.
        acc_all: Share of all facts outside that set that were kept.
        minimal_set: The set these are measured with.
    """

    recall: float
    acc_rel: float
    acc_bio: float
    acc_all: float
    minimal_set: tuple[int, ...]


def deductive_closure(edges: Iterable[Edge], rules: Sequence[HornRule], genders: Sequence[str]) -> list[Edge]:
    """Return ``edges`` followed by all that can be deduced from them, in the order of deduction.

    A deduced edge is taken only when it can be said of that person (a husband, uncle, father, brother or nephew is
    male; a wife, aunt, mother, sister or niece female; spouses differ) and no one is their own relative.

    Args:
        edges: What is known.
        rules: Horn clauses whose body is connected or not; all variables of the head occur in the body.
        genders: ``male`` or ``female`` of each person, by index.
    """
    known = dict.fromkeys(edges)
    found = True
    while found:
        found = False
        for rule in rules:
            new = [edge for edge in _consequences(rule, known) if edge not in known and _sensible(edge, genders)]
            known.update(dict.fromkeys(new))
            found = found or bool(new)
    return list(known)


def deeply_unlearned(
    fact: int,
    relations_correct: Sequence[bool],
    edges: Sequence[Edge],
    rules: Sequence[HornRule],
    genders: Sequence[str],
) -> bool:
    """Return whether edge number ``fact`` is neither answered rightly nor deducible from the edges that are."""
    kept = [edge for edge, correct in zip(edges, relations_correct, strict=True) if correct]
    return edges[fact] not in deductive_closure(kept, rules, genders)


def deep_scores(
    relations_correct: Sequence[bool], biographies_correct: Sequence[bool], minimal_sets: Iterable[frozenset[int]]
) -> DeepScores:
    """Return recall and the accuracies with the minimal set of highest recall.

    Where several sets have that recall, the one of higher ``acc_rel`` counts, and of those the first in the order of
    their fact ids: the published code takes whichever its set yields first, which differs from run to run.

    Args:
        relations_correct: For each relation whether it is answered rightly.
        biographies_correct: The same for the biographic facts.
        minimal_sets: The minimal deep-unlearning sets of the removed fact, as indices of relations.
    """
    relations, wrong = len(relations_correct), {i for i, correct in enumerate(relations_correct) if not correct}

    def recall(facts: frozenset[int]) -> float:
        return len(wrong & facts) / len(facts)

    def accuracy(facts: frozenset[int]) -> float:
        return 1 - len(wrong - facts) / (relations - len(facts))

    ordered = sorted(minimal_sets, key=sorted)
    best = max(ordered, key=lambda facts: (recall(facts), accuracy(facts)))
    acc_rel, biographies = accuracy(best), len(biographies_correct)
    acc_bio = sum(biographies_correct) / biographies
    acc_all = (biographies * acc_bio + (relations - len(best)) * acc_rel) / (relations + biographies - len(best))
    return DeepScores(recall(best), acc_rel, acc_bio, acc_all, tuple(sorted(best)))


def _sensible(edge: Edge, genders: Sequence[str]) -> bool:
    source, target, relation = edge
    if source == target:
        return False
    wanted, other = _GENDER.get(relation), _GENDER_OF_SPOUSE.get(relation)
    return wanted in (None, genders[target]) and other in (None, genders[source])


def _consequences(rule: HornRule, known: Iterable[Edge]) -> list[Edge]:
    """Return the head of ``rule`` for every way in which its body holds."""
    index = _index(known)
    bindings: list[dict[int, int]] = [{}]
    for left, relation, right in rule.body:
        bindings = [
            {**binding, left: source, right: target}
            for binding in bindings
            for source, target in index.get((relation, binding.get(left), binding.get(right)), [])
            if left != right or source == target
        ]
    left, relation, right = rule.head
    return list(dict.fromkeys((binding[left], binding[right], relation) for binding in bindings))


def _index(known: Iterable[Edge]) -> dict[tuple[str, int | None, int | None], list[tuple[int, int]]]:
    """Return the edges by relation and by whichever of their ends is given; None stands for any."""
    index: dict[tuple[str, int | None, int | None], list[tuple[int, int]]] = defaultdict(list)
    for source, target, relation in known:
        for key in product((relation,), (source, None), (target, None)):
            index[key].append((source, target))
    return index
