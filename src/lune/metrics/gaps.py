"""How far a membership AUC is from that of a model that was retrained without the forget set.

What ideal forgetting looks like is not an AUC of 0.5 but that of a model which never saw the forget set: the two sets
of texts may differ by themselves. With AUC as in ``lune.metrics.membership``, 1 where every member looks more like
training data than every non-member:

    PrivLeak  = 100 ((1 - AUC) - (1 - AUC_ref)) / (1 - AUC_ref)     (MUSE, Shi et al., arXiv 2407.06460)
    distance  = |AUC - AUC_ref|

MUSE's AUC counts the other way round, hence the 1 - AUC. PrivLeak 0 is ideal, below 0 the texts are still recognised
(under-unlearning; -100 at AUC 1), above 0 they are recognisable as removed (over-unlearning).
"""

from __future__ import annotations


def privacy_leak(auc: float | None, reference_auc: float | None) -> float | None:
    """Return PrivLeak in per cent; None where an AUC is missing, or the reference recognises every member."""
    if auc is None or reference_auc is None or reference_auc >= 1:
        return None
    return 100 * (reference_auc - auc) / (1 - reference_auc)


def auc_distance(auc: float | None, reference_auc: float | None) -> float | None:
    """Return |AUC - AUC of the reference|, from 0, which is ideal, to 1; None where an AUC is missing."""
    return None if auc is None or reference_auc is None else abs(auc - reference_auc)
