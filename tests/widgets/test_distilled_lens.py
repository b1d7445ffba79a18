"""What stands beside the atlas, in Python: numbers of the teaching panel, settings refused at the door, actions."""

import contextlib
import json
import math
import threading

import pytest
import torch
import traitlets
from hypothesis import given
from hypothesis import strategies as st
from lens_records import attribution, crop_choices, distilled, evaluation, looks, scaling
from scipy import stats

import widgets
import workbench as wb
from widgets.core.arrays import Arrays
from widgets.core.jobs import Job, JobStopped
from widgets.distilled import DistilledImagesExplorer
from widgets.distilled.findings import Without
from widgets.distilled.inspector import crops
from widgets.distilled.inspector.looks import Attributed, attributions_content
from widgets.distilled.lens import EVALUATOR
from widgets.distilled.teaching.content import (
    change_content,
    estimate,
    evaluation_content,
    paired,
    same_protocol,
    seed_noise,
    wilson,
    without_content,
)
from widgets.distilled.teaching.scaling import scaling_content


@pytest.fixture(scope="module")
def digits():
    return wb.data.load("digits")


@pytest.fixture(scope="module")
def tiny(digits):
    return wb.condensation.condense(digits, wb.condensation.Random(ipc=2)).replace(name="two")


def job(**details):
    told = []
    made = Job("a", told.append, details)
    made.told = told
    return made


def unpacked(arrays, name):
    import numpy as np

    packed = arrays.packed[name]
    return np.frombuffer(packed["data"], packed["dtype"]).reshape(packed["shape"])


# Numbers --------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 10**6), seeds=st.integers(2, 9))
def test_the_change_has_the_interval_of_a_paired_t_test(seed, seeds):
    draw = torch.Generator().manual_seed(seed)
    before, after = torch.rand(2, 2, seeds, 3, generator=draw, dtype=torch.float64)
    mean, low, high = paired(before, after)
    for k in range(2):
        for c in range(3):
            own = stats.ttest_rel(after[k, :, c].numpy(), before[k, :, c].numpy()).confidence_interval(0.95)
            assert low[k, c].item() == pytest.approx(own.low, abs=1e-12)
            assert high[k, c].item() == pytest.approx(own.high, abs=1e-12)
    assert torch.allclose(mean, (low + high) / 2)


def test_seed_noise_covers_two_means_that_differ_by_seeds_alone():
    draw = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 4000, 5, 1, generator=draw, dtype=torch.float64)
    noise = seed_noise(one)
    covered = ((one.mean(1) - other.mean(1)).abs() <= noise).double().mean().item()
    # The spread is taken from one of the two sets alone: Student's t with four degrees of freedom is exact for that.
    assert covered == pytest.approx(0.95, abs=0.012)


def test_one_seed_has_no_interval():
    scores = torch.rand(2, 1, 3, dtype=torch.float64)
    mean, low, high = paired(scores, scores + 0.1)
    assert torch.allclose(mean, torch.full_like(mean, 0.1))
    assert low.isnan().all()
    assert high.isnan().all()
    assert seed_noise(scores).isnan().all()
    assert estimate(scores[0, :, 0]) == {"mean": scores[0, 0, 0].item(), "low": None, "high": None}


@given(n=st.integers(1, 500), share=st.floats(0, 1))
def test_wilson_is_scipys(n, share):
    right = round(n * share)
    own = stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    low, high = wilson(torch.tensor(float(right)), torch.tensor(n)).tolist()
    assert low == pytest.approx(own.low, abs=1e-6)
    assert high == pytest.approx(own.high, abs=1e-6)


def test_wilson_says_nothing_about_an_empty_bin():
    assert wilson(torch.tensor([float("nan"), 3.0]), torch.tensor([0, 4])).isnan().tolist() == [[True] * 2, [False] * 2]


def test_what_travels_is_plain_json_without_nan():
    of = distilled()
    for seeds in (1, 3):
        found = evaluation(of, seeds=seeds)
        arrays = Arrays()
        plain = evaluation_content(found, arrays)
        plain["without"] = without_content([1], found, evaluation(of, seeds=seeds, seed=3), arrays)
        json.dumps(plain, allow_nan=False)
    assert plain["scores"]["distilled"][0]["mean"] == pytest.approx(found.mean(0))
    band = unpacked(arrays, plain["curves"][0]["accuracy"][1])
    assert band[0] == pytest.approx(found.curves["distilled"][1].mean(0).numpy(), abs=1e-6)


