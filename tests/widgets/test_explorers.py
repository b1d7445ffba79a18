"""The Python half: traits, specs, tables, pages and pictures."""

import base64
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import traitlets
from synthetic_records import similarity_map

import widgets
from widgets.core.arrays import Arrays
from widgets.core.jobs import Jobs
from widgets.core.modules import ROOT, compose
from widgets.features.content import measure_label
from workbench.records import SimilarityMap, StudyResult


def small(**changes):
    fields = {
        "values": torch.eye(3),
        "layers_a": ("a1", "a2", "a3"),
        "layers_b": ("b1", "b2", "b3"),
        "measure": "cka",
        "n": 50,
    }
    return SimilarityMap(**(fields | changes))


def test_importing_widgets_loads_neither_torch_nor_ipywidgets():
    heavy = ("torch", "ipywidgets", "matplotlib", "anywidget")
    code = f"import sys, widgets; print([name for name in {heavy} if name in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_explore_picks_the_explorer_by_the_record(similar, runs):
    assert isinstance(widgets.explore(similar), widgets.FeatureSimilarityExplorer)
    assert isinstance(widgets.explore(runs), widgets.TrainingExplorer)
    assert isinstance(widgets.explore(runs[0], logarithmic=True), widgets.TrainingExplorer)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (3, "a record or a list"),
        ([], "a record or a list"),
        ("run.safetensors", "not a str"),
        (StudyResult(paper=1, title="?"), "explore one of its records"),
    ],
)
def test_explore_refuses_what_no_explorer_draws(wrong, says):
    with pytest.raises(TypeError, match=says):
        widgets.explore(wrong)


def test_explore_refuses_mixed_records(similar, runs):
    with pytest.raises(TypeError, match="SimilarityMap, TrainingRecord"):
        widgets.explore([similar, runs[0]])


def test_an_unknown_option_names_the_likely_mistake(similar, runs):
    with pytest.raises(TypeError, match="'color_map'; did you mean 'colour_map'"):
        widgets.explore(similar, color_map="cividis")
    with pytest.raises(TypeError, match="did you mean 'metric'"):
        widgets.explore(runs, metrics="loss")


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        ({"layer_a": "layer2.3.conv1"}, "did you mean 'layer2.3.conv2'"),
        ({"epoch": 21}, "epoch is 21"),
        ({"example": 500}, "examples 0 to 39"),
        ({"layers_a": "conv1"}, "did you mean 'layer_a'"),
    ],
)
def test_a_selection_that_the_record_lacks_is_refused(similar, selection, says):
    explorer = widgets.explore(similar)
    before = explorer.selection
    with pytest.raises(traitlets.TraitError, match=re.escape(says)):
        explorer.selection = selection
    assert explorer.selection == before


def test_a_selection_keeps_what_it_leaves_out(similar):
    explorer = widgets.explore(similar, selection={"layer_a": "conv1", "epoch": 4})
    explorer.selection = {"layer_b": "layer2.0"}
    assert explorer.selection == {"layer_a": "conv1", "layer_b": "layer2.0", "epoch": 4, "example": None}
    explorer.selection = {"layer_a": None}
    assert explorer.selection["layer_a"] is None


def test_spec_recreates_the_view(similar, two_students, runs):
    views = [
        widgets.explore(
            similar,
            selection={"layer_a": "conv1", "layer_b": "layer1.0", "epoch": 3, "example": 5},
            class_name="7",
            diagonal=True,
            stretch=True,
        ),
        widgets.explore(two_students, numbers=True, colour_map="cividis"),
        widgets.explore(runs, metric="loss", logarithmic=True, selection={"run": "student, KL", "epoch": 2}),
        widgets.TrainingExplorer(runs, roles=["other", "teacher", "student"]),
    ]
    names = {"widgets": widgets, "similar": similar, "similar_1": two_students[0], "similar_2": two_students[1]}
    names |= {f"run_{k + 1}": run for k, run in enumerate(runs)}
    for view in views:
        again = eval(view.spec(), names)
        assert {name: getattr(again, name) for name in view.settings} == {
            name: getattr(view, name) for name in view.settings
        }
        assert again.content == view.content


def test_data_is_what_the_record_says(similar):
    explorer = widgets.explore(similar, selection={"epoch": 5})
    frame = explorer.data()
    expected = similar.to_frame().query("epoch == 5").drop(columns="epoch").reset_index(drop=True)
    pd.testing.assert_frame_equal(frame, expected, check_exact=False, atol=1e-6)
    explorer.class_name = "3"
    np.testing.assert_allclose(explorer.data().value.to_numpy(), similar.per_class[4, 3].ravel().numpy(), atol=1e-6)


def test_two_maps_differ_cell_by_cell(two_students):
    explorer = widgets.explore(two_students, selection={"epoch": 7})
    shift = explorer.difference()
    np.testing.assert_allclose(shift.to_numpy(), (two_students[1].stack - two_students[0].stack)[6].numpy(), atol=1e-6)
    assert set(explorer.data().pair) == {"convnet, labels only", "convnet, KL", "difference"}


