"""What a student may be told: signals compare its outputs with a teacher's, and add up with weights; for every family.

Response   `CrossEntropy` `KL` `LogitRegression` `DIST` `DKD` `MLKD`
Feature    `Hint` `AttentionTransfer` `NST` `Adversarial` `VID` `ReviewKD` `SimKD` (with `reuse`)
Relation   `FSP` `RKDDistance` `RKDAngle` `SimilarityPreserving` `PKT` `CRD` `MemoryCRD`

The signals that papers of the catalogue propose stand with these in `workbench.knowledge`.
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