def test_the_change_is_overall_first_then_class_by_class():
    of = distilled()
    before, after = evaluation(of), evaluation(of, worse=3, seed=5)
    arrays = Arrays()
    change = change_content(before, after, arrays)
    mean = unpacked(arrays, change["mean"])
    assert mean.shape == (2, 11)
    assert mean[:, 0] == pytest.approx((after.accuracy - before.accuracy).mean(1).numpy(), abs=1e-6)
    assert mean[:, 4] == pytest.approx((after.per_class - before.per_class).mean(1)[:, 3].numpy(), abs=1e-6)


def test_what_cannot_be_paired_is_not_compared():
    of = distilled()
    with pytest.raises(ValueError, match=r"seeds \[0, 1, 2, 3, 4\]; after: convnet, mlp with seeds \[0, 1, 2\]"):
        change_content(evaluation(of), evaluation(of, seeds=3), Arrays())
    one, other = evaluation(of), evaluation(of).replace(settings={"epochs": 20, "labels": "hard"})
    told = without_content([0], one, other, Arrays())
    assert told["change"] is None
    assert "different ways" in told["reason"]
    fewer = one.replace(settings=one.settings | {"steps": 3, "examples": 9})
    assert same_protocol([one, fewer])


def test_attributions_are_summed_over_channels():
    of = distilled(ipc=1, shape=(3, 6, 6))
    found = attribution(of, rows=[2, 5])
    arrays = Arrays()
    (packed,) = attributions_content([Attributed("DM", None, "net", found)], arrays)
    assert unpacked(arrays, packed["heat"]) == pytest.approx(found.values.sum(1).numpy())
    assert packed["rows"] == [2, 5]
    assert packed["signed"]
    assert packed["delta"] == pytest.approx(found.delta.tolist())


# Settings -------------------------------------------------------------------------------------------------------------


def test_the_view_recreates_itself():
    of = distilled()
    found = looks(of, attributions=("integrated_gradients", "saliency"))
    explorer = DistilledImagesExplorer(
        of,
        looks=found,
        evaluation=evaluation(of),
        attribution={"method": "saliency", "target": 3},
        opacity=0.25,
        judged="mlp",
        training={"seeds": 2},
        left_out={"DM": [4, 2]},
    )
    assert explorer.left_out == {"DM": [2, 4]}
    assert explorer.training == {"networks": ["convnet", "mlp"], "seeds": 2, "epochs": 300, "references": True}
    again = eval(
        explorer.spec(), {"widgets": __import__("widgets"), "tiny": of, "looks": found, "evaluation": evaluation(of)}
    )
    for name in ("attribution", "opacity", "judged", "training", "left_out"):
        assert getattr(again, name) == getattr(explorer, name)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"attribution": {"method": "salience"}}, "did you mean 'saliency'"),
        ({"attribution": {"target": 10}}, "a class 0 to 9"),
        ({"attribution": {"target": True}}, "a class 0 to 9"),
        ({"attribution": {"network": "resnet"}}, "there are 'convnet'|did you mean 'convnet'"),
        ({"attribution": {"baseline": "grey"}}, "baseline 'grey'"),
        ({"attribution": {"colour": "red"}}, "attribution has no 'colour'"),
        ({"opacity": 1.5}, "opacity is 1.5; it can be 0 to 1"),
        ({"judged": "vgg"}, "judged 'vgg'"),
        ({"training": {"networks": []}}, "at least one name"),
        ({"training": {"networks": ["covnet"]}}, "did you mean 'convnet'"),
        ({"training": {"seeds": 0}}, "seeds is 0; it can be 1 to 50"),
        ({"training": {"epochs": 2.5}}, "epochs is 2.5"),
        ({"training": {"lr": 1}}, "training has no 'lr'"),
        ({"left_out": {"DM": [100]}}, "the set has images 0 to 99"),
        ({"left_out": {"MTT": [1]}}, "left_out names the set 'MTT'"),
        ({"left_out": {"DM": list(range(100))}}, "leave at least one in"),
    ],
)
def test_settings_are_refused_at_the_door(setting, message):
    of = distilled()
    with pytest.raises(traitlets.TraitError, match=message):
        DistilledImagesExplorer(of, looks=looks(of), evaluation=evaluation(of), **setting)


