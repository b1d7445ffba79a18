"""Distillation Workbench: every known way of moving what one thing knows into another, at a scale you can touch.

>>> import workbench as wb
>>> digits = wb.data.load("digits")
>>> len(digits.classes)
10

Submodules load on first use, so ``import workbench`` is instant and torch is imported only when something needs it.
"""

import lazy_loader as _lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
