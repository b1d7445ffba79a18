"""One seed, the hand-over, launches and sliders that sample again, in a plain page and in one that talks to Python."""

import re

import pytest
import torch
from target_panels import Broken, Gate, adapter_for, classes_of, digits, explorer_of, network, noise, pair
from test_pages import DARK, FAINT, HOSTILE

from widgets.targets import TargetTrajectoryExplorer
from workbench.diffusion import ring, target_trajectories


def text(view, name):
    return re.sub(r"\s+", " ", view.part(name).inner_text())


def inked(view, name):
    """A canvas as drawn."""
    return view.page.evaluate(
        "name => document.querySelector(`canvas[data-testid='${name}'], [data-testid='${name}'] canvas`).toDataURL()",
        name,
    )


# One seed -------------------------------------------------------------------------------------------------------------


def test_nothing_pinned_says_what_to_do(show):
    view = show(explorer_of())
    assert "Hover a seed; click to keep it." in text(view, "empty")
    assert not view.part("seed-path").is_visible()
    assert not view.part("launches").is_visible()  # without a kernel nothing can be launched


def test_the_numbers_of_a_seed_are_those_of_the_record(show):
    explorer = explorer_of(selection={"seeds": [7, 2], "step": 12})
    view = show(explorer)
    assert text(view, "seed-title").startswith("seed 7")
    assert "1 of 2 selected" in text(view, "seed-title")
    base = explorer.runs["base"]
    said = text(view, "seed-now").replace("−", "-")
    for value in (*base.states[11, 7].tolist(), *base.targets[11, 7].tolist()):
        assert f"{float(f'{value:.3g}'):g}" in said
    apart = float((base.targets[11, 7] - base.samples[7]).norm())
    assert f"{float(f'{apart:.3g}'):g}" in said
    assert "state (" in view.part("seed-path").get_attribute("aria-label")
    view.page.get_by_title("Show seed 2").click()
    view.settle()
    assert view.trait("selection")["seeds"] == [2, 7]
    assert text(view, "seed-title").startswith("seed 2")


def test_the_path_moves_with_the_timeline(show):
    view = show(explorer_of(selection={"seeds": [7], "step": 3}))
    before = inked(view, "seed-path")
    view.part("slider").focus()
    view.page.keyboard.press("End")
    view.settle()
    assert inked(view, "seed-path") != before
    box = view.part("seed-distance").bounding_box()
    left, _, width, *_ = map(float, view.part("seed-distance").get_attribute("data-geometry").split())
    view.page.mouse.click(box["x"] + left + width * 5 / 20, box["y"] + 60)
    view.settle()
    assert view.trait("selection")["step"] == 6  # five steps after the first of twenty


def test_a_film_shows_any_step_large(show):
    explorer = digits(selection={"seeds": [4], "step": 11})
    view = show(explorer)
    assert "base, step 11 of 20" in text(view, "inspector")
    run = explorer.runs["student"]
    view.page.get_by_role("button", name="student, step 2", exact=True).click()
    view.settle()
    assert view.trait("selection") | {"seeds": None} == {"step": 2, "run": "student", "seeds": None, "switch": 1}
    assert text(view, "large-title") == "student, step 2 of 4"
    raw = (run.targets[1, 4, 0] * 0.5 + 0.5).clamp(0, 1)
    large = view.part("large")
    large.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown"):
        view.page.keyboard.press(key)
    view.settle()
    assert f"row 2, column 2: value {raw[2, 2]:.2f}" in text(view, "live")
    before = inked(view, "large")
    view.part("large-states").click()
    view.settle()
    assert inked(view, "large") != before
    view.part("large-targets").click()
    view.settle()
    assert inked(view, "large") == before


# Hand-over ------------------------------------------------------------------------------------------------------------


