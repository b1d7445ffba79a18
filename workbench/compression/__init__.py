"""Networks into smaller ones: weights on a few levels.

Trained on fixed levels     `QD` (046; with a teacher quantised distillation, without one plain quantised training)
Levels that are learned     `DQ` (046; `allocate` parts levels among tensors by `gradient_norms`)
Quantised after the fact    `PM` (the baseline)

`compress` runs any of them, `compress_many` for many students at once; `size` counts bits.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
