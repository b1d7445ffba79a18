"""Distillation Workbench: every known way of moving what one thing knows into another, at a scale you can touch.

>>> import workbench as wb
>>> digits = wb.data.load("digits")
>>> len(digits.classes)
10

Submodules load on first use, so ``import workbench`` is instant and torch is imported only when something needs it.
"""

from typing import TYPE_CHECKING

import lazy_loader as _lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submodules=[
        "analysis",
        "condensation",
        "data",
        "diffusion",
        "gp",
        "kernels",
        "knowledge",
        "models",
        "records",
        "studies",
        "sweeps",
        "training",
    ],
)

if TYPE_CHECKING:
    from workbench import (  # noqa: F401
        analysis,
        condensation,
        data,
        diffusion,
        gp,
        kernels,
        knowledge,
        models,
        records,
        studies,
        sweeps,
        training,
    )
