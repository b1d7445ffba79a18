"""PosteriorExplorer without a browser: settings, numbers, spec, refusals, and what it is opened on."""

import numpy as np
import pytest
import torch
import traitlets
from posteriors import X, Y, fitted_table, golden, moons, moons_test, table, truth
from sklearn.gaussian_process.kernels import RBF
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import widgets
import workbench as wb
from widgets.posterior.kernels import named, read, rescaled
from widgets.posterior.source import Ask

GRID = np.linspace(0, 1, 101)[:, None]


def unpacked(packed):
    return np.frombuffer(packed["data"], packed["dtype"]).reshape(packed["shape"])


def evaluated(spec, **names):
    return eval(spec, {"widgets": widgets} | names)


# Opening ------------------------------------------------------------------------------------------------------------


def test_it_opens_on_estimators_pipelines_searches_and_paths():
    model = golden()
    assert widgets.explore(model).content["live"]
    assert not widgets.explore(model.path(GRID)).content["live"]
    frame, target = table()
    pipeline = make_pipeline(StandardScaler(), wb.gp.SelfDistilledGPR("rbf", steps=2, hyperparameters="fixed"))
    explorer = widgets.explore(pipeline.fit(frame, target), test=(frame, target))
    assert [feature["name"] for feature in explorer.content["features"]] == list(frame.columns)
    search = GridSearchCV(wb.gp.SelfDistilledGPR("rbf", hyperparameters="fixed"), {"steps": [1, 3]}, cv=2)
    assert widgets.explore(search.fit(X, Y)).steps in (1, 3)


def test_what_has_no_posterior_is_refused():
    with pytest.raises(TypeError, match="not fitted"):
        widgets.explore(wb.gp.SelfDistilledGPR())
    with pytest.raises(TypeError, match="not a StandardScaler"):
        widgets.PosteriorExplorer(StandardScaler())
    with pytest.raises(ValueError, match="PosteriorPath has its own"):
        widgets.explore(golden().path(GRID), test=(GRID, truth(GRID)))
    with pytest.raises(ValueError, match="has 101 inputs and 100 targets"):
        widgets.explore(golden(), test=(GRID, truth(GRID)[1:]))
    with pytest.raises(ValueError, match="truth is a function that a regression"):
        widgets.explore(moons(), truth=truth)
    with pytest.raises(TypeError, match="did you mean 'length_scale'"):
        widgets.explore(golden(), lengthscale=0.2)


def test_an_opened_file_shows_what_the_estimator_did(tmp_path):
    path = golden().path(GRID, truth(GRID))
    opened = wb.records.open(path.save(tmp_path / "path.safetensors"))
    explorer = widgets.explore(opened)
    step = explorer.selection["step"]
    np.testing.assert_allclose(explorer.data()["mean"], golden().predict(GRID, step=step), atol=1e-12)


# Numbers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mixing", [0.0, 0.35])
def test_sliders_give_the_golden_errors(mixing):
    golden_mse = {
        0.0: [0.16477, 0.15076, 0.14915, 0.15561, 0.16735, 0.18251],
        0.35: [0.16477, 0.15424, 0.15089, 0.14983, 0.14954, 0.14948],
    }
    explorer = widgets.explore(golden(noise=0.7), test=(GRID, truth(GRID)), noise=0.2, mixing=mixing)
    view = explorer._view
    _, test = view.errors(explorer, view.path(explorer, "data"))
    np.testing.assert_allclose(test.square(), golden_mse[mixing], atol=1e-5)


def test_sliders_equal_a_fit_with_those_values():
    explorer = widgets.explore(
        golden(), length_scale=0.15, amplitude=None, noise=0.05, steps=3, approach="distribution"
    )
    options = {"noise": 0.05, "steps": 3, "approach": "distribution", "hyperparameters": "fixed"}
    other = wb.gp.SelfDistilledGPR(RBF(0.15), **options).fit(X, Y)
    shown = explorer.data()
    mean, std = other.predict(shown[["x"]].to_numpy(), return_std=True)
    np.testing.assert_allclose(shown["mean"], mean, atol=1e-10)
    np.testing.assert_allclose(shown["std"], std, atol=1e-8)