def test_looks_of_another_set_are_refused():
    of = distilled()
    with pytest.raises(ValueError, match="looks are of 30 images and 10 classes, but DM has 100"):
        DistilledImagesExplorer(of, looks=looks(distilled(ipc=3)))
    wrong = looks(of).replace(attributions={"ig": attribution(distilled(shape=(1, 6, 6)), rows=[1])})
    with pytest.raises(ValueError, match="attribution 'ig' has images"):
        DistilledImagesExplorer(of, looks=wrong)


# Actions --------------------------------------------------------------------------------------------------------------


def opened(tiny, digits, **options):
    training = {"networks": ["mlp"], "seeds": 2, "epochs": 20, "references": False}
    return DistilledImagesExplorer(tiny, digits, training=training | options.pop("training", {}), **options)


def test_teaching_is_the_public_evaluate(tiny, digits):
    explorer = opened(tiny, digits)
    asked = job(set="two", iteration=None)
    explorer._perform("training", asked)
    found = explorer.known.evaluations["two"]
    own = wb.condensation.evaluate(tiny, digits, ["mlp"], seeds=2, epochs=20, references=False, progress=False)
    assert torch.equal(found.accuracy, own.accuracy)
    assert explorer.findings["evaluations"]["two"]["scores"]["distilled"][0]["mean"] == pytest.approx(own.mean())
    assert explorer.live == {}
    shares = [said["fraction"] for said in asked.told if said["type"] == "progress"]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1.0)


def test_leaving_out_is_paired_with_all_of_them(tiny, digits):
    explorer = opened(tiny, digits)
    explorer._perform("training", job(set="two", without=[0, 1]))
    held = explorer.known.without["two"]
    assert held.rows == (0, 1)
    assert held.before is explorer.known.evaluations["two"]
    assert (held.before.images, held.after.images) == (20, 18)
    less = wb.condensation.evaluate(
        tiny.without([0, 1]), digits, ["mlp"], seeds=2, epochs=20, references=False, progress=False
    )
    assert torch.equal(held.after.accuracy, less.accuracy)
    assert same_protocol([held.before, held.after])
    # The training on all of them is there now: the next one needs half the work.
    kept = held.before
    explorer._perform("training", job(set="two", without=[5]))
    assert explorer.known.evaluations["two"] is kept
    assert explorer.known.without["two"].rows == (5,)
    # Other settings: both are trained anew, for only then does a difference mean something.
    explorer.training = {**explorer.training, "epochs": 10}
    explorer._perform("training", job(set="two", without=[5]))
    assert explorer.known.evaluations["two"] is not kept
    assert same_protocol([explorer.known.without["two"].before, explorer.known.without["two"].after])


def stopped_early(**details):
    """A job whose reader presses stop at the first sign of progress."""
    asked = job(**details)
    heard = asked._send

    def send(said):
        heard(said)
        asked._stop.set()

    asked._send = send
    return asked


def test_a_stopped_training_leaves_what_was_there(tiny, digits):
    explorer = opened(tiny, digits)
    explorer._perform("training", job(set="two"))
    kept = explorer.known.evaluations["two"]
    for without in ([], [3]):
        with contextlib.suppress(JobStopped):
            explorer._perform("training", stopped_early(set="two", without=without, epochs=400))
        assert explorer.known.evaluations["two"] is kept
        assert explorer.known.without == {}
        assert explorer.live == {}


def test_where_nothing_was_there_a_stopped_training_is_kept_and_says_so(tiny, digits):
    explorer = opened(tiny, digits)
    explorer._perform("training", stopped_early(set="two", epochs=400))
    assert explorer.known.evaluations["two"].interrupted
    assert explorer.findings["evaluations"]["two"]["interrupted"]


