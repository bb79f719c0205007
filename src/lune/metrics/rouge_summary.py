"""ROUGE-L recall at summary level over sets of words, as the Python package ``rouge`` 1.0.1 computes it.

It is what RWKU (arXiv 2406.10890) scores answers with, and differs from the usual sentence-level ROUGE-L: a text is cut
into sentences at every full stop, words are what stands between spaces (case and punctuation count), and repeated words
count once. With LCS(r, c) the words of one longest common subsequence of a reference sentence r and an answer's
sentence c,

    recall = |union over r, c of LCS(r, c)| / |distinct words of the reference|

Where several subsequences are equally long, the package's way back through the table decides.
"""

from __future__ import annotations

from collections.abc import Sequence


def rouge_l_recall(answer: str, reference: str) -> float:
    """Return the recall of ``reference`` in ``answer``, from 0 to 1.

    A text of nothing but full stops has no sentence; the package refuses it, here the recall is 0.
    """
    said, wanted = _sentences(answer), _sentences(reference)
    distinct = {word for sentence in wanted for word in sentence}
    common = {word for each in wanted for other in said for word in _longest_common(each, other)}
    return len(common) / len(distinct) if distinct else 0.0


def _sentences(text: str) -> list[list[str]]:
    """Return the words of each sentence; one of blanks alone has a single empty word, as in the package."""
    return [" ".join(piece.split()).split(" ") for piece in text.split(".") if piece]


def _longest_common(left: Sequence[str], right: Sequence[str]) -> set[str]:
    """Return the words of the longest common subsequence, going back to the right's start where both ways are equal."""
    table = [[0] * (len(right) + 1) for _ in range(len(left) + 1)]
    for row, word in enumerate(left, start=1):
        for column, other in enumerate(right, start=1):
            if word == other:
                table[row][column] = table[row - 1][column - 1] + 1
            else:
                table[row][column] = max(table[row - 1][column], table[row][column - 1])
    words: set[str] = set()
    row, column = len(left), len(right)
    while row and column:
        if left[row - 1] == right[column - 1]:
            words.add(left[row - 1])
            row, column = row - 1, column - 1
        elif table[row - 1][column] > table[row][column - 1]:
            row -= 1
        else:
            column -= 1
    return words
