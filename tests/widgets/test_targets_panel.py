"""What the explorer of diffusion targets computes on demand: runs made again, launches, hand-overs, adapters."""

import time

import numpy as np
import pytest
import torch
import traitlets
from target_panels import (
    TIMES,
    Broken,
    Gate,
    adapter_for,
    classes_of,
    digits,
    explorer_of,
    handed,
    network,
    noise,
    pair,
)

import widgets  # noqa: F401 - what a code view evaluates
from widgets.core.jobs import Job
from widgets.targets import TargetTrajectoryExplorer
from widgets.targets.actions import ACTIONS
from widgets.targets.inspector.launches import MOST_LAUNCHES
from workbench.diffusion import Guided, SamplingError, ring, target_trajectories
from workbench.diffusion.methods.dt_hand_over import hand_over
from workbench.models import lora


def run_action(explorer, name, **details):
    said = []
    ACTIONS[name](explorer, Job("1", said.append, details))
    return said


def array(explorer, trait, key):
    packed = getattr(explorer, trait)[key]
    return np.frombuffer(packed["data"], packed["dtype"]).reshape(packed["shape"])


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# Runs made again ------------------------------------------------------------------------------------------------------


def test_a_run_made_again_is_the_run_of_the_public_function():
    explorer = explorer_of()
    explorer.selection = {"seeds": [4]}
    said = run_action(explorer, "samples", sampling={"base": {"steps": 9, "sampler": "heun"}})
    own = target_trajectories(ring(), noise(), steps=9, sampler="heun")
    assert torch.equal(explorer.runs["base"].samples, own.samples)
    assert torch.equal(explorer.runs["base"].targets, own.targets)
    assert (explorer.runs["base"].calls, explorer.runs["base"].role) == (18, "teacher")
    assert explorer.runs["base"].sampler == "heun"
    assert explorer.content["runs"][0]["steps"] == 9
    assert explorer.selection["seeds"] == [4]
    assert [item["fraction"] for item in said][-1] == 1
    assert sorted(item["fraction"] for item in said if item["fraction"]) == [
        item["fraction"] for item in said if item["fraction"]
    ]


def test_undone_is_what_was_given():
    explorer = explorer_of()
    given = explorer.runs
    explorer.sampling = {"base": {"steps": 7}, "student": {"sampler": "consistency"}}
    assert explorer.runs["student"] is not given["student"]
    explorer.sampling = {"base": {"steps": 20}}  # as it was given: nothing is left to say
    assert explorer.sampling == {}
    assert all(explorer.runs[name] is given[name] for name in given)


def test_the_timeline_stays_at_its_noise():
    explorer = explorer_of(steps=40)
    explorer.selection = {"step": 21}
    t = float(explorer.run.times[20])
    explorer.sampling = {"base": {"steps": 10}}
    assert abs(float(explorer.run.times[explorer.selection["step"] - 1]) - t) < 0.06
    explorer.selection = {"step": "sample"}
    explorer.sampling = {}
    assert explorer.selection["step"] == "sample"


class Own:
    """A reader's own rule."""

    calls = 1

    def __call__(self, step):
        return step.jump()


def test_a_rule_known_by_name_only_is_not_offered_again():
    run = target_trajectories(ring(), noise(5), steps=4, sampler=Own(), name="base", role="teacher")
    explorer = TargetTrajectoryExplorer(run, teacher=ring())
    assert "Own" not in str(explorer.offer["runs"]["base"]["samplers"])
    with pytest.raises(ValueError, match="known by name only"):
        explorer.sampling = {"base": {"steps": 6}}
    assert explorer.sampling == {}
    explorer.sampling = {"base": {"steps": 6, "sampler": "euler"}}
    assert explorer.run.steps == 6


