"""Networks to networks: knowledge distillation. `distill` trains a student on a signal; signals add up with weights.

Response       `CrossEntropy` `KL` `LogitRegression` `DIST` `PLD` `ListMLE` `PListMLE` `BornAgain` `CWTM` `DKPP`
               `OFA` (exits at every stage) `BalancedKL` `AugmentedKD` (with `OnViews`, `Views`)
Feature        `Hint` `AttentionTransfer` `NST` `Adversarial` `VKD`
Relation       `FSP` `RKDDistance` `RKDAngle` `SimilarityPreserving` `CRD`
Online, self   `train_together` (`Mutual`, `BDKD`, `KDCL`), `generations`, `OwnTeacher`
Teachers       `Committee` (several as one), `assistants` (a chain), `OldClasses` (the network of yesterday)

`taxonomy` is the survey's map of them: what knowledge, when, how, and which changes each signal does not see.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