def test_maps_with_other_layer_names_are_compared_by_position_or_say_why_not():
    by_position = widgets.explore([small(name_b="x"), small(name_b="y", layers_b=("c1", "c2", "c3"))])
    assert "columns of the difference paired by position" in by_position.content["difference"]["how"]
    assert list(by_position.difference().columns) == ["b1 | c1", "b2 | c2", "b3 | c3"]
    neither = widgets.explore([small(name_b="x"), small(name_b="y", values=torch.ones(3, 2), layers_b=("c1", "c2"))])
    assert neither.difference() is None
    assert "no layer name in common" in neither.content["difference"]["reason"]


def test_several_measures_become_a_switch(similar):
    other = similar.replace(measure="procrustes", options={}, values=similar.stack * 0.5)
    explorer = widgets.explore([similar, other])
    assert explorer.content["measures"] == ["CKA (linear, debiased)", "Procrustes"]
    assert len(explorer.content["pairs"]) == 1
    explorer.measure = "Procrustes"
    assert explorer.data().value.max() < 0.5
    with pytest.raises(traitlets.TraitError, match="did you mean 'Procrustes'"):
        explorer.measure = "procustes"


def test_more_than_two_pairs_are_refused():
    with pytest.raises(ValueError, match="compare 3 pairs"):
        widgets.explore([small(name_b=name) for name in "xyz"])


def test_an_array_travels_once(two_students):
    explorer = widgets.explore(two_students)
    first, second = explorer.content["pairs"]
    assert first["views_a"]["projections"] == second["views_a"]["projections"]
    arrays = Arrays()
    name = arrays.add(torch.arange(6).reshape(2, 3), "int32")
    packed = arrays.packed[name]
    assert np.array_equal(
        np.frombuffer(packed["data"], packed["dtype"]).reshape(packed["shape"]), [[0, 1, 2], [3, 4, 5]]
    )


def test_linked_selections_share_what_both_have(similar, runs):
    map_view, curves = widgets.explore(similar), widgets.explore(runs)
    unlink = map_view.link(curves)
    curves.selection = {"epoch": 3}
    assert map_view.selection["epoch"] == 3
    map_view.selection = {"epoch": 9, "layer_a": "conv1"}
    assert curves.selection == {"epoch": 9, "run": None}
    unlink()
    map_view.selection = {"epoch": 1}
    assert curves.selection["epoch"] == 9


def test_the_notebook_keeps_a_picture_and_a_line(similar, runs):
    for view in (widgets.explore(similar), widgets.explore(runs)):
        formats, _ = view._repr_mimebundle_()
        assert base64.b64decode(formats["image/png"]).startswith(b"\x89PNG")
        assert formats["text/plain"] == view.summary()
        assert "application/vnd.jupyter.widget-view+json" in formats
        assert "\n" not in view.summary()


def test_pictures_of_every_state(tmp_path, similar, two_students, runs):
    odd = small(values=torch.full((3, 3), float("nan")), name_a="cost $x$ of $", layers_a=("$a_{", "b", "c"))
    for k, view in enumerate(
        [
            widgets.explore(
                similar, selection={"layer_a": "conv1", "layer_b": "layer2.0", "example": 3}, diagonal=True
            ),
            widgets.explore(two_students, stretch=True),
            widgets.explore(odd, stretch=True),
            widgets.explore(runs, metric="loss", logarithmic=True),
        ]
    ):
        assert view.to_png(tmp_path / f"{k}.png", dpi=40).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("records", ["similar", "two_students", "runs"])
def test_a_page_loads_nothing(request, tmp_path, records):
    page = widgets.explore(request.getfixturevalue(records)).to_html(tmp_path / "page.html").read_text()
    own = (
        page if records != "runs" else page.split("globalThis.Plotly ??=")[0] + page.split('<script type="module">')[1]
    )
    loads = re.findall(
        r"""(?:src|href)\s*=\s*["']?https?:[^"'\s>]*|url\(\s*["']?https?:[^)]*|import\s*\(?["']https?:[^"']*|@import[^;]*""",
        own,
    )
    assert loads == []
    assert "default-src 'none'" in page