def test_the_switch_moves_samples_measures_and_calls_without_a_kernel(show):
    explorer = explorer_of(swept=True, view="hand-over", selection={"switch": 0})
    record = explorer.handed
    view = show(explorer)
    assert text(view, "shared") == "student makes all 4 steps: 4 calls per seed, 0 of base and 4 of student."
    seen = []
    slider = view.part("slider-switch")
    slider.focus()
    for k in range(5):
        view.settle()
        assert view.trait("selection")["switch"] == k
        seen.append(inked(view, "hand-over-points"))
        for name in ("entropy", "quality", "diversity"):
            value = float(record.measures[name]["switches"][k])
            assert text(view, f"measured-{name}").startswith(f"{float(f'{value:.3g}'):g}")
        view.page.keyboard.press("ArrowRight")
        view.settle()
    assert len(set(seen)) == 5
    assert text(view, "shared") == "base makes all 4 steps: 4 calls per seed, 4 of base and 0 of student."
    assert view.trait("selection")["step"] == 10  # the arrow keys belong to the slider, not to the timeline
    view.part("sharing-one-step").click()
    view.settle()
    assert text(view, "shared").startswith("base makes step 4, student the others")
    view.part("step-2").click()
    view.settle()
    assert view.trait("selection")["switch"] == 2
    assert (
        text(view, "shared") == "base makes step 2, student the others: 4 calls per seed, 1 of base and 3 of student."
    )
    value = float(record.measures["entropy"]["positions"][1])
    assert text(view, "measured-entropy").startswith(f"{float(f'{value:.3g}'):g}")
    makers = [view.part(f"step-{i}").get_attribute("data-by") for i in range(1, 5)]
    assert makers == ["student", "base", "student", "student"]
    view.part("step-2").click()
    view.settle()
    assert view.trait("selection")["switch"] == 0
    assert not view.part("hand-over-compute").is_visible()
    assert not view.part("controls").is_visible()


def test_a_click_in_a_plot_chooses_the_switch(show):
    view = show(explorer_of(swept=True, view="hand-over"))
    plot = view.part("measure-quality")
    left, _, width, _, low, high, *_ = map(float, plot.get_attribute("data-geometry").split())
    box = plot.bounding_box()
    view.page.mouse.click(box["x"] + left + width * (3 - low) / (high - low), box["y"] + 60)
    view.settle()
    assert view.trait("selection")["switch"] == 3
    assert "3: " in plot.get_attribute("aria-label")


def test_samples_of_a_hand_over_are_the_same_seeds(show):
    explorer = explorer_of(swept=True, view="hand-over", selection={"switch": 2})
    view = show(explorer)
    canvas = view.part("hand-over-points")
    left, top, width, height, x0, x1, y0, y1 = map(float, canvas.get_attribute("data-geometry").split())
    samples = explorer.handed.switches[2]
    alone = (torch.cdist(samples, samples) + 9 * torch.eye(len(samples))).min(1).values
    seed = int(alone.argmax())
    x, y = samples[seed].tolist()
    box = canvas.bounding_box()
    at = box["x"] + left + (x - x0) / (x1 - x0) * width, box["y"] + top + (y1 - y) / (y1 - y0) * height
    view.page.mouse.move(*at)
    view.settle()
    assert f"seed {seed}" in text(view, "tooltip")
    view.page.mouse.click(*at)
    view.settle()
    assert view.trait("selection")["seeds"] == [seed]


def test_pictures_of_a_hand_over(show):
    explorer = digits(12, view="hand-over", selection={"switch": 0})
    view = show(explorer)
    before = inked(view, "hand-over-sheet")
    view.part("step-3").click()
    view.settle()
    assert inked(view, "hand-over-sheet") != before
    box = view.part("hand-over-sheet").bounding_box()
    view.page.mouse.click(box["x"] + 10, box["y"] + 10)
    view.settle()
    assert view.trait("selection")["seeds"] == [0]
    assert text(view, "seed-title").startswith("seed 0, class 0")


def test_the_table_of_a_hand_over_is_that_of_python(show):
    explorer = explorer_of(swept=True, view="hand-over", selection={"switch": 3})
    view = show(explorer)
    view.part("explorer").focus()
    view.page.keyboard.press("d")
    table = view.part("panel").locator("table")
    view.settle()
    assert table.locator("thead th").all_inner_texts() == explorer.data().columns.tolist()
    assert table.locator("tbody tr").nth(3).locator("td").nth(2).inner_text() == "yes"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_panels_are_legible_and_fit(show, scheme):
    prepare = DARK if scheme == "dark" else None
    for explorer in (explorer_of(swept=True, view="hand-over", selection={"seeds": [3, 5]}), digits(view="hand-over")):
        view = show(explorer, width=600, prepare=prepare)
        assert view.page.evaluate(FAINT) == []
        assert view.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
        view.part("sharing-one-step").click()
        view.settle()
        assert view.page.evaluate(FAINT) == []


