"""Networks to networks: knowledge distillation. `distill` trains a student on a signal; signals add up with weights.

Response       `CrossEntropy` `KL` `LogitRegression` `DIST` `DKD` `MLKD` `PLD` `ListMLE` `PListMLE` `TeacherPListMLE`
               `BornAgain` `CWTM` `DKPP` `Hinton` (labels and soft labels in balance, at any temperature)
               `OFA` (exits at every stage) `BalancedKL` `AugmentedKD` (with `OnViews`, `Views`)
               `LELP` (subclasses; with `Summed`) `JS` (in the recipe `SSLD`: labelled data and a pool)
               `KDPruning` (on `pruned` data) `Weighted` (by example), by influence in `KDAIF`
               `DistillNearest` `DistillWeighted` (a zoo of `Source`s with other classes)
Feature        `Hint` `AttentionTransfer` `NST` `Adversarial` `VID` `VKD` `ReviewKD` `SimKD` (with `reuse`)
Relation       `FSP` `RKDDistance` `RKDAngle` `SimilarityPreserving` `PKT` `CRD` `MemoryCRD`
Online, self   `train_together` (`Mutual`, `BDKD`, `KDCL`), `generations`, `OwnTeacher`
Teachers       `Committee` (several as one), `assistants` (a chain), `auto_multistep` (finds one: `AMD`),
               `OldClasses` (the network of yesterday), `Oracle` (can only be asked, up to a budget)
Black box      `emulate`, `questions`, `MEKD` (answers compared as images)
Shifted pool   `distil_from_web`, `KD3` (only pictures crawled from the web)
Another form   `DistilledTree`, `distil_tree` (one decision tree, a scikit-learn estimator)
Active         `ask_actively` (a list of `Asking`s), by `RAD`, `Uniform`, `Margin` or `Entropy`

`taxonomy` is the survey's map of them: what knowledge, when, how, and which changes each signal does not see.
"""

from typing import Any as _Any

import lazy_loader as _lazy

from workbench.signals.aliases import unknown as _unknown

_found, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)


def __getattr__(name: str) -> _Any:
    try:
        return _found(name)
    except AttributeError as error:
        raise _unknown(__name__, name, error) from None