def test_guidance_is_changed_and_counted_once():
    explorer = classes_of(guidance=2.0)
    assert explorer.offer["runs"]["base"]["guidance"] == 2
    explorer.sampling = {"base": {"guidance": 4.5}}
    own = target_trajectories(ring(classes=2), noise(24), steps=12, condition=torch.arange(24) % 2, guidance=4.5)
    assert torch.equal(explorer.run.samples, own.samples)
    assert explorer.run.guidance == 4.5
    # A run of a model that was wrapped in its guidance is guided as strongly when it is made again.
    wrapped = Guided(ring(classes=2), 3.0)
    run = target_trajectories(wrapped, noise(24), steps=12, condition=torch.arange(24) % 2, name="base", role="teacher")
    explorer = TargetTrajectoryExplorer(run, teacher=wrapped)
    assert explorer.offer["runs"]["base"]["guidance"] == 3
    explorer.sampling = {"base": {"sampler": "euler"}}
    assert torch.allclose(explorer.run.samples, run.samples, atol=1e-5)  # the same step on rectified flow


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"sampling": {"bass": {"steps": 3}}}, "did you mean 'base'"),
        ({"sampling": {"base": {"step": 3}}}, "did you mean 'steps'"),
        ({"sampling": {"base": {"steps": 0}}}, "it can be 1 to 200"),
        ({"sampling": {"base": {"steps": True}}}, "it can be 1 to 200"),
        ({"sampling": {"base": {"steps": 3.5}}}, "it can be 1 to 200"),
        ({"sampling": {"base": {"sampler": "hein"}}}, "did you mean 'heun'"),
        ({"sampling": {"base": {"guidance": 2.0}}}, "no unconditional branch"),
        ({"sampling": {"base": {"guidance": float("nan")}}}, "it can be 0 to 20"),
        ({"sampling": {"base": 5}}, "a dict is needed"),
        ({"sampling": 5}, "a dict from run names"),
        ({"adapter_scale": 1.0}, "no adapter was given"),
        ({"adapter_scale": "strong"}, "it can be −10 to 10"),
    ],
)
def test_wrong_wishes_are_refused_and_change_nothing(details, said):
    explorer = explorer_of(6)
    before = explorer.runs, explorer.content
    with pytest.raises(traitlets.TraitError, match=said):
        run_action(explorer, "samples", **details)
    assert (explorer.runs, explorer.content, explorer.sampling) == (*before, {})


def test_a_run_without_its_model_stays():
    explorer = TargetTrajectoryExplorer(list(pair(6)), teacher=ring())
    assert list(explorer.offer["runs"]) == ["base"]
    with pytest.raises(traitlets.TraitError, match="'student' has no model here"):
        explorer.sampling = {"student": {"steps": 8}}
    none = TargetTrajectoryExplorer(list(pair(6)))
    assert none.offer["runs"] == {}
    assert none.offer["launch"] is False
    with pytest.raises(traitlets.TraitError, match="launched needs models"):
        none.launched = [{"seed": 1}]


# The last request wins ------------------------------------------------------------------------------------------------


def ask(explorer, identity, name, **details):
    message = {"type": "request", "id": identity, "name": name, "details": details}
    explorer._answer(explorer, message, [])


def test_what_was_stopped_is_never_shown():
    gate = Gate(ring())
    explorer = TargetTrajectoryExplorer(list(pair(6)), teacher=ring(), students=ring())
    explorer.resampler.models["base"] = gate
    said = []
    explorer.send = explorer._jobs._send = lambda message, buffers=None: said.append(message)
    shown = []
    explorer.observe(lambda change: shown.append(change.new["runs"][0]["steps"]), "content")
    ask(explorer, "a", "samples", sampling={"base": {"steps": 33}})
    until(lambda: gate.calls == 1)
    explorer._answer(explorer, {"type": "stop", "id": "a"}, [])
    ask(explorer, "b", "samples", sampling={"base": {"steps": 8}})
    gate.gate.set()
    until(lambda: not explorer._jobs._running)
    assert {item["id"]: item["type"] for item in said if item["type"] != "progress"} == {"a": "stopped", "b": "result"}
    assert set(shown) == {8}
    assert explorer.sampling == {"base": {"steps": 8}}
    assert explorer.run.steps == 8
    assert explorer.error == ""


