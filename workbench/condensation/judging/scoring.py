"""What trained networks said about the test split, as the record of an evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from workbench.analysis.calibration import calibration
from workbench.condensation.judging.teaching import Taught
from workbench.data import Split
from workbench.records import DistilledEvaluation

SETS = ("distilled", "random", "full")


def scored(
    results: Mapping[str, Mapping[str, Taught]], test: Split, seeds: Sequence[int], **fields: Any
) -> DistilledEvaluation:
    """The record of networks by architecture and by what they were trained on; what not all have is left out.

    Parameters
    ----------
    results
        Architecture → ``"distilled"``, ``"random"``, ``"full"`` → what its networks learned, one per seed.
    test
        The split that judged them.
    seeds
        Of the networks.
    **fields
        Further fields of the record.
    """
    labels, C = test.labels.cpu(), len(test.classes)
    one_hot = F.one_hot(labels, C).double()
    found = {which: _everywhere(results, which) for which in SETS}
    logits = {which: each for which, each in found.items() if each is not None}  # (K, S, n, C)
    kept = list(logits)
    predicted = {which: each.argmax(3) for which, each in logits.items()}
    right = {which: (each == labels).double() for which, each in predicted.items()}
    per_class = {which: each @ one_hot / one_hot.sum(0) for which, each in right.items()}
    accuracy = {which: each.mean(2) for which, each in right.items()}
    own = logits["distilled"]
    return DistilledEvaluation(
        networks=tuple(results),
        seeds=tuple(seeds),
        classes=test.classes,
        accuracy=accuracy["distilled"],
        full_accuracy=accuracy.get("full"),
        random_accuracy=accuracy.get("random"),
        per_class=per_class["distilled"],
        random_per_class=per_class.get("random"),
        confusion=torch.stack(
            [torch.bincount((labels * C + p).flatten(), minlength=C * C).view(C, C) for p in predicted["distilled"]]
        ),
        calibration=tuple(calibration(each.flatten(0, 1), labels.repeat(len(seeds))) for each in own),
        ece=torch.tensor([[calibration(one, labels).ece for one in each] for each in own], dtype=torch.float64),
        curves={w: torch.stack([reached[w].accuracy for reached in results.values()]) for w in kept},
        confidence={w: torch.stack([reached[w].confidence for reached in results.values()]) for w in kept},
        curve_steps={w: tuple(next(iter(results.values()))[w].steps) for w in kept},
        **fields,
    )


def _everywhere(results: Mapping[str, Mapping[str, Taught]], which: str) -> Tensor | None:
    """Logits (K, S, n, C) of the networks trained on one of the sets; None if an architecture lacks some."""
    each = [reached[which].logits for reached in results.values() if which in reached and reached[which].scored]
    return torch.stack(each) if len(each) == len(results) else None
