"""Deductive closure, and recall and accuracy over minimal sets."""

from __future__ import annotations

import pytest

from lune.metrics.deduction import HornRule, deductive_closure, deep_scores, deeply_unlearned

WIFE_TO_HUSBAND = HornRule(((0, "wife", 1),), (1, "husband", 0))
PARENTS_MARRIED = HornRule(((0, "father", 1), (0, "mother", 2)), (2, "husband", 1))
SIBLING = HornRule(((0, "child", 1), (0, "child", 2)), (1, "brother", 2))
UNCLE = HornRule(((0, "child", 2), (0, "brother", 1)), (2, "uncle", 1))
FEMALE, MALE = "female", "male"


def test_the_closure_chains_rules_and_keeps_what_is_known_first() -> None:
    edges = [(2, 1, "father"), (2, 0, "mother"), (1, 3, "brother"), (1, 2, "child")]
    rules = [UNCLE, PARENTS_MARRIED]
    closure = deductive_closure(edges, rules, [FEMALE, MALE, FEMALE, MALE])
    assert closure[:4] == edges
    assert set(closure[4:]) == {(0, 1, "husband"), (2, 3, "uncle")}


def test_a_second_pass_uses_what_the_first_found() -> None:
    husband_to_wife = HornRule(((0, "husband", 1),), (1, "wife", 0))
    edges = [(2, 1, "father"), (2, 0, "mother")]
    closure = deductive_closure(edges, [husband_to_wife, PARENTS_MARRIED], [FEMALE, MALE, FEMALE])
    assert set(closure[2:]) == {(0, 1, "husband"), (1, 0, "wife")}


@pytest.mark.parametrize(
    ("genders", "deduced"),
    [
        ([MALE, FEMALE], [(1, 0, "husband")]),
        ([FEMALE, FEMALE], []),  # a husband is male
        ([MALE, MALE], []),  # and has a wife
    ],
)
def test_relations_fit_the_genders(genders: list[str], deduced: list[tuple[int, int, str]]) -> None:
    assert deductive_closure([(0, 1, "wife")], [WIFE_TO_HUSBAND], genders)[1:] == deduced


def test_nobody_is_their_own_brother_and_sisters_are_no_brothers() -> None:
    closure = deductive_closure([(0, 1, "child"), (0, 2, "child")], [SIBLING], [FEMALE, MALE, FEMALE])
    assert closure[2:] == [(2, 1, "brother")]


def test_a_rule_joins_edges_of_the_same_person_only() -> None:
    genders = [MALE] * 5
    apart = [(0, 1, "child"), (2, 3, "brother")]
    assert deductive_closure(apart, [UNCLE], genders) == apart
    assert deductive_closure([*apart, (0, 4, "brother")], [UNCLE], genders)[3:] == [(1, 4, "uncle")]


def test_a_variable_stands_for_the_same_person_throughout() -> None:
    own_friend = HornRule(((0, "friend", 0), (0, "child", 1)), (1, "guest", 0))
    edges = [(0, 1, "friend"), (1, 3, "child"), (2, 2, "friend"), (2, 4, "child")]
    assert deductive_closure(edges, [own_friend], [MALE] * 5)[4:] == [(4, 2, "guest")]


def test_a_misspelled_relation_never_fires() -> None:
    misspelled = HornRule(((0, "newphe", 1),), (1, "uncle", 0))
    edges = [(0, 1, "nephew")]
    assert deductive_closure(edges, [misspelled], [MALE, MALE]) == edges


def test_deeply_unlearned_means_not_in_the_closure_of_what_is_still_right() -> None:
    edges = [(0, 1, "husband"), (1, 0, "wife")]
    genders = [FEMALE, MALE]
    assert not deeply_unlearned(0, [False, True], edges, [WIFE_TO_HUSBAND], genders)
    assert deeply_unlearned(0, [False, False], edges, [WIFE_TO_HUSBAND], genders)
    assert not deeply_unlearned(0, [True, False], edges, [WIFE_TO_HUSBAND], genders)


def test_the_published_example_by_its_counts() -> None:
    """400 relations of which 100 are right, 300 biographies of which 7 are, one minimal set of four with three lost.

    Recall 3/4; 297 of the 396 others lost; the authors' script prints 0.75, 0.25, 0.0233333, 0.1522989.
    """
    minimal = frozenset({75, 272, 347, 379})
    lost_outside = [each for each in range(400) if each not in minimal][:297]
    wrong = {75, 272, 347, *lost_outside}
    correct = [each not in wrong for each in range(400)]
    assert sum(correct) == 100
    scores = deep_scores(correct, [each < 7 for each in range(300)], {minimal, frozenset({231, 272, 319, 379})})
    assert (scores.recall, scores.acc_rel) == (0.75, 0.25)
    assert scores.acc_bio == pytest.approx(0.0233333, abs=1e-7)
    assert scores.acc_all == pytest.approx(0.1522989, abs=1e-7)


def test_ties_of_recall_go_to_the_higher_accuracy_then_to_the_first_ids() -> None:
    correct = [True, True, False, False, True, True, True]
    # Both are half lost; of the others 4 in 5 and 3 in 3 are kept.
    unequal = deep_scores(correct, [True], [frozenset({0, 2}), frozenset({2, 3, 4, 5})])
    assert (unequal.recall, unequal.acc_rel, unequal.minimal_set) == (0.5, 1.0, (2, 3, 4, 5))
    equal = deep_scores(correct, [True], [frozenset({3, 4}), frozenset({0, 2})])
    assert (equal.recall, equal.acc_rel, equal.minimal_set) == (0.5, pytest.approx(0.8), (0, 2))
