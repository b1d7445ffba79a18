"""The Python half of the explorer of diffusion targets: what it refuses, what it sends, what it says."""

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from target_records import collapsed, noise, patterns, picture_runs, ring_runs

import widgets
import workbench as wb
from widgets.core.jobs import Job
from widgets.targets import content
from workbench import diffusion
from workbench.diffusion.sampling.schedules import VE
from workbench.diffusion.trajectories import ground

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def runs():
    return ring_runs()


@pytest.fixture(scope="module")
def pictured():
    return picture_runs()


def array(explorer, name, trait="arrays"):
    packed = getattr(explorer, trait)[name]
    return np.frombuffer(packed["data"], packed["dtype"]).reshape(packed["shape"])


def test_explore_picks_it_and_starts_midway(runs, pictured):
    explorer = widgets.explore(runs)
    assert isinstance(explorer, widgets.TargetTrajectoryExplorer)
    assert explorer.selection == {"step": 6, "seeds": [], "run": "base", "switch": None}
    assert explorer.view == "plane"
    assert widgets.explore(pictured).view == "strip"
    assert widgets.explore(runs[1]).selection["run"] == "student"
    assert "student: step 1 of 4" in explorer.summary()


def test_spec_recreates_the_view(runs):
    run_1, run_2 = runs
    explorer = widgets.explore([run_1, run_2], selection={"step": "sample", "seeds": [3, 1]}, show="states")
    explorer.field = "score"
    again = eval(explorer.spec(), {"widgets": widgets, "run_1": run_1, "run_2": run_2})
    assert again.spec() == explorer.spec()
    assert again.selection == explorer.selection
    assert (again.show, again.field) == ("states", "score")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"step": 0}, "step is 0; it can be 1 to 12 or 'sample'"),
        ({"step": 13}, "step is 13"),
        ({"step": True}, "step is True"),
        ({"step": "end"}, "step is 'end'"),
        ({"seeds": [40]}, "the runs have seeds 0 to 39"),
        ({"seeds": 3}, "seeds is 3"),
        ({"run": "bass"}, "did you mean 'base'"),
        ({"epoch": 3}, "selection key 'epoch'"),
    ],
)
def test_selections_that_cannot_be_are_refused(runs, changes, message):
    explorer = widgets.explore(runs)
    before = dict(explorer.selection)
    with pytest.raises(traitlets.TraitError, match=message):
        explorer.selection = changes
    assert explorer.selection == before


def test_input_that_cannot_be_is_refused_at_the_door(runs, pictured):
    explorer = widgets.TargetTrajectoryExplorer
    with pytest.raises(TypeError, match="list is empty"):
        explorer([])
    with pytest.raises(TypeError, match="not a str"):
        explorer(["base"])
    with pytest.raises(TypeError, match="has no option 'shows'; did you mean 'show'"):
        explorer(runs, shows="states")
    with pytest.raises(ValueError, match="'base' has examples of shape 2, the run 'other' of 1×4×4"):
        explorer([runs[0], pictured[0].replace(name="other")])
    with pytest.raises(ValueError, match=r"has 40 seeds, the run 'student' 10; .* run.seeds\(range\(10\)\)"):
        explorer([runs[0], runs[1].seeds(range(10))])
    with pytest.raises(ValueError, match="a model was given for the run 'x'; the runs are 'base', 'student'"):
        explorer(runs, models={"x": diffusion.ring()})
    with pytest.raises(ValueError, match=r"the model of 'base' makes examples of shape \(1, 4, 4\)"):
        explorer(runs, teacher=patterns())
    with pytest.raises(ValueError, match="2 students were given, but 1 runs"):
        explorer(runs, students=[collapsed(), collapsed()])
    with pytest.raises(traitlets.TraitError, match="rows is 0"):
        explorer(runs, rows=0)


def test_models_go_to_the_runs_of_their_roles(runs):
    ring, half = diffusion.ring(), collapsed()
    explorer = widgets.explore(runs, teacher=ring, students=half)
    assert explorer.models == {"base": ring, "student": half}
    assert [item["live"] for item in explorer.content["runs"]] == [True, True]
    assert widgets.explore(runs, students={"student": half}).models == {"student": half}


def test_names_that_repeat_are_numbered(runs):
    twice = widgets.explore([runs[0], runs[0]])
    assert list(twice.runs) == ["base (1)", "base (2)"]


def test_points_travel_as_they_are(runs):
    explorer = widgets.explore(runs)
    for run, sent in zip(runs, explorer.content["runs"], strict=True):
        for name, values in (("states_at", run.states), ("targets_at", run.targets)):
            assert np.array_equal(array(explorer, sent[name])[:-1], values.numpy())
            assert np.array_equal(array(explorer, sent[name])[-1], run.samples.numpy())
        assert array(explorer, sent["apart"])[-1].max() == 0
        assert sent["states"] is None