def test_a_failure_leaves_what_was_there():
    explorer = explorer_of(6)
    before = explorer.content
    explorer.resampler.models["base"] = Broken(ring())
    explorer.send = explorer._jobs._send = lambda message, buffers=None: None
    ask(explorer, "a", "samples", sampling={"base": {"steps": 8}})
    until(lambda: not explorer._jobs._running)
    assert "the device is gone" in explorer.error
    assert explorer.content is before
    assert explorer.sampling == {}
    with pytest.raises(RuntimeError, match="the device is gone"):
        explorer.sampling = {"base": {"steps": 9}}
    assert explorer.sampling == {}


def test_wishes_add_up_when_they_come_one_by_one():
    explorer = explorer_of(6)
    explorer.sampling = {"base": {"steps": 9}}
    once = explorer.runs["base"]
    explorer.sampling = {"base": {"steps": 9}, "student": {"steps": 8}}
    assert explorer.runs["base"] is once  # nothing is made again that is as it should be
    assert explorer.runs["student"].steps == 8


# Adapters -------------------------------------------------------------------------------------------------------------


def adapted_explorer(**options):
    models = [network(0), network(1)]
    runs = [
        target_trajectories(model, noise(10), steps=5, name=name, role=role)
        for model, name, role in zip(models, ("base", "student"), ("teacher", "student"), strict=True)
    ]
    exact = target_trajectories(ring(), noise(10), steps=5, name="exact")
    adapter = adapter_for(models[0])
    explorer = TargetTrajectoryExplorer(
        [*runs, exact], teacher=models[0], students=models[1], models={"exact": ring()}, adapter=adapter, **options
    )
    return explorer, models, adapter


def test_an_adapter_moves_all_models_that_have_its_layers():
    explorer, models, adapter = adapted_explorer()
    assert explorer.offer["adapter"] == {"name": "larger radius", "rank": 2, "runs": ["base", "student"]}
    given = explorer.runs
    explorer.adapter_scale = -1.5
    for name, model in zip(("base", "student"), models, strict=True):
        own = target_trajectories(lora.merged(model, adapter, -1.5), noise(10), steps=5)
        assert torch.equal(explorer.runs[name].samples, own.samples)
        assert not torch.allclose(explorer.runs[name].samples, given[name].samples)
    assert explorer.runs["exact"] is given["exact"]
    explorer.adapter_scale = 0
    assert all(explorer.runs[name] is given[name] for name in given)
    assert not any("parametrizations" in key for model in models for key in model.state_dict())


def test_an_adapter_of_another_architecture_is_refused():
    explorer, _, adapter = adapted_explorer()
    wider = adapter.replace(down={key: torch.ones(2, 9) for key in adapter.down})
    stuck = TargetTrajectoryExplorer(explorer.runs["base"], teacher=network(), adapter=wider)
    assert stuck.offer["adapter"]["runs"] == []
    with pytest.raises(traitlets.TraitError, match="no model has the layers"):
        stuck.adapter_scale = 1.0
    with pytest.raises(TypeError, match=r"adapter is a dict; workbench\.records\.Adapter is needed"):
        TargetTrajectoryExplorer(explorer.runs["base"], adapter={})


# Launches -------------------------------------------------------------------------------------------------------------


def test_a_launch_from_a_seeds_noise_is_that_seed():
    explorer = explorer_of()
    said = run_action(explorer, "launch", noise=noise()[7].tolist())
    assert said[-1]["fraction"] == 1
    (launch,) = explorer.launches["launches"]
    for flight, run in zip(launch["runs"], explorer.content["runs"], strict=True):
        assert flight["run"] == run["name"]
        for kind in ("states", "targets"):
            own = array(explorer, "arrays", run[f"{kind}_at"])[:, 7]
            assert np.allclose(array(explorer, "launches_arrays", flight[kind]), own, atol=1e-5)
    ends = [explorer.runs[name].samples[7] for name in explorer.runs]
    assert launch["runs"][1]["apart"] == pytest.approx(float((ends[1] - ends[0]).norm()), abs=1e-5)