def test_moved_points_equal_a_fit_to_them():
    points = [[0.1, 1.0], [0.5, -0.5], [0.9, 0.3]]
    explorer = widgets.explore(golden(), points=points, steps=2)
    places = np.array(points)
    options = {"noise": 0.2, "steps": 2, "hyperparameters": "fixed"}
    other = wb.gp.SelfDistilledGPR(RBF(np.sqrt(1 / 160)), **options).fit(places[:, :1], places[:, 1])
    shown = explorer.data()
    np.testing.assert_allclose(shown["mean"], other.predict(shown[["x"]].to_numpy()), atol=1e-10)


def test_the_steps_and_the_ordinary_process_agree_by_cholesky():
    explorer = widgets.explore(golden(), approach="both", selection={"step": 4}, mixing=0.2)
    found = {one["approach"]: one for one in explorer._view.check(explorer)}
    assert found["data"]["mean"] < 1e-12
    assert found["distribution"]["mean"] < 1e-12
    assert found["distribution"]["std"] < 1e-9


def test_a_table_is_sliced_at_medians_or_at_what_is_held():
    frame, _ = table()
    explorer = widgets.explore(fitted_table(), feature="pressure", held={"age": 1.5})
    shown = explorer.data()
    rows = np.tile(frame.median().to_numpy(), (len(shown), 1))
    rows[:, 0], rows[:, 2] = 1.5, shown["pressure"]
    mean = fitted_table().predict(type(frame)(rows, columns=frame.columns))
    np.testing.assert_allclose(shown["mean"], mean, atol=1e-10)


def test_prior_draws_have_the_priors_variance_and_repeat():
    explorer = widgets.explore(golden(), steps=1)
    look = explorer._view.source.look(Ask(feature="x", samples=12))
    assert look.draws.shape == (12, look.grid + len(X))
    again = explorer._view.source.look(Ask(feature="x", samples=12))
    assert torch.equal(look.draws, again.draws)
    many = explorer._view.source.look(Ask(feature="x", samples=4000)).draws[:, : look.grid]
    np.testing.assert_allclose(many.var(0), look.path.prior_variance[: look.grid], rtol=0.12)


def test_without_an_eigensystem_the_steps_are_shown_and_sliders_refuse():
    model = wb.gp.SelfDistilledGPR("rbf", noise=0.2, steps=3, hyperparameters="all").fit(X, Y)
    explorer = widgets.explore(model)
    np.testing.assert_allclose(explorer.data()["mean"], model.predict(explorer.data()[["x"]].to_numpy()), atol=1e-12)
    with pytest.raises(traitlets.TraitError, match="noise cannot change here"):
        explorer.noise = 0.1
    with pytest.raises(traitlets.TraitError, match="it can be 1 to 3"):
        explorer.selection = {"step": "limit"}


def test_arrays_are_the_eigensystem():
    explorer = widgets.explore(golden())
    eigen = explorer.content["eigen"]
    path = explorer._view.now.path
    np.testing.assert_array_equal(unpacked(explorer.arrays[eigen["values"]]), path.eigenvalues)
    directions = unpacked(explorer.arrays[eigen["directions"]]).astype(float)
    np.testing.assert_allclose(directions.T @ directions, np.eye(directions.shape[1]), atol=1e-6)


# Settings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("noise", -1.0, "positive"),
        ("mixing", 1.5, "0..1"),
        ("steps", 0, "1 to 60"),
        ("kernel", "matter", "did you mean 'matern'"),
        ("length_scale", 0.0, "positive"),
        ("points", [], "at least one pair"),
        ("points", [[0.1, float("nan")]], "finite"),
        ("feature", "y", "feature is 'y'"),
        ("samples", 99, "0 to 12"),
        ("selection", {"step": 7}, "1 to 6"),
        ("selection", {"point": 11}, "0 to 10"),
        ("selection", {"stop": 1}, "'step' and 'point'"),
    ],
)
def test_bad_settings_are_refused_and_change_nothing(name, value, said):
    explorer = widgets.explore(golden())
    before = getattr(explorer, name)
    with pytest.raises(traitlets.TraitError, match=said):
        setattr(explorer, name, value)
    assert getattr(explorer, name) == before