@pytest.mark.parametrize(
    ("action", "details"),
    [("training", {}), ("training", {"without": [0]}), ("attribution", {"rows": [0]}), ("looks", {"influence": True})],
)
def test_stop_is_heard_at_the_next_step_not_only_where_networks_are_tested(tiny, digits, action, details):
    """A training that would take hours, tested once at its tenth part: it ends as soon as stop is pressed."""
    training = {"networks": ["mlp"], "seeds": 1, "epochs": 100_000, "references": True}
    explorer = DistilledImagesExplorer(tiny, data=digits, training=training)
    asked = job(set="two", **details)
    ended = threading.Event()

    def work():
        with contextlib.suppress(JobStopped):
            explorer._perform(action, asked)
        ended.set()

    threading.Thread(target=work, daemon=True).start()
    assert not ended.wait(1.0)
    asked._stop.set()
    assert ended.wait(5.0)
    assert not explorer.known.evaluations


def test_a_stopped_attribution_keeps_nothing(tiny, digits):
    explorer = opened(tiny, digits, network=wb.models.build("mlp", digits))
    with pytest.raises(JobStopped):
        explorer._perform("attribution", stopped_early(set="two", rows=[0, 1, 2], network="mlp"))
    assert explorer.known.attributions == []


def test_a_snapshot_can_be_taught(digits):
    method = wb.condensation.DistributionMatching(ipc=1)
    made = wb.condensation.condense(digits, method, iterations=2, snapshots=3, progress=False).replace(name="one")
    explorer = opened(made, digits)
    explorer._perform("training", job(set="one", iteration=0))
    assert explorer.findings["taught"]["one"] == {"iteration": 0}
    own = wb.condensation.evaluate(made.at(0), digits, ["mlp"], 2, 20, references=False, progress=False)
    assert torch.equal(explorer.known.evaluations["one"].accuracy, own.accuracy)


def test_attribution_is_the_public_attribute(tiny, digits):
    network = wb.models.build("mlp", digits, seed=3)
    explorer = opened(tiny, digits, network=network)
    assert explorer.offer["attribution"]["networks"] == ["mlp", EVALUATOR]
    details = {"set": "two", "rows": [7, 2], "network": "mlp", "target": "label", "baseline": "black"}
    explorer._perform("attribution", job(**details, method="integrated_gradients"))
    (held,) = explorer.known.attributions
    own = wb.analysis.attribute(
        network,
        tiny.images[[7, 2]],
        tiny.hard_labels[[7, 2]],
        baseline="black",
        mean=tiny.mean,
        std=tiny.std,
    )
    assert torch.allclose(held.found.values, own.values, atol=1e-6)
    assert torch.allclose(held.found.delta, own.delta, atol=1e-5)
    assert held.found.rows.tolist() == [7, 2]
    assert held.found.target.tolist() == tiny.hard_labels[[7, 2]].tolist()
    (packed,) = explorer.attributions["known"]
    assert packed["asked"] == "label"
    explorer._perform("attribution", job(**details | {"target": 4}, method="saliency"))
    assert explorer.known.attributions[-1].found.target.tolist() == [4, 4]
    assert explorer.attributions["known"][-1]["baseline"] == ""


def test_the_record_of_a_network_serves_as_the_network(tiny, digits):
    record = wb.training.fit(wb.models.build("mlp", digits), digits, epochs=1, progress=False).replace(name="mine")
    explorer = DistilledImagesExplorer(tiny, network=record)
    assert explorer.attribution["network"] == "mine"
    explorer._perform("attribution", job(set="two", rows=[3], target="predicted"))
    (held,) = explorer.known.attributions
    own = wb.analysis.attribute(record.model, tiny.images[[3]], mean=tiny.mean, std=tiny.std)
    assert torch.equal(held.found.target, own.target)
    assert torch.allclose(held.found.values, own.values, atol=1e-6)


def test_the_noise_of_an_image_does_not_depend_on_the_others(tiny, digits):
    explorer = opened(tiny, digits, network=wb.models.build("mlp", digits))
    shared = {"set": "two", "network": "mlp", "method": "occlusion", "baseline": "noise"}
    explorer._perform("attribution", job(**shared, rows=[1, 4, 9]))
    explorer._perform("attribution", job(**shared, rows=[9]))
    together, alone = explorer.known.attributions
    assert torch.equal(together.found.values[2], alone.found.values[0])