def test_launches_follow_the_sliders_and_do_not_disturb_one_another():
    explorer = explorer_of(6, sampling={"student": {"sampler": "consistency"}})
    run_action(explorer, "launch", noise=[0.4, -0.2])
    first = array(explorer, "launches_arrays", explorer.launches["launches"][0]["runs"][1]["states"])
    run_action(explorer, "launch", noise=None)
    run_action(explorer, "launch", noise=None)
    assert explorer.launched == [{"noise": [0.4, -0.2]}, {"seed": 0}, {"seed": 1}]
    again = array(explorer, "launches_arrays", explorer.launches["launches"][0]["runs"][1]["states"])
    assert np.array_equal(first, again)  # new noise on the way is each launch's own
    run_action(explorer, "samples", sampling={"base": {"steps": 6}})
    flight = explorer.launches["launches"][0]["runs"][0]
    assert array(explorer, "launches_arrays", flight["states"]).shape == (7, 2)
    run_action(explorer, "launch", remove=1)
    assert explorer.launched == [{"noise": [0.4, -0.2]}, {"seed": 1}]
    run_action(explorer, "launch", remove="all")
    assert (explorer.launched, explorer.launches["launches"]) == ([], [])


def test_launches_of_a_class_and_of_images():
    explorer = classes_of()
    explorer.launch_class = "down"
    run_action(explorer, "launch", noise=[0.3, 0.3])
    assert explorer.launched == [{"noise": [0.3, 0.3], "class": "down"}]
    flight = explorer.launches["launches"][0]["runs"][0]
    x, y = array(explorer, "launches_arrays", flight["targets"])[-1]
    own = target_trajectories(
        ring(classes=2), torch.tensor([[0.3, 0.3]]), steps=12, condition=torch.tensor([1]), guidance=2.0
    )
    assert [x, y] == pytest.approx(own.samples[0].tolist(), abs=1e-5)
    pictured = digits()
    run_action(pictured, "launch", noise=None, **{"class": "7"})
    flight = pictured.launches["launches"][0]["runs"][1]
    assert array(pictured, "launches_arrays", flight["pictures"]).shape == (5, 1, 8, 8)
    with pytest.raises(traitlets.TraitError, match="launch from a seed"):
        run_action(pictured, "launch", noise=[0.0, 0.0])


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"noise": [float("nan"), 0.0]}, "two numbers within"),
        ({"noise": [1.0]}, "two numbers within"),
        ({"noise": ["a", "b"]}, "two numbers within"),
        ({"noise": [1e9, 0.0]}, "two numbers within"),
        ({"noise": [0.0, 0.0], "class": "7"}, "the models have no classes"),
        ({"remove": 3}, "it can be 'all' or 0 to"),
        ({"remove": True}, "it can be 'all' or 0 to"),
    ],
)
def test_wrong_launches_are_refused(details, said):
    explorer = explorer_of(6)
    with pytest.raises(traitlets.TraitError, match=said):
        run_action(explorer, "launch", **details)
    assert explorer.launched == []


def test_the_oldest_launch_makes_room():
    explorer = explorer_of(4, steps=2)
    for _ in range(MOST_LAUNCHES + 2):
        run_action(explorer, "launch", noise=None)
    assert [item["seed"] for item in explorer.launched] == list(range(2, MOST_LAUNCHES + 2))
    with pytest.raises(traitlets.TraitError, match=f"at most {MOST_LAUNCHES}"):
        explorer.launched = [{"seed": k} for k in range(MOST_LAUNCHES + 1)]
    with pytest.raises(traitlets.TraitError, match="each has 'noise' or 'seed'"):
        explorer.launched = [{"seed": 1, "noise": [0.0, 0.0]}]


# Hand-over ------------------------------------------------------------------------------------------------------------


def test_a_sweep_is_that_of_the_public_function():
    explorer = explorer_of()
    assert explorer.hand_over == {}
    assert explorer.selection["switch"] is None
    said = run_action(explorer, "hand-over", student="student")
    own = handed()
    assert torch.equal(explorer.handed.switches, own.switches)
    assert torch.equal(explorer.handed.positions, own.positions)
    assert torch.equal(explorer.handed.measures["entropy"]["switches"], own.measures["entropy"]["switches"])
    assert (explorer.handed.base, explorer.handed.student) == ("base", "student")
    assert explorer.selection["switch"] == 1
    assert said[-1]["fraction"] == 1
    (run_1, run_2), teacher, students = pair(), ring(), explorer.models["student"]  # noqa: F841 - the code's names
    again = eval(explorer.spec())
    assert again.handed is explorer.handed
    assert again.selection == explorer.selection