def test_names_are_text(show):
    explorer = explorer_of(names=(HOSTILE, f"{HOSTILE} 2"), swept=True, view="hand-over", selection={"seeds": [1]})
    view = show(explorer)
    assert view.page.locator("img").count() == 0
    assert HOSTILE in text(view, "shared")
    assert HOSTILE in text(view, "seed-now")


# Sampling again -------------------------------------------------------------------------------------------------------


def test_a_slider_samples_again(live):
    explorer = explorer_of()
    wire = live(explorer)
    slider = wire.part("slider-steps")
    slider.focus()
    for _ in range(12):
        wire.page.keyboard.press("ArrowRight")
    wire.until(lambda: explorer.sampling == {"base": {"steps": 32}})
    wire.until(lambda: "32 calls per seed" in wire.part("resample-note").inner_text())
    wire.settle()
    assert explorer.content["revision"] <= 3  # not once for each key
    own = target_trajectories(ring(), noise(), steps=32)
    assert torch.equal(explorer.runs["base"].samples, own.samples)
    wire.part("setting-sampler").select_option("heun")
    wire.until(lambda: explorer.runs["base"].calls == 64)
    wire.part("tuned").get_by_text("student").click()
    wire.until(lambda: explorer.tuned == "student")
    wire.until(lambda: wire.part("value-steps").inner_text() == "4")
    wire.part("tuned").get_by_text("base").click()
    wire.until(lambda: wire.part("value-steps").inner_text() == "32")
    wire.part("reset-steps").click()
    wire.until(lambda: explorer.sampling == {"base": {"sampler": "heun"}})
    wire.part("resample-reset").click()
    wire.until(lambda: explorer.sampling == {})
    wire.until(lambda: not wire.part("resample-reset").is_visible())
    wire.settle()
    assert wire.problems == []
    assert explorer.error == ""


def test_progress_is_shown_and_a_stop_puts_the_slider_back(live):
    explorer = explorer_of()
    gate = Gate(ring())
    explorer.resampler.models["base"] = gate
    wire = live(explorer)
    wire.part("slider-steps").focus()
    wire.page.keyboard.press("ArrowRight")
    wire.until(lambda: gate.calls == 1)
    (job,) = explorer._jobs._running.values()
    wire.until(lambda: wire.part("computing").is_visible())  # what takes longer than a moment says so
    job.progress(0.3, "base")
    wire.until(lambda: "computing samples 30 % · base" in wire.part("computing").inner_text())
    wire.until(lambda: "sampling …" in wire.part("resample-note").inner_text())
    wire.until(lambda: wire.part("value-steps").inner_text() == "21")
    wire.part("stop").click()
    wire.pump()
    gate.gate.set()
    wire.until(lambda: not explorer._jobs._running)
    wire.until(lambda: "samples stopped" in wire.part("live").inner_text())
    wire.until(lambda: wire.part("value-steps").inner_text() == "20")
    wire.settle()
    assert explorer.sampling == {}
    wire.until(lambda: not wire.part("computing").is_visible())
    assert wire.problems == []


def test_the_last_wish_wins(live):
    explorer = explorer_of()
    gate = Gate(ring())
    explorer.resampler.models["base"] = gate
    wire = live(explorer)
    wire.part("slider-steps").focus()
    wire.page.keyboard.press("ArrowRight")
    wire.until(lambda: gate.calls == 1)
    for steps in (20, 19, 18, 17):
        wire.page.keyboard.press("ArrowLeft")
        wire.until(lambda steps=steps: wire.part("value-steps").inner_text() == str(steps))
    gate.gate.set()
    wire.until(lambda: explorer.sampling == {"base": {"steps": 17}} and not explorer._jobs._running)
    wire.until(lambda: "17 calls per seed" in wire.part("resample-note").inner_text())
    wire.settle()
    assert explorer.run.steps == 17
    assert wire.problems == []
    assert explorer.error == ""


def test_a_failure_is_shown_and_the_view_goes_back(live):
    explorer = explorer_of()
    explorer.resampler.models["base"] = Broken(ring())
    wire = live(explorer)
    wire.part("setting-sampler").select_option("heun")
    wire.until(lambda: "the device is gone" in wire.part("error").inner_text())
    wire.until(lambda: wire.part("setting-sampler").input_value() == "ddim")
    wire.settle()
    assert explorer.run.sampler == "ddim"
    assert wire.problems == []


