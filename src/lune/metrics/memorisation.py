"""How much of a text a model still writes by itself: exact memorisation and extraction strength.

Both look at which tokens y_1 ... y_n of a response are the model's likeliest, given the prompt and the *true* tokens
before each (teacher forcing), so one forward pass serves all texts:

    exact memorisation   (1 / n) sum_t [argmax p(. | y_<t) = y_t]     (Tirumala et al., arXiv 2205.10770)
    extraction strength  1 - k / n, with k the shortest prefix of the response after which every token is right
                         (Carlini et al., arXiv 2012.07805, as a strength in Wang et al., arXiv 2406.09179 and
                         in open-unlearning)

The end of turn is not counted, as in open-unlearning. One thing differs from it: where even the last token is wrong,
k = n and the strength is 0, as published; its loop ends at k = n - 1 and gives 1 / n.
"""

from __future__ import annotations

from collections.abc import Sequence


def exact_memorisation(correct: Sequence[bool]) -> float | None:
    """Return the share of right tokens; None without any token."""
    return sum(correct) / len(correct) if correct else None


def extraction_strength(correct: Sequence[bool]) -> float | None:
    """Return the share of the text that follows its last wrong token; None without any token."""
    if not correct:
        return None
    wrong = [place for place, right in enumerate(correct) if not right]
    needed = wrong[-1] + 1 if wrong else 0
    return 1 - needed / len(correct)