def test_a_sweep_follows_the_sliders():
    explorer = explorer_of()
    explorer.sampling = {"student": {"steps": 2, "sampler": "consistency"}}
    run_action(explorer, "hand-over", student="student")
    own = hand_over(
        ring(), explorer.models["student"], noise(), times=TIMES[::2].tolist(), student_sampler="consistency"
    )
    assert torch.equal(explorer.handed.switches, own.switches)
    assert explorer.hand_over["made"] == {"sampling": explorer.sampling, "adapter_scale": 0.0}
    explorer.sampling = {}
    assert explorer.hand_over["made"] != {"sampling": {}, "adapter_scale": 0.0}  # the view says that it is old


def test_images_are_measured_beside_what_the_base_makes_alone():
    explorer = digits(12)
    run_action(explorer, "hand-over", student="student")
    record = explorer.handed
    assert list(record.measures) == ["precision", "recall", "diversity"]
    assert (
        record.settings["reference"] == explorer.hand_over["reference"] == "12 other samples of base alone, in 20 steps"
    )
    single = digits(3)  # one seed of each class, and too few for neighbours: nothing to measure, much to see
    run_action(single, "hand-over", student="student")
    assert single.handed.measures == {}
    assert single.hand_over["pictured"] == 3


def test_what_travels_of_a_hand_over():
    explorer = explorer_of(swept=True)
    content, record = explorer.hand_over, explorer.handed
    switches = array(explorer, "hand_over_arrays", content["places"]["switches"])
    positions = array(explorer, "hand_over_arrays", content["places"]["positions"])
    assert np.allclose(switches, record.switches, atol=1e-6)
    assert np.allclose(positions[1:], record.positions, atol=1e-6)
    assert np.array_equal(positions[0], switches[0])  # nobody helps: the student alone, either way
    assert content["same_seeds"] is True
    assert content["calls"] == {
        "switches": ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0]),
        "positions": ([0, 1, 1, 1, 1], [4, 3, 3, 3, 3]),
    }
    entropy = content["measures"]["entropy"]
    assert entropy["switches"]["values"] == record.measures["entropy"]["switches"].tolist()
    assert entropy["positions"]["values"][1:] == record.measures["entropy"]["positions"].tolist()
    other = TargetTrajectoryExplorer(list(pair(30)), hand_over=handed(40))
    assert other.hand_over["same_seeds"] is False


def test_measures_without_an_interval_travel_as_nothing():
    record = handed(6)
    gone = {"switches": torch.full((5, 2), float("nan")), "positions": torch.full((4, 2), float("nan"))}
    record = record.replace(intervals={"modes": gone})
    explorer = TargetTrajectoryExplorer(list(pair(6)), hand_over=record)
    assert explorer.hand_over["measures"]["modes"]["switches"]["low"] == [None] * 5
    assert explorer.hand_over["measures"]["quality"]["positions"]["high"] == [None] * 5


def test_images_of_a_hand_over():
    explorer = digits(12)
    content = explorer.hand_over
    assert (content["pictured"], content["places"]) == (12, {"switches": None, "positions": None})
    pixels = array(explorer, "hand_over_arrays", content["pictures"]["switches"])
    raw = (explorer.handed.switches * 0.5 + 0.5).clamp(0, 1) * 255
    assert np.abs(pixels - raw.numpy()).max() <= 0.51


def test_a_hand_over_as_table_sentence_and_picture(tmp_path):
    explorer = explorer_of(swept=True, view="hand-over", selection={"switch": 2})
    table = explorer.data()
    assert table["at"].tolist() == [0, 1, 2, 3, 4]
    assert table["shown"].tolist() == [False, False, True, False, False]
    assert table["quality"].tolist() == explorer.handed.measures["quality"]["switches"].tolist()
    assert table["base calls"].tolist() == [0, 1, 2, 3, 4]
    assert (
        "base makes steps 1–2, student steps 3–4: 4 calls per seed, 2 of base and 2 of student." in explorer.summary()
    )
    explorer.sharing = "one step"
    assert "base makes step 2, student the others" in explorer.summary()
    assert explorer.data()["student calls"].tolist() == [4, 3, 3, 3, 3]
    assert explorer.to_png(tmp_path / "a.png").stat().st_size > 10_000
    explorer.view = "plane"
    assert "seed" in explorer.data().columns
    pictured = digits(6, view="hand-over")
    assert pictured.to_png(tmp_path / "b.png").stat().st_size > 5_000