def test_pixels_travel_as_the_bytes_of_pictures(pictured):
    explorer = widgets.explore(pictured)
    base, sent = pictured[0], explorer.content["runs"][0]
    raw = (base.targets * 0.5 + 0.5) * 255
    assert np.array_equal(array(explorer, sent["targets"])[:-1], raw.round().clamp(0, 255).byte().numpy())
    # States are drawn at the contrast of an image, whatever their noise.
    alpha, sigma = 1 - base.times, base.times
    size = (alpha.square() + sigma.square()).sqrt().float().view(-1, 1, 1, 1, 1)
    raw = (base.states / size * 0.5 + 0.5) * 255
    assert np.abs(array(explorer, sent["states"])[:-1].astype(float) - raw.round().clamp(0, 255).numpy()).max() <= 1
    assert explorer.content["classes"] == ["cat", "dog", "owl"]


def test_seeds_beyond_the_room_are_points_without_a_picture(pictured, monkeypatch):
    monkeypatch.setattr(content, "MOST_BYTES", 2 * (9 + 5) * 16 * 4)
    explorer = widgets.explore(pictured)
    assert explorer.content["pictured"] == 4
    assert array(explorer, explorer.content["runs"][0]["targets"]).shape[1] == 4
    assert array(explorer, explorer.content["runs"][0]["targets_at"]).shape[1] == 6


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_points_of_any_dimension_have_a_plane(dimensions):
    run = diffusion.target_trajectories(
        diffusion.mixture(noise(3, dimensions), 0.1), noise(20, dimensions), steps=4, name="run", role="teacher"
    )
    explorer = widgets.explore(run)
    assert explorer.content["plane"]["exact"] == (dimensions == 2)
    assert len(explorer.data()) == 20
    explorer.to_html()


def test_the_density_is_the_teachers(runs):
    ring = diffusion.ring()
    explorer = widgets.explore(runs, teacher=ring)
    sent = explorer.content["ground"]["density"]
    values = array(explorer, sent["values"]).astype(float)
    assert sent["index"] == list(range(13))
    places = ground.lattice(tuple(explorer.content["plane"]["span"]), ground.CELLS)
    for row, k in ((0, 0), (6, 6)):
        log = ring.to(dtype=torch.float64).log_density(places, runs[0].times[k])
        expected = (0.5 * (log - log.max())).exp().view(ground.CELLS, ground.CELLS) * 255
        assert np.abs(values[row] - expected.numpy()).max() <= 1
    close = array(explorer, sent["close"])
    assert close.shape == (1, ground.CELLS, ground.CELLS)


def test_the_field_holds_what_the_model_believes(runs):
    ring = diffusion.ring()
    explorer = widgets.explore(runs, teacher=ring)
    sent = explorer.content["ground"]["fields"]
    assert list(sent) == ["base"]
    targets = array(explorer, sent["base"]["targets"])
    places = ground.lattice(tuple(explorer.content["plane"]["span"]), ground.ARROWS).float()
    assert np.allclose(targets[5], ring(places, runs[0].times[5]).x0.numpy(), atol=1e-6)


def test_exploding_noise_is_shrunk_into_the_plane():
    ring = diffusion.ring(schedule=VE(20.0))
    run = diffusion.target_trajectories(ring, noise(60, 2), steps=6, spacing="karras", name="base", role="teacher")
    explorer = widgets.explore(run, teacher=ring)
    states = array(explorer, explorer.content["runs"][0]["states_at"])
    assert np.abs(states).max() < 5 < float(run.states.abs().max())
    assert explorer.content["plane"]["span"][1] < 5
    start = explorer.content["runs"][0]["start"]
    assert np.allclose(states[0], start * run.noise.numpy(), atol=1e-5)


def test_curves_are_those_of_the_record(runs):
    explorer = widgets.explore(runs)
    for run in runs:
        for name in ("commitment", "spread", "distance"):
            sent = array(explorer, explorer.curves[run.name][name], "curves_arrays")
            assert np.allclose(sent, getattr(run, name).numpy())
    table = explorer.table()
    assert len(table) == 12 + 4
    assert table.query("run == 'base'")["commitment"].tolist() == pytest.approx(runs[0].commitment.tolist())