def test_spec_recreates_the_view():
    model = golden()
    explorer = widgets.explore(model, truth=truth)
    explorer.length_scale, explorer.noise, explorer.approach = 0.12, 0.4, "both"
    explorer.points = [[0.0, 1.0], [1.0, -1.0]]
    explorer.selection = {"step": "limit", "point": 1}
    again = evaluated(explorer.spec(), model=model, truth=truth)
    assert again.spec() == explorer.spec()
    assert again.data().equals(explorer.data())


def test_fewer_steps_take_the_selection_along():
    explorer = widgets.explore(golden())
    explorer.steps = 3
    assert explorer.selection["step"] == 3


def test_kernels_are_stretched_as_a_whole():
    kernel = 4.0 * RBF([0.5, 2.0]) + RBF(1.0)
    assert read(kernel) == pytest.approx((1.0, 2.0))
    assert read(rescaled(kernel, length_scale=3.0, amplitude=1.0)) == pytest.approx((3.0, 1.0))
    for name in ("rbf", "matern", "periodic", "linear", "rational-quadratic"):
        length, amplitude = read(named(name, length_scale=0.3, amplitude=1.5, span=2.0))
        assert amplitude == pytest.approx(1.5)
        assert length is None if name == "linear" else length == pytest.approx(0.3)


# Classification -----------------------------------------------------------------------------------------------------


def test_a_map_holds_the_estimators_probabilities():
    explorer = widgets.explore(moons(), test=moons_test(), selection={"step": 2})
    shown = explorer.data()
    chances = moons().predict_proba(shown[["x1", "x2"]].to_numpy(), step=2)
    np.testing.assert_allclose(shown["probability[down]"], chances[:, list(moons().classes_).index("down")], atol=1e-12)
    assert explorer.content["tested"]
    inputs, labels = moons_test()
    wrong = (moons().predict(inputs, step=2) != labels).mean()
    assert explorer.content["variants"][0]["judged"]["error"][1] == pytest.approx(wrong, abs=1e-6)


def test_approach_and_mode_switch_and_come_back():
    explorer = widgets.explore(moons())
    before = explorer.data()
    explorer.approach = "distribution"
    explorer.mode = "scaled"
    other = wb.gp.SelfDistilledGPC(
        4 * RBF(0.6), steps=3, hyperparameters="fixed", approach="distribution", mode="scaled"
    )
    inputs, labels = moons().path(np.zeros((1, 2))).train_inputs.numpy(), moons().path(np.zeros((1, 2))).train_targets
    other.fit(inputs, moons().classes_[labels[:, 0].numpy()])
    shown = explorer.data()
    np.testing.assert_allclose(shown["mean"], other.latent(shown[["x1", "x2"]].to_numpy())[0][:, 0], atol=1e-8)
    explorer.approach = "data"
    assert explorer.data()["mean"].equals(before["mean"])
    explorer.approach = "both"
    assert sorted(set(explorer.data()["approach"])) == ["data", "distribution"]


def test_a_saved_classification_on_a_grid_is_a_map_again(tmp_path):
    grid = np.stack(np.meshgrid(np.linspace(-2, 3, 9), np.linspace(-1, 2, 7)), -1).reshape(-1, 2)
    shuffled = np.random.default_rng(0).permutation(grid)
    explorer = widgets.explore(moons().path(shuffled))
    assert explorer.content["shape"] == [7, 9]
    np.testing.assert_allclose(explorer.data()[["x1", "x2"]], grid)
    with pytest.raises(traitlets.TraitError, match="approach cannot change here"):
        explorer.approach = "distribution"


def test_three_classes_and_one_feature_open():
    inputs = np.linspace(0, 3, 30)[:, None]
    labels = np.array(["a", "b", "c"])[(inputs[:, 0] // 1.01).astype(int)]
    model = wb.gp.SelfDistilledGPC(RBF(0.5), steps=2, hyperparameters="fixed").fit(inputs, labels)
    explorer = widgets.explore(model, class_name="b")
    assert explorer.content["shape"] == [201]
    assert explorer.data()["probability[b]"].idxmax() == pytest.approx(100, abs=8)


# Pictures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [golden, fitted_table, moons])
def test_pictures_and_pages_are_made(make, tmp_path):
    explorer = widgets.explore(make())
    assert explorer.to_png(tmp_path / "view.png", dpi=40).stat().st_size > 3_000
    assert "<script" in explorer.to_html()
    assert "Gaussian-process" in explorer.summary()