@pytest.mark.parametrize("switch", [5, -1, 1.5, True, "first"])
def test_a_switch_is_one_of_the_hand_overs(switch):
    explorer = explorer_of(6, swept=True)
    with pytest.raises(traitlets.TraitError, match=r"it can be 0 \(the student alone\) to 4"):
        explorer.selection = {"switch": switch}
    with pytest.raises(traitlets.TraitError, match="has no hand-over"):
        explorer_of(6).selection = {"switch": 1}


def test_hand_overs_that_do_not_belong_are_refused():
    with pytest.raises(ValueError, match="they do not belong together"):
        TargetTrajectoryExplorer(digits(6).runs["base"], hand_over=handed(4))
    alone = TargetTrajectoryExplorer(pair(6)[0], teacher=ring())
    with pytest.raises(traitlets.TraitError, match="needs the models of a teacher and of a student"):
        run_action(alone, "hand-over", student="student")
    with pytest.raises(traitlets.TraitError, match="did you mean 'student'"):
        run_action(explorer_of(6), "hand-over", student="studnet")
    from workbench.diffusion import VPCosine

    base, _ = pair(6)
    model = ring(schedule=VPCosine())
    student = target_trajectories(model, noise(6), steps=4, name="student", role="student")
    with pytest.raises(SamplingError, match="a state cannot be handed over"):
        run_action(
            TargetTrajectoryExplorer([base, student], teacher=ring(), students=model), "hand-over", student="student"
        )


# The whole view -------------------------------------------------------------------------------------------------------


def test_the_code_view_makes_the_same_view():
    run_1, run_2 = pair(12)
    teacher, students, hand_over = ring(), explorer_of(2).models["student"], handed(12)
    explorer = TargetTrajectoryExplorer([run_1, run_2], teacher=teacher, students=students, hand_over=hand_over)
    explorer.sampling = {"base": {"steps": 31}}
    explorer.selection = {"step": 30, "seeds": [3], "switch": 3}
    explorer.launched = [{"noise": [0.5, 0.25]}]
    explorer.view, explorer.sharing, explorer.tuned = "hand-over", "one step", "student"
    other = eval(explorer.spec())
    for name in explorer.settings:
        assert getattr(other, name) == getattr(explorer, name), name
    assert torch.equal(other.runs["base"].samples, explorer.runs["base"].samples)
    assert other.launches["launches"] == explorer.launches["launches"]
    assert other.spec() == explorer.spec()


def test_records_of_models_are_models():
    from workbench.records import DiffusionModel

    model = network()
    record = DiffusionModel(
        method="none", network=None, state=model.network.state_dict(), kind=model.kind, schedule=model.schedule.spec,
        shape=(2,),
    ).with_network(model.network)  # fmt: skip
    run = target_trajectories(model, noise(6), steps=4, name="base", role="teacher")
    explorer = TargetTrajectoryExplorer(run, teacher=record)
    explorer.sampling = {"base": {"steps": 9}}
    assert torch.equal(explorer.run.samples, target_trajectories(model, noise(6), steps=9).samples)
    with pytest.raises(TypeError, match="the model of 'teacher' is a str; a Denoiser or a DiffusionModel is needed"):
        TargetTrajectoryExplorer(run, teacher="base")


def test_unknown_options_are_refused_by_name():
    with pytest.raises(TypeError, match="did you mean 'sampling'"):
        explorer_of(4, sampeling={})
    with pytest.raises(traitlets.TraitError, match="did you mean 'student'"):
        explorer_of(4, tuned="studnt")
    with pytest.raises(traitlets.TraitError, match="launch_class is 'up'"):
        explorer_of(4, launch_class="up")
