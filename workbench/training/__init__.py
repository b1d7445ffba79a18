"""Training: one network (`fit`) or many as one (`Ensemble`), with curves, snapshots, interruption and resumption."""

from workbench.training.augment import Augmentation, Crop, Cutout, Flip, Noise, Rotate, Shift
from workbench.training.ensemble import Ensemble
from workbench.training.evaluating import evaluate
from workbench.training.fit import fit
from workbench.training.guide import Guide
from workbench.training.loop import TrainingError

__all__ = [
    "Augmentation",
    "Crop",
    "Cutout",
    "Ensemble",
    "Flip",
    "Guide",
    "Noise",
    "Rotate",
    "Shift",
    "TrainingError",
    "evaluate",
    "fit",
]
