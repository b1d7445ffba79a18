"""ROUGE-L: how much of one text stands in another in the same order (Lin 2004)."""

from collections.abc import Hashable, Sequence


def rouge_l(candidate: Sequence[Hashable], reference: Sequence[Hashable]) -> float:
    """F1 of the longest common subsequence, 0..1.

    Parameters
    ----------
    candidate, reference
        Tokens: ``text.split()`` for words, a text itself for characters. Two empty ones are alike.

    Examples
    --------
    >>> rouge_l("police kill the gunman".split(), "police killed the gunman".split())
    0.75
    >>> rouge_l("abc", "")
    0.0
    """
    if not candidate and not reference:
        return 1.0
    row = [0] * (len(reference) + 1)
    for one in candidate:
        diagonal = 0
        for j, other in enumerate(reference, 1):
            diagonal, row[j] = row[j], diagonal + 1 if one == other else max(row[j], row[j - 1])
    common = row[-1]
    return 2 * common / (len(candidate) + len(reference))
