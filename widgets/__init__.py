"""Explorers: Jupyter widgets that look inside a record of the workbench.

``widgets.explore(record)`` picks the explorer by the record's type. ``import widgets`` is instant: ipywidgets, torch
and the explorers load when the first one is asked for.
"""

from typing import TYPE_CHECKING

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach(
    __name__,
    submod_attrs={
        "dispatch": ["explore"],
        "distilled": ["DistilledImagesExplorer"],
        "explorer": ["Explorer", "versions"],
        "features": ["FeatureSimilarityExplorer"],
        "jobs": ["Job"],
        "posterior": ["PosteriorExplorer"],
        "question": ["Question"],
        "targets": ["TargetTrajectoryExplorer"],
        "training": ["TrainingExplorer"],
    },
)

if TYPE_CHECKING:
    from widgets.dispatch import explore as explore
    from widgets.distilled import DistilledImagesExplorer as DistilledImagesExplorer
    from widgets.explorer import Explorer as Explorer
    from widgets.explorer import versions as versions
    from widgets.features import FeatureSimilarityExplorer as FeatureSimilarityExplorer
    from widgets.jobs import Job as Job
    from widgets.posterior import PosteriorExplorer as PosteriorExplorer
    from widgets.question import Question as Question
    from widgets.targets import TargetTrajectoryExplorer as TargetTrajectoryExplorer
    from widgets.training import TrainingExplorer as TrainingExplorer