@pytest.mark.parametrize("verb", ["to_html", "to_png"])
def test_what_was_there_stays_when_the_disk_is_full(tmp_path, monkeypatch, similar, verb):
    path = tmp_path / "view"
    path.write_text("before")

    def full(self, *args, **kwargs):
        with self.open("wb") as file:
            file.write(b"half of it")
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        getattr(widgets.explore(similar), verb)(path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_hostile_name_cannot_end_the_page_s_script(tmp_path):
    hostile = "</script><script>alert(1)</script><!--"
    page = widgets.explore(small(name_a=hostile, layers_a=(hostile, "x", "y"))).to_html()
    assert hostile not in page
    assert "\\u003c/script" in page


def test_an_error_in_an_observer_shows_in_the_widget_and_goes_away(similar):
    explorer = widgets.explore(similar)

    def observer(change):
        if change.new["epoch"] == 2:
            raise RuntimeError("this observer cannot read epoch 2")

    explorer.observe(observer, "selection")
    explorer.set_state({"selection": {"epoch": 2}})
    assert "this observer cannot read epoch 2" in explorer.error
    explorer.set_state({"selection": {"epoch": 3}})
    assert explorer.error == ""


def test_what_the_browser_cannot_know_is_refused_visibly(similar):
    explorer = widgets.explore(similar)
    explorer.set_state({"selection": {"epoch": 99}})
    assert "epoch is 99" in explorer.error


def test_halves_of_different_versions_say_so(similar):
    explorer = widgets.explore(similar)
    explorer._answer(explorer, {"type": "hello", "protocol": 1}, [])
    assert explorer.error == ""
    explorer._answer(explorer, {"type": "hello", "protocol": 99}, [])
    assert "reload this browser tab" in explorer.error
    assert widgets.versions()["python"] == widgets.versions()["javascript"]


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert condition()


def test_computing_on_demand_reports_progress_and_joins_the_view(similar, monkeypatch):
    sent = []
    better = similar.replace(values=similar.stack * 0 + 0.5)

    def work(job):
        job.progress(0.25, "batch 1 of 4")
        return better

    explorer = widgets.explore(similar, actions={"again": work})
    monkeypatch.setattr(explorer._jobs, "_send", sent.append)
    explorer._answer(explorer, {"type": "request", "id": "v-1", "name": "again", "details": {}}, [])
    wait_for(lambda: any(message["type"] == "result" for message in sent))
    assert {"type": "progress", "id": "v-1", "fraction": 0.25, "text": "batch 1 of 4"} in sent
    assert explorer.data().value.dropna().eq(0.5).all()
    assert explorer.actions == ["again"]


def test_a_job_stops_when_told_and_a_failing_one_shows_its_traceback():
    sent, errors = [], []
    jobs = Jobs(sent.append, errors.append)

    def forever(job):
        while True:
            job.progress(None)
            time.sleep(0.001)

    thread = jobs.start("a", forever)
    jobs.stop("a")
    thread.join(60)
    assert not thread.is_alive()
    assert sent[-1] == {"type": "stopped", "id": "a"}
    jobs.start("b", lambda job: 1 / 0).join(60)
    assert "ZeroDivisionError" in errors[-1]
    assert sent[-1]["type"] == "failed"
    jobs.start("c", lambda job: sys.exit("no such model")).join(5)
    assert "SystemExit: no such model" in errors[-1]
    assert sent[-1]["type"] == "failed"


def test_training_names_are_told_apart(runs):
    explorer = widgets.explore([runs[0], runs[0].replace()])
    assert list(explorer.records) == ["teacher (1)", "teacher (2)"]
    with pytest.raises(traitlets.TraitError, match="did you mean 'teacher"):
        explorer.selection = {"run": "teacher"}


def test_training_data_and_roles(runs):
    explorer = widgets.explore(runs)
    assert [run["role"] for run in explorer.content["runs"]] == ["teacher", "student", "other"]
    frame = explorer.data()
    assert list(frame.columns) == ["run", "epoch", "test_accuracy", "train_accuracy"]
    assert len(frame) == 60
    with pytest.raises(ValueError, match="for each of the 3 records"):
        widgets.TrainingExplorer(runs, roles=["teacher"])


def test_measures_are_named_with_their_options(similar):
    assert measure_label(similar) == "CKA (linear, debiased)"
    assert measure_label(small(measure="mknn", options={"k": 10})) == "mutual k-NN (k 10)"


@pytest.mark.parametrize("entry", ["features/explorer.js", "training/explorer.js", "parts/standalone.js"])
def test_modules_are_joined_once_and_whole(entry):
    module = compose(entry)
    assert not re.search(r"^import ", module, re.MULTILINE)
    names = re.findall(r"^const (part_\w+) = \(\(\) =>", module, re.MULTILINE)
    assert len(names) == len(set(names))


def test_a_part_that_cannot_be_joined_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("widgets.core.modules.ROOT", tmp_path)
    (tmp_path / "one.js").write_text('import * as all from "./two.js";\n')
    with pytest.raises(ValueError, match="cannot be joined"):
        compose.__wrapped__("one.js")
    (tmp_path / "one.js").write_text('import { b } from "./two.js";\nexport const a = 1;\n')
    (tmp_path / "two.js").write_text('import { a } from "./one.js";\nexport const b = 1;\n')
    with pytest.raises(ValueError, match="ring"):
        compose.__wrapped__("one.js")


def test_no_part_writes_html():
    for path in ROOT.rglob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write", path.read_text()), path.name


def test_one_moment_without_examples_or_classes():
    explorer = widgets.explore(similarity_map(epochs=0, per_class=False).replace(examples=None))
    assert explorer.selection["epoch"] is None
    assert explorer.content["pairs"][0]["views_a"] is None
    with pytest.raises(traitlets.TraitError, match="per_class=True"):
        explorer.class_name = "3"
    with pytest.raises(traitlets.TraitError, match="keeps no examples"):
        explorer.selection = {"example": 0}
