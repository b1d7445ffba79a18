"""Every exact line of paper 108's card: what the tree splits on, what its leaves say, and that it is scikit-learn's."""

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.tree import DecisionTreeClassifier, export_text, plot_tree
from sklearn.utils.estimator_checks import check_estimator

import workbench as wb
from workbench.knowledge import DistilledTree, Oracle, distil_tree
from workbench.knowledge.methods import tree as trees

seeds = st.integers(0, 2**31 - 1)


def problem(seed, n=60, features=4, classes=3):
    random = np.random.default_rng(seed)
    X = random.normal(size=(n, features)).astype(np.float32)
    return X, random.normal(size=(n, classes)), np.arange(n) % classes


def grown(X, z, y, **settings):
    def teacher(rows):
        return np.array([z[np.flatnonzero((row == X).all(1))[0]] for row in rows])

    return DistilledTree(teacher, **settings).fit(X, y)


def splits(tree):
    return tree.tree_.feature.tolist(), tree.tree_.threshold.tolist()


def test_one_hot_targets_grow_the_gini_tree():
    X, y = load_digits(return_X_y=True)
    gini = DecisionTreeClassifier(max_depth=8, random_state=0).fit(X, y)
    ours = DistilledTree(max_depth=8).fit(X, y)
    assert ours.tree_.node_count == gini.tree_.node_count
    assert np.array_equal(ours.predict(X), gini.predict(X))
    np.testing.assert_allclose(ours.tree_.value, gini.tree_.value, atol=1e-12)
    certain = grown(X[:300].astype(np.float32), 200.0 * np.eye(10)[y[:300]], y[:300], max_depth=6,
                    targets="probabilities", temperature=0.01)  # fmt: skip
    vanilla = DecisionTreeClassifier(max_depth=6, random_state=0).fit(X[:300], y[:300])
    assert splits(certain) == splits(vanilla)


@given(seeds)
def test_a_leaf_answers_the_mean_of_its_targets(seed):
    X, z, y = problem(seed)
    for targets, T in (("logits", 1.0), ("probabilities", 3.0)):
        tree = grown(X, z, y, max_depth=3, targets=targets, temperature=T)
        leaves = tree.apply(X)
        for leaf in np.unique(leaves):
            mean = z[leaves == leaf]
            if targets == "logits":
                mean = (mean - mean.mean(1, keepdims=True)).mean(0)
                expected = np.exp(mean) / np.exp(mean).sum()
            else:
                soft = np.exp(mean / T) / np.exp(mean / T).sum(1, keepdims=True)
                mean = expected = soft.mean(0)
            np.testing.assert_allclose(tree.leaf_targets_[leaf], mean, atol=1e-9)
            np.testing.assert_allclose(tree.tree_.value[leaf, 0], expected, atol=1e-9)
            assert (tree.predict(X[leaves == leaf]) == expected.argmax()).all()


@given(seeds)
def test_the_first_split_is_that_of_a_search_over_all(seed):
    X, z, y = problem(seed, n=25)
    t = z - z.mean(1, keepdims=True)

    def error(rows):
        return ((t[rows] - t[rows].mean(0)) ** 2).sum() if rows.any() else 0.0

    found = []
    for feature in range(X.shape[1]):
        values = np.unique(X[:, feature])
        found += [error(X[:, feature] <= cut) + error(X[:, feature] > cut) for cut in (values[1:] + values[:-1]) / 2]
    tree = grown(X, z, y, max_depth=1)
    left = X[:, tree.tree_.feature[0]] <= tree.tree_.threshold[0]
    assert error(left) + error(~left) == pytest.approx(min(found))


@given(seeds, st.floats(0.1, 10))
def test_shifts_scales_and_rotations_of_the_targets_keep_the_tree(seed, c):
    X, z, y = problem(seed)
    large = {"max_depth": 3, "min_samples_leaf": 6}  # leaves of a few rows may be split by several features alike
    tree = grown(X, z, y, **large)
    shifted = grown(X, z + np.array([[1.0, -2.0, 0.5]]), y, **large)  # a constant per class
    scaled = grown(X, c * z, y, **large)
    by_row = grown(X, z + np.linspace(-9, 9, len(X))[:, None], y, **large)  # which softmax does not see
    for other in (shifted, scaled, by_row):
        assert splits(other)[0] == splits(tree)[0]
        np.testing.assert_allclose(splits(other)[1], splits(tree)[1])
    np.testing.assert_allclose(scaled.leaf_targets_, c * tree.leaf_targets_, atol=1e-9)
    np.testing.assert_allclose(by_row.leaf_targets_, tree.leaf_targets_, atol=1e-9)
    around = np.ones(3) / np.sqrt(3)  # a rotation about the axis of all ones keeps logits centred
    K = np.array([[0, -around[2], around[1]], [around[2], 0, -around[0]], [-around[1], around[0], 0]])
    Q = np.eye(3) + np.sin(1.0) * K + (1 - np.cos(1.0)) * K @ K
    rotated = grown(X, z @ Q.T, y, **large)
    assert splits(rotated)[0] == splits(tree)[0]
    np.testing.assert_allclose(rotated.leaf_targets_, tree.leaf_targets_ @ Q.T, atol=1e-9)


@given(seeds)
def test_the_error_falls_with_depth_and_paths_pass_their_tests(seed):
    X, z, y = problem(seed)
    t, last = z - z.mean(1, keepdims=True), np.inf
    for depth in range(1, 6):
        tree = grown(X, z, y, max_depth=depth)
        error = ((t - tree.leaf_targets_[tree.apply(X)]) ** 2).sum()
        assert error <= last + 1e-9
        last = error
    path, node = tree.decision_path(X).toarray().astype(bool), tree.tree_
    for i in range(len(X)):
        for at in np.flatnonzero(path[i] & (node.feature >= 0)):
            into = node.children_left[at] if X[i, node.feature[at]] <= node.threshold[at] else node.children_right[at]
            assert path[i, into]


