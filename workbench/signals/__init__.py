"""What a student may be told: signals compare its outputs with a teacher's, and add up with weights; for every family.

Response   `CrossEntropy` `KL` `LogitRegression` `DIST`
Feature    `Hint` `AttentionTransfer` `NST` `Adversarial`
Relation   `FSP` `RKDDistance` `RKDAngle` `SimilarityPreserving` `CRD`

The signals that papers of the catalogue propose stand with these in `workbench.knowledge`.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
