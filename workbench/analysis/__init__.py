"""Looking at trained networks: how similar, how calibrated, how faithful, and which example it hangs on."""

from workbench.analysis.attribution import attribute
from workbench.analysis.calibration import calibration
from workbench.analysis.cka import cka
from workbench.analysis.curvature import hessian_trace, trace_of
from workbench.analysis.dominance import dominant_examples
from workbench.analysis.families import MatchedAgreement, agreement_at_matched_accuracy, agreement_matrix
from workbench.analysis.fidelity import agreement, agreement_of_logits
from workbench.analysis.hsic_sums import HSICSums
from workbench.analysis.layers import default_layers
from workbench.analysis.mutual_knn import MutualKNN
from workbench.analysis.nearest import nearest
from workbench.analysis.per_example import loss_and_gradient_norm
from workbench.analysis.probes import linear_probes
from workbench.analysis.procrustes import Procrustes
from workbench.analysis.pwcca import PWCCA
from workbench.analysis.rsa import RSA
from workbench.analysis.similarity import Measure, similarity
from workbench.analysis.svcca import SVCCA
from workbench.analysis.temperature import Temperature, fit_temperature

__all__ = [
    "PWCCA",
    "RSA",
    "SVCCA",
    "HSICSums",
    "MatchedAgreement",
    "Measure",
    "MutualKNN",
    "Procrustes",
    "Temperature",
    "agreement",
    "agreement_at_matched_accuracy",
    "agreement_matrix",
    "agreement_of_logits",
    "attribute",
    "calibration",
    "cka",
    "default_layers",
    "dominant_examples",
    "fit_temperature",
    "hessian_trace",
    "linear_probes",
    "loss_and_gradient_norm",
    "nearest",
    "similarity",
    "trace_of",
]