def test_guidance_and_adapters_have_sliders_where_they_can_act(live):
    explorer = classes_of()
    wire = live(explorer)
    assert wire.part("value-guidance").inner_text() == "2.0"
    assert not wire.part("slider-adapter").is_visible()
    wire.part("slider-guidance").focus()
    wire.page.keyboard.press("Home")
    wire.until(lambda: explorer.sampling == {"base": {"guidance": 0.0}})
    wire.until(lambda: wire.part("value-guidance").inner_text() == "0 (no class)")
    model = network()
    run = target_trajectories(model, noise(8), steps=4, name="base", role="teacher")
    adapted = TargetTrajectoryExplorer(run, teacher=model, adapter=adapter_for(model, HOSTILE))
    wire = live(adapted)
    assert wire.part("slider-guidance").is_disabled()
    assert HOSTILE in wire.part("controls").inner_text()
    wire.part("slider-adapter").focus()
    wire.page.keyboard.press("End")
    wire.until(lambda: adapted.adapter_scale == 2)
    wire.until(lambda: wire.part("value-adapter").inner_text() == "+2.00")
    wire.settle()
    assert not torch.equal(adapted.run.samples, run.samples)
    assert wire.problems == []


def test_without_models_there_are_no_sliders(live):
    wire = live(TargetTrajectoryExplorer(list(pair(6))))
    assert not wire.part("controls").is_visible()
    assert not wire.part("launches").is_visible()
    assert not wire.part("tab-hand-over").is_visible()


# Launches and the hand-over, with a kernel ----------------------------------------------------------------------------


def test_a_click_launches_and_a_launch_is_removed(live):
    explorer = explorer_of()
    wire = live(explorer)
    canvas = wire.part("plane-0")
    left, top, width, height, x0, x1, y0, y1 = map(float, canvas.get_attribute("data-geometry").split())
    box = canvas.bounding_box()
    x, y = 0.97 * x1, 0.97 * y1  # a corner, where no seed is
    wire.page.mouse.click(
        box["x"] + left + (x - x0) / (x1 - x0) * width, box["y"] + top + (y1 - y) / (y1 - y0) * height
    )
    wire.until(lambda: len(explorer.launched) == 1)
    wire.settle()
    assert explorer.launched[0]["noise"] == pytest.approx([x / 0.999, y / 0.999], abs=0.02)
    wire.until(lambda: "noise" in wire.part("launches").inner_text())
    assert "from base" in wire.part("launches").inner_text()
    wire.part("launch-fresh").click()
    wire.until(lambda: len(explorer.launched) == 2)
    wire.until(lambda: wire.part("launch-clear").is_visible())
    wire.page.get_by_label("Remove the launch from fresh noise 0").click()
    wire.until(lambda: len(explorer.launched) == 1 and "noise" in explorer.launched[0])
    wire.settle()
    assert wire.problems == []
    assert explorer.error == ""


def test_a_hand_over_is_computed_and_said_to_be_old(live):
    explorer = explorer_of(view="plane")
    wire = live(explorer)
    wire.part("tab-hand-over").click()
    wire.until(lambda: "not computed yet" in wire.part("hand-over-ask").inner_text())
    wire.part("hand-over-compute").click()
    wire.until(lambda: explorer.handed is not None, 60)
    wire.until(lambda: wire.part("shared").is_visible())
    wire.until(lambda: "base makes step 1, student steps 2–4" in wire.part("shared").inner_text())
    wire.settle()
    assert not wire.part("hand-over-stale").is_visible()
    wire.part("slider-switch").fill("3")
    wire.until(lambda: explorer.selection["switch"] == 3)
    wire.part("tuned").get_by_text("student").click()
    wire.until(lambda: wire.part("value-steps").inner_text() == "4")
    wire.part("slider-steps").fill("2")
    wire.until(lambda: explorer.runs["student"].steps == 2)
    wire.until(lambda: wire.part("hand-over-stale").is_visible())
    wire.part("hand-over-compute").click()
    wire.until(lambda: explorer.handed.steps == 2, 60)
    wire.until(lambda: not wire.part("hand-over-stale").is_visible())
    wire.settle()
    assert explorer.selection["switch"] == 2
    assert wire.problems == []
    assert explorer.error == ""
