"""scikit-learn's own checks of an estimator."""

from sklearn.utils.estimator_checks import parametrize_with_checks

from workbench.gp import SelfDistilledGPC, SelfDistilledGPR


@parametrize_with_checks([
    SelfDistilledGPR(),
    SelfDistilledGPR(approach="distribution", hyperparameters="fixed", normalize_y=True, mixing=0.0),
    SelfDistilledGPC(hyperparameters="fixed"),
])  # fmt: skip
def test_scikit_learn(estimator, check):
    check(estimator)
