from .inference.bernoulli import ContinuousBernoulliLikelihood as ContinuousBernoulliLikelihood
from .inference.bernoulli import LogisticLikelihood as LogisticLikelihood
from .making.paths import redistill as redistill
from .methods.self_distilled_gpc import SelfDistilledGPC as SelfDistilledGPC
from .methods.self_distilled_gpr import SelfDistilledGPR as SelfDistilledGPR