def test_the_evaluator_is_trained_once_and_another_one_is_another_network(tiny, digits):
    explorer = opened(tiny, digits)
    for rows in ([0], [1]):
        explorer._perform("attribution", job(set="two", rows=rows, network=EVALUATOR))
    assert len(explorer.known.networks) == 1
    explorer.training = {**explorer.training, "epochs": 10}
    explorer._perform("attribution", job(set="two", rows=[1], network=EVALUATOR))
    assert len(explorer.known.networks) == 2
    assert [item["made"] for item in explorer.attributions["known"]] == ["mlp, 20 epochs"] * 2 + ["mlp, 10 epochs"]


def test_looking_finds_neighbours_and_influence(tiny, digits):
    explorer = opened(tiny, digits)
    explorer._perform("looks", job(set="two"))
    found = explorer.known.looks["two"]
    assert found.network == f"{EVALUATOR} (mlp, 20 epochs)"
    assert found.influence is None
    # A real image chosen as it is has itself for its nearest neighbour.
    assert found.nearest_pixels_distance[:, 0].abs().max() < 1e-3
    assert "nearest_pixels" in explorer.scores()


@pytest.mark.parametrize(
    ("action", "details", "message"),
    [
        ("training", {"set": "other"}, "set is 'other'; there are 'two'"),
        ("training", {"set": "two", "iteration": 77}, "iteration is 77"),
        ("training", {"set": "two", "without": list(range(20))}, "leave at least one in"),
        ("training", {"set": "two", "without": ["0"]}, "without has '0'"),
        ("training", {"set": "two", "networks": ["__import__('os')"]}, "network"),
        ("training", {"set": "two", "seeds": 10**9}, "seeds is 1000000000"),
        ("attribution", {"set": "two"}, "rows is None"),
        ("attribution", {"set": "two", "rows": []}, "1 to 64 can be attributed"),
        ("attribution", {"set": "two", "rows": [20]}, "images 0 to 19"),
        ("attribution", {"set": "two", "rows": [-1]}, "images 0 to 19"),
        ("attribution", {"set": "two", "rows": [1], "method": "lime"}, "method 'lime'"),
        ("attribution", {"set": "two", "rows": [1], "target": 3.0}, "a class 0 to 9"),
        ("looks", {"set": None}, "set is None"),
    ],
)
def test_requests_are_checked_before_anything_is_computed(tiny, digits, action, details, message):
    explorer = opened(tiny, digits)
    with pytest.raises(traitlets.TraitError, match=message):
        explorer._perform(action, job(**details))
    assert explorer.known.networks == {}


def test_what_is_missing_is_named(tiny, digits):
    with pytest.raises(traitlets.TraitError, match="data is nothing; to train and test"):
        DistilledImagesExplorer(tiny)._perform("training", job(set="two"))
    with pytest.raises(traitlets.TraitError, match="data is a Split"):
        DistilledImagesExplorer(tiny, digits.train)._perform("looks", job(set="two"))
    wrong = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 3))
    explorer = DistilledImagesExplorer(tiny, network=wrong)
    with pytest.raises(ValueError, match=r"'Sequential' answers with shape \(1, 3\); for the 10 classes"):
        explorer._perform("attribution", job(set="two", rows=[0]))
    deaf = DistilledImagesExplorer(tiny, network=torch.nn.Linear(5, 10))
    with pytest.raises(ValueError, match="'Linear' does not take images 1×8×8"):
        deaf._perform("attribution", job(set="two", rows=[0]))
    of = distilled()
    given_only = DistilledImagesExplorer(of, looks=looks(of))
    with pytest.raises(traitlets.TraitError, match="pass it as network="):
        given_only._perform("attribution", job(set="DM", rows=[0], network="convnet"))