@pytest.mark.parametrize("teacher", ["labels", LogisticRegression()], ids=["labels", "classifier"])
def test_it_is_a_scikit_learn_estimator(teacher):
    unlike = {}
    if teacher != "labels":
        unlike["check_sample_weight_equivalence_on_dense_data"] = "the teacher's solver answers up to 1e-4, not to 1e-7"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tiny problems of the checks: no variance, no convergence
        check_estimator(DistilledTree(teacher), expected_failed_checks=unlike)


def test_it_is_exported_drawn_and_pruned_as_any_tree():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    tree = DistilledTree(LogisticRegression(max_iter=1000), max_depth=2).fit(X, names)
    assert isinstance(tree, DecisionTreeClassifier)
    text = export_text(tree, feature_names=list("abcd"), show_weights=True)
    assert "class: setosa" in text
    assert "<=" in text
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    drawn = plot_tree(tree, class_names=list(tree.classes_), ax=plt.figure().gca())
    assert any("class = setosa" in part.get_text() for part in drawn)
    plt.close("all")
    assert tree.feature_importances_.sum() == pytest.approx(1)
    np.testing.assert_allclose(tree.predict_proba(X).sum(1), 1)
    whole = DistilledTree(LogisticRegression(max_iter=1000)).fit(X, names)
    assert len(whole.cost_complexity_pruning_path(X, names).ccp_alphas) > 1
    assert whole.set_params(ccp_alpha=1e9).fit(X, names).get_n_leaves() == 1


def test_a_network_teaches_in_the_units_of_the_data_and_may_be_asked_only():
    data = wb.data.load("digits").subset(300)
    network = wb.models.build("mlp", data, width=16)
    wb.training.fit(network, data, epochs=3, progress=False, device="cpu")
    oracle = Oracle(network, budget=300)
    tree = distil_tree(oracle, data, max_depth=4)
    X = trees.raw_rows(data.train)
    assert oracle.asked == 300
    assert (X.min(), X.max()) == (0, 1)
    z = wb.training.evaluating.logits_of(network, data.train.inputs).double().numpy()
    z = z - z.mean(1, keepdims=True)
    leaves = tree.apply(X)
    np.testing.assert_allclose(tree.leaf_targets_[leaves[0]], z[leaves == leaves[0]].mean(0), atol=1e-4)
    agree = (tree.predict(X) == z.argmax(1)).mean()
    assert tree.fidelity(X) == pytest.approx(agree)
    names = trees.column_names(data)
    assert (len(names), names[9]) == (64, "row 1, column 1")
    assert "row " in export_text(tree, feature_names=names)
    assert trees.column_names(wb.data.load("wine"))[0] == wb.data.load("wine").train.features[0]
    table = wb.data.load("wine")
    direct = DistilledTree(wb.models.build("mlp", table, width=8), max_depth=2)
    assert direct.fit(table.train.inputs.numpy(), table.train.labels.numpy()).get_depth() <= 2


def test_further_inputs_lie_between_rows_and_are_labelled_by_the_teacher():
    X, _, y = problem(0)
    seen = []

    def teacher(rows):
        seen.append(rows)
        return np.stack([rows[:, 0], -rows[:, 0], 0 * rows[:, 0]], 1)

    DistilledTree(teacher, extra=3, max_depth=2, random_state=1).fit(X, y)
    own, more = seen
    assert np.array_equal(own, X)
    assert more.shape == (180, 4)
    assert (more.min(0) >= X.min(0)).all()
    assert (more.max(0) <= X.max(0)).all()
    made = trees.between(np.array([[0.0], [1.0]]), 500, np.random.RandomState(0))
    assert 0.45 < made.mean() < 0.55
    assert len(np.unique(made)) > 300


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": "scores"}, "targets is 'scores'; it can be logits or probabilities"),
        ({"temperature": 0}, "temperature is 0"),
        ({"extra": -1}, "extra is -1"),
        ({"extra": 2}, "extra is 2, but nobody labels further inputs"),
        ({"teacher": "network"}, "teacher is 'network'"),
        ({"teacher": lambda rows: np.zeros((len(rows), 7))}, r"the teacher answers \(60, 7\) to 60 rows, but y"),
        ({"teacher": lambda rows: np.full((len(rows), 3), np.inf)}, "not all finite"),
    ],
)
def test_bad_settings_are_named(settings, message):
    X, _, y = problem(0)
    with pytest.raises(ValueError, match=message):
        DistilledTree(**settings).fit(X, y)


def test_weights_reach_teacher_and_tree_or_are_refused():
    X, _, y = problem(1)
    weight = np.where(y == 0, 1.0, 0.0)
    assert set(DistilledTree(GaussianNB(), max_depth=2).fit(X, y, weight + 1e-3).predict(X)) <= {0, 1, 2}
    from sklearn.neighbors import KNeighborsClassifier

    with pytest.raises(ValueError, match="KNeighborsClassifier takes none"):
        DistilledTree(KNeighborsClassifier()).fit(X, y, weight)
    with pytest.raises(ValueError, match="answers nothing about new rows"):
        DistilledTree().fit(X, y).fidelity(X)
    assert DistilledTree(RandomForestClassifier(5, random_state=0), max_depth=3).fit(X, y).fidelity(X) > 0.3
    assert torch.get_default_dtype() == torch.float32
