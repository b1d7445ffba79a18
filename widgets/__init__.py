"""Explorers: Jupyter widgets that look inside a record of the workbench.

``widgets.explore(record)`` picks the explorer by the record's type. ``import widgets`` is instant: ipywidgets, torch and
the explorers load when the first one is asked for.
"""

from typing import TYPE_CHECKING

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "dispatch": ["explore"],
        "explorer": ["Explorer", "versions"],
        "features": ["FeatureSimilarityExplorer"],
        "jobs": ["Job"],
        "question": ["Question"],
        "training": ["TrainingExplorer"],
    },
)

if TYPE_CHECKING:
    from widgets.dispatch import explore
    from widgets.explorer import Explorer, versions
    from widgets.features import FeatureSimilarityExplorer
    from widgets.jobs import Job
    from widgets.question import Question
    from widgets.training import TrainingExplorer