def test_a_page_keeps_what_was_computed(tiny, digits):
    explorer = opened(tiny, digits, network=wb.models.build("mlp", digits))
    explorer._perform("attribution", job(set="two", rows=[3], network="mlp"))
    explorer.known.evaluations["two"] = evaluation(tiny)
    explorer.known.without["two"] = Without((1,), evaluation(tiny), evaluation(tiny.without([1]), worse=2, seed=4))
    explorer.publish()
    text = explorer.to_html()
    state = text.split('<script id="state" type="application/json">')[1].split("</script>")[0]
    held = json.loads(state)
    (packed,) = held["attributions"]["known"]
    assert packed["rows"] == [3]
    assert packed["heat"] in held["attributions_arrays"]
    assert held["findings"]["without"]["two"]["rows"] == [1]
    assert not math.isnan(held["findings"]["evaluations"]["two"]["scores"]["distilled"][0]["mean"])


# Where crops come from, and temperatures ------------------------------------------------------------------------------


def test_the_windows_behind_each_cell_travel_with_their_scores(monkeypatch):
    of = distilled(ipc=2, snapshots=1)
    choices = crop_choices(of)
    arrays = Arrays()
    sent = crops.crops_content(of.replace(choices=choices), arrays)
    assert (sent["factor"], sent["crops"], sent["pool"]) == (2, 5, [12] * 10)
    score, kept, rank = (unpacked(arrays, sent[name]) for name in ("score", "chosen", "rank"))
    assert score.shape == (20, 4, 5)
    assert (score.argmin(2) == kept).all()
    # The two images of a class show its eight best candidates, in that order.
    assert sorted(rank[6:8].flatten()) == list(range(8))
    row, cell = 7, 2
    looked_at = int(choices.picked[row, cell])
    assert unpacked(arrays, sent["source"])[row, cell] == choices.source[looked_at]
    assert score[row, cell].tolist() == choices.score[looked_at].tolist()
    assert (unpacked(arrays, sent["candidates"]) == choices.candidates.numpy()).all()
    monkeypatch.setattr(crops, "MOST_BYTES", choices.candidates.numel() - 1)
    assert crops.crops_content(of.replace(choices=choices), Arrays())["candidates"] is None
    assert crops.crops_content(of, Arrays()) is None


def test_temperatures_travel_way_by_way():
    of = distilled(snapshots=1)
    found = scaling(of)
    arrays = Arrays()
    sent = scaling_content(found, arrays)
    assert [way["name"] for way in sent["ways"]] == ["raw", "TS", "MTS 0.1", "MTS 0.5", "MTS 0.9", "oracle"]
    assert [way["ratio"] for way in sent["ways"]] == [None, 0, 0.1, 0.5, 0.9, None]
    assert [way["bounds"]["lower"] for way in sent["ways"]] == [0, 4, 1, 0, 0, 0]
    ece = sent["ways"][3]["ece"]
    half = stats.t.ppf(0.975, 3) * found.ece[3].std() / 2
    assert ece["mean"] == pytest.approx(float(found.ece[3].mean()))
    assert ece["high"] - ece["mean"] == pytest.approx(float(half))
    assert sent["ways"][0]["curve"] is None
    assert unpacked(arrays, sent["ways"][1]["curve"]).shape == (21,)
    json.dumps(sent)


def test_temperatures_of_another_set_are_refused():
    of = distilled(ipc=3)
    with pytest.raises(ValueError, match="scaling is of 100 distilled images, but DM has 30"):
        DistilledImagesExplorer(of, scaling=scaling(distilled(ipc=10)))
    with pytest.raises(TypeError, match="must be a TemperatureScaling"):
        DistilledImagesExplorer(of, scaling=evaluation(of))
    explorer = DistilledImagesExplorer(of, scaling=scaling(of), scaled="TS")
    assert "scaled='TS'" in explorer.spec()
    assert "scaling=scaling" in explorer.spec()
    with pytest.raises(traitlets.TraitError, match=r"scaled 'MTS 0\.4'; did you mean 'MTS 0\.[159]'"):
        explorer.scaled = "MTS 0.4"


def test_what_is_shown_beside_a_set_says_so():
    of = distilled(ipc=2)
    for record, name in ((looks(of), "looks"), (evaluation(of), "evaluation"), (scaling(of), "scaling")):
        with pytest.raises(TypeError, match=rf"explore\(distilled, {name}=…\)"):
            widgets.explore(record)