def test_one_seed_has_no_commitment_and_says_none(tmp_path):
    explorer = widgets.explore(ring_runs(seeds=1))
    assert explorer.table()["commitment"].isna().all()
    assert explorer.summary() == (
        "Diffusion targets of 1 seed; base: step 6 of 12, t = 0.583; student: step 1 of 4, t = 0.99"
    )
    assert explorer.to_png(tmp_path / "one.png").stat().st_size > 5000


def test_errors_are_measured_on_demand_where_there_is_one_path(runs):
    explorer = widgets.explore(runs, teacher=diffusion.ring(), students=collapsed())
    assert explorer.measurable == ["base"]  # the student draws fresh noise at every step
    assert explorer._perform("step error", Job("1", lambda _: None)) is None
    assert explorer.measurable == []
    expected = diffusion.step_errors(runs[0], diffusion.ring(), rtol=1e-5, atol=1e-5)
    assert explorer.table().query("run == 'base'")["error"].tolist() == pytest.approx(expected["step"].tolist())
    assert "error" in explorer.curves["base"]
    again = widgets.explore(runs, teacher=diffusion.ring()).measure()
    assert again.query("run == 'base'")["drift"].tolist() == pytest.approx(expected["whole"].tolist())


def test_data_is_what_is_seen(runs):
    explorer = widgets.explore(runs, selection={"step": 8, "seeds": [2]})
    seen = explorer.data()
    base = seen.query("run == 'base'")
    assert base["step"].unique().tolist() == [8]
    assert np.allclose(base[["x", "y"]], runs[0].states[7].numpy())
    assert np.allclose(base[["target_x", "target_y"]], runs[0].targets[7].numpy())
    assert base["selected"].sum() == 1
    expected = (runs[0].targets[7] - runs[0].samples).norm(dim=1)
    assert base["distance"].tolist() == pytest.approx(expected.tolist(), abs=1e-6)
    explorer.selection = {"step": "sample"}
    assert set(explorer.data()["step"]) == {"sample"}
    assert explorer.data()["distance"].max() == 0


def test_counting_in_the_steps_of_another_run_keeps_a_step_it_has(runs):
    explorer = widgets.explore(runs, selection={"step": 11})
    explorer.selection = {"run": "student"}
    assert explorer.selection["step"] == 4
    explorer.selection = {"run": "base", "step": 12}
    assert explorer.selection["step"] == 12


def test_new_runs_take_the_place_of_old_ones(runs):
    explorer = widgets.explore(runs, selection={"step": 12, "seeds": [3]})
    shorter = diffusion.target_trajectories(
        diffusion.ring(), runs[0].noise, steps=5, sampler="heun", name="base", role="teacher"
    )
    explorer.show_runs({"base": shorter})
    assert explorer.content["runs"][0]["steps"] == 5
    assert explorer.content["revision"] == 1
    assert explorer.selection["step"] == "sample"
    assert explorer.selection["seeds"] == [3]
    assert len(array(explorer, explorer.curves["base"]["commitment"], "curves_arrays")) == 5
    with pytest.raises(ValueError, match="the run 'student' 40"):
        explorer.show_runs({"base": shorter.seeds(range(10))})
    assert explorer.content["revision"] == 1


def test_different_noise_is_told(runs):
    assert widgets.explore(runs).content["same"]
    moved = runs[1].replace(noise=runs[1].noise + 1)
    assert not widgets.explore([runs[0], moved]).content["same"]


def test_page_and_picture_carry_hostile_names_as_text(tmp_path):
    runs = ring_runs(seeds=5, steps=4, names=(HOSTILE, "$\\alpha$ & <b>"))
    explorer = widgets.explore(runs)
    assert HOSTILE not in explorer.to_html()
    assert explorer.to_png(tmp_path / "odd.png").stat().st_size > 5000


@pytest.mark.parametrize("view", ["plane", "strip"])
def test_picture_of_every_view(runs, pictured, tmp_path, view):
    for name, explorer in {
        "points": widgets.explore(runs, teacher=diffusion.ring(), view=view, selection={"seeds": [1]}, show="states"),
        "pictures": widgets.explore(pictured, teacher=patterns(), view=view, colour="class"),
    }.items():
        assert explorer.to_png(tmp_path / f"{name}.png", dpi=60).stat().st_size > 5000


def test_mimebundle_shows_something_without_a_kernel(runs):
    formats, _ = widgets.explore(runs)._repr_mimebundle_()
    assert formats["image/png"]
    assert formats["text/plain"].startswith("Diffusion targets of 40 seeds")


def test_a_saved_run_opens_like_the_one_that_was_made(runs, tmp_path):
    opened = wb.records.open(runs[0].save(tmp_path / "run.safetensors"))
    pd.testing.assert_frame_equal(widgets.explore(opened).data(), widgets.explore(runs[0]).data())
