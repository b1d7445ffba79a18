"""The record types: what a run leaves behind, and the one contract between computing and drawing.

`open` reads any of them; each has `save`, `summary` and `to_frame`.
"""

from workbench.records.adapter import Adapter
from workbench.records.base import Provenance, Record, RecordError, open  # noqa: A004 - read as `records.open(path)`
from workbench.records.checkpoint import Checkpoint
from workbench.records.crops import CropChoices
from workbench.records.diffusion import DiffusionModel
from workbench.records.distilled import DistilledSet
from workbench.records.evaluation import DistilledEvaluation
from workbench.records.hand_over import HandOver
from workbench.records.looking import DominantExamples, Fidelity, LayerProbes
from workbench.records.looks import Attribution, DistilledLooks
from workbench.records.posterior import PosteriorPath
from workbench.records.scaling import TemperatureScaling
from workbench.records.similarity import Examples, LayerViews, SimilarityMap
from workbench.records.solver import DistilledSolver
from workbench.records.study import Claim, StudyResult
from workbench.records.targets import TargetTrajectories
from workbench.records.training import Calibration, TrainingRecord

__all__ = [
    "Adapter",
    "Attribution",
    "Calibration",
    "Checkpoint",
    "Claim",
    "CropChoices",
    "DiffusionModel",
    "DistilledEvaluation",
    "DistilledLooks",
    "DistilledSet",
    "DistilledSolver",
    "DominantExamples",
    "Examples",
    "Fidelity",
    "HandOver",
    "LayerProbes",
    "LayerViews",
    "PosteriorPath",
    "Provenance",
    "Record",
    "RecordError",
    "SimilarityMap",
    "StudyResult",
    "TargetTrajectories",
    "TemperatureScaling",
    "TrainingRecord",
    "open",
]
