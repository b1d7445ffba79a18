"""One distilled image and what the set teaches, in a plain page without kernel, and in one that talks to Python."""

import re
from pathlib import Path

import pytest
import torch
from lens_records import attribution, crop_choices, distilled, evaluation, looks, scaling
from test_pages import DARK, FAINT, HOSTILE

import widgets
import workbench as wb
from widgets.distilled import DistilledImagesExplorer
from widgets.distilled.findings import Without

ROW = 12


def explorer_of(of=None, *, without=(30, 31, 32), seeds=5, **options):
    """Everything known: looks with two attributions, an evaluation, and one without some images."""
    of = distilled() if of is None else of
    names = ("integrated_gradients", "saliency")
    options = {"selection": {"images": [ROW, 30, 55]}, "panel": "teaching"} | options
    made = DistilledImagesExplorer(
        of, looks=looks(of, attributions=names), evaluation=evaluation(of, seeds=seeds), **options
    )
    if without:
        (name,) = made.sets
        less = evaluation(of.without(list(without)), worse=3, seed=5, seeds=seeds)
        made.known.without[name] = Without(without, made.known.evaluations[name], less)
        made.left_out = {name: list(without)}
        made.publish()
    return made


def mixed(view, x, y):
    """Colour of a pixel of the large image in its middle, (r, g, b)."""
    return view.page.evaluate(
        """([x, y]) => {
            const canvas = document.querySelector('[data-testid="large"]');
            const pixel = Number(canvas.dataset.geometry.split(" ")[4]);
            const ratio = canvas.width / canvas.clientWidth;
            const at = [(x + 0.5) * pixel * ratio, (y + 0.5) * pixel * ratio];
            return [...canvas.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
        }""",
        [x, y],
    )


def text(view, name):
    return re.sub(r"\s+", " ", view.part(name).inner_text())


# One image ------------------------------------------------------------------------------------------------------------


def test_nothing_pinned_says_what_to_do(show):
    view = show(explorer_of(selection={"images": []}))
    assert "Hover an image; click to keep it." in text(view, "empty")
    assert not view.part("large").is_visible()


def test_the_attribution_lies_over_the_image_in_its_colours(show):
    from matplotlib.colors import LinearSegmentedColormap

    explorer = explorer_of(opacity=0.5)
    view = show(explorer)
    source = (Path(widgets.__file__).parent / "parts" / "colours.js").read_text(encoding="utf-8")
    stops = re.search(r'diverging:\s+"([0-9a-f ]+)"', source)[1]
    diverging = LinearSegmentedColormap.from_list("diverging", [f"#{stop}" for stop in stops.split()])
    heat = explorer.known.looks["DM"].attributions["integrated_gradients"].heat[ROW]
    limit = heat.abs().max()
    shown = explorer.record.pictures()[ROW, 0]
    for x, y in [(0, 0), (3, 4), (7, 2), (5, 5)]:
        over = [255 * part for part in diverging(0.5 + float(heat[y, x] / limit) / 2)[:3]]
        expected = [0.5 * part + 0.5 * int(shown[y, x]) for part in over]
        assert max(abs(a - b) for a, b in zip(mixed(view, x, y), expected, strict=True)) <= 6
    slider = view.part("slider-opacity")
    slider.fill("0")
    view.settle()
    assert view.trait("opacity") == 0
    assert max(abs(part - int(shown[4, 3])) for part in mixed(view, 3, 4)) <= 1


def test_magnitudes_are_viridis_and_another_choice_is_one_click_away(show):
    from matplotlib import colormaps

    explorer = explorer_of(opacity=1.0, attribution={"method": "occlusion"})
    view = show(explorer)
    assert "Not computed for this image. Computed:" in text(view, "attribution-note")
    view.page.get_by_test_id("offer").filter(has_text="Saliency").click()
    view.settle()
    assert view.trait("attribution")["method"] == "saliency"
    assert not view.part("attribution-baseline").is_visible()
    heat = explorer.known.looks["DM"].attributions["saliency"].heat[ROW]
    y, x = divmod(int(heat.argmax()), 8)
    expected = [round(255 * part) for part in colormaps["viridis"](1.0)[:3]]
    assert max(abs(a - b) for a, b in zip(mixed(view, x, y), expected, strict=True)) <= 3
    assert "largest" in text(view, "attribution-note")
    assert "delta" not in text(view, "attribution-note")


def test_integrated_gradients_say_how_far_their_sum_is_off(show):
    explorer = explorer_of()
    view = show(explorer)
    found = explorer.known.looks["DM"].attributions["integrated_gradients"]
    said = text(view, "attribution-note").replace("−", "-")
    assert f"for 1: sum {float(found.heat[ROW].sum()):.3f} logit" in said
    assert f"convergence delta {float(found.delta[ROW]):+.4f} logit" in said


def test_pixels_are_read_with_the_cursor_the_keys_and_as_numbers(show):
    explorer = explorer_of()
    view = show(explorer)
    raw = explorer.record.pictures()[ROW, 0].float() / 255
    box = view.part("large").bounding_box()
    view.page.mouse.move(box["x"] + 3.5 * 40, box["y"] + 2.5 * 40)
    view.settle()
    assert "row 2, column 3" in text(view, "tooltip")
    assert f"{raw[2, 3]:.3f}" in text(view, "tooltip")
    heat = explorer.known.looks["DM"].attributions["integrated_gradients"].heat[ROW]
    assert f"{abs(heat[2, 3]):.4f} logit" in text(view, "tooltip")
    view.part("large").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        view.page.keyboard.press(key)
    view.settle()
    assert f"row 3, column 5: value {raw[3, 5]:.3f}" in text(view, "live")
    before = mixed(view, 0, 0)
    view.part("setting-pixel_values").check()
    view.settle()
    assert view.trait("pixel_values") is True
    changed = view.page.evaluate(
        """() => {
            const canvas = document.querySelector('[data-testid="large"]');
            const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            return new Set(Array.from({ length: 40 }, (_, k) => data[4 * (20 * canvas.width + k)])).size;
        }"""
    )
    assert changed > 3, f"no digits over {before}"


def bars(view, row):
    """Widths of a class's bars as shares of their track, in order."""
    return view.page.evaluate(
        """row => [...document.querySelectorAll(`[data-testid="class-rows"] tbody tr:nth-child(${row + 1}) i`)]
            .map((bar) => [parseFloat(bar.style.width) / 100, bar.style.left])""",
        row,
    )


def test_bars_are_as_long_as_the_probabilities(show):
    of = distilled(soft=True)
    explorer = explorer_of(of)
    view = show(explorer)
    found = explorer.known.looks["DM"]
    limit = float(found.influence[ROW].abs().max())
    for c in range(10):
        label, says, influence = bars(view, c)
        assert label[0] == pytest.approx(float(of.labels[ROW, c]), abs=1e-3)
        assert says[0] == pytest.approx(float(found.probabilities[ROW, c]), abs=1e-3)
        value = float(found.influence[ROW, c])
        assert influence[0] == pytest.approx(abs(value) / limit / 2, abs=1e-3)
        assert (influence[1] == "50%") == (value >= 0)
    rows = text(view, "class-rows").replace("−", "-")
    assert "soft label / network" in rows
    assert "network convnet" in text(view, "image-facts")
    assert f"{float(found.influence[ROW, 1]):+.3f}" in rows


def test_a_hard_label_alone_is_one_bar(show):
    view = show(DistilledImagesExplorer(distilled(), selection={"images": [ROW]}))
    assert [width for width, _ in bars(view, 0)] == [1]
    assert view.page.locator("[data-testid=class-rows] tbody tr").count() == 1
    assert "is not known here" in text(view, "no-looks")
    assert not view.part("look").is_visible()


def test_nearest_real_images_have_labels_and_distances(show):
    explorer = explorer_of()
    view = show(explorer)
    found = explorer.known.looks["DM"]
    said = text(view, "nearest").replace("−", "-")
    for place, far in zip(found.nearest_pixels[ROW], found.nearest_pixels_distance[ROW], strict=True):
        assert f"{int(found.real_labels[place])} {float(far):.2f}" in said
    assert f"{float(found.influence_values[ROW, 0]):+.2f}" in said
    assert view.page.locator("[data-testid=nearest] canvas").count() == 12


def test_the_first_pinned_image_is_large_and_the_others_are_small(show):
    view = show(explorer_of())
    assert text(view, "image-title").startswith("1 · image 12")
    strip = view.page.locator("[data-testid=strip] button")
    assert strip.count() == 2
    strip.nth(1).click()
    view.settle()
    assert view.trait("selection")["images"][0] == 55
    assert text(view, "image-title").startswith("5 · image 55")


def test_what_is_known_of_the_final_images_is_not_shown_of_others(show):
    view = show(explorer_of(selection={"images": [ROW], "iteration": 100}))
    assert "known of the final images (iteration 400); shown is iteration 100" in text(view, "looks-moment")
    assert not view.part("nearest").is_visible()
    assert "It was at iteration 400; shown is 100" in text(view, "attribution-note")
    assert "measured on the images of iteration 400; shown is 100" in text(view, "stale")


# What it teaches ------------------------------------------------------------------------------------------------------


def test_the_table_has_means_and_intervals_and_chooses_the_figures(show):
    explorer = explorer_of()
    view = show(explorer)
    found = explorer.known.evaluations["DM"]
    said = text(view, "cross")
    for k in range(2):
        low, high = found.interval(k)
        assert f"{100 * found.mean(k):.1f} ± {50 * (high - low):.1f} %" in said
    assert "5 seeds" in text(view, "teaching")
    before = view.part("confusion").get_attribute("aria-label")
    view.page.get_by_role("button", name="mlp", exact=True).click()
    view.settle()
    assert view.trait("judged") == "mlp"
    assert "of mlp" in view.part("confusion").get_attribute("aria-label")
    assert view.part("confusion").get_attribute("aria-label") != before


def test_the_change_is_written_beside_its_interval(show):
    explorer = explorer_of()
    view = show(explorer)
    held = explorer.known.without["DM"]
    change = (held.after.per_class - held.before.per_class)[0, :, 3].mean() * 100
    said = text(view, "change-words").replace("−", "-")
    assert f"class 3 {float(change):+.1f}" in said
    assert "by chance alone about 0.5 of 10" in said
    assert view.page.locator("[data-testid=change-table] tr").count() == 11
    assert "paired over 5 seeds" in text(view, "teaching")
    assert not view.part("stale").is_visible()


def test_one_seed_claims_no_interval(show):
    view = show(explorer_of(seeds=1))
    assert "±" not in text(view, "cross")
    assert "one seed: no interval can be told" in text(view, "change-words")


def test_what_is_out_of_date_says_so(show):
    explorer = explorer_of()
    explorer.left_out = {"DM": [30]}
    view = show(explorer)
    assert "left out 3 images; now 1 are left out".replace("1 are", "1 is") in text(view, "stale").replace(
        "1 are", "1 is"
    )


def test_confusion_and_reliability_tell_their_numbers(show):
    explorer = explorer_of()
    view = show(explorer)
    found = explorer.known.evaluations["DM"]
    view.part("confusion").scroll_into_view_if_needed()
    view.settle()
    view.hover_cell(3, 4, "confusion")
    assert "3 taken for 4" in text(view, "tooltip")
    assert str(int(found.confusion[0, 3, 4])) in text(view, "tooltip")
    said = view.part("reliability").get_attribute("aria-label")
    assert "ECE" in said
    assert "of 1172" in said
    from matplotlib import colormaps

    share = float(found.confusion[0, 3, 4] / found.confusion[0, 3].sum())
    expected = [round(255 * part) for part in colormaps["viridis"](share)[:3]]
    corner = view.page.evaluate(
        """() => {
            const over = document.querySelector('[data-testid="confusion"]');
            const [left, top, width, height] = over.dataset.geometry.split(" ").map(Number);
            const base = over.previousElementSibling;
            const ratio = base.width / base.clientWidth;
            const at = [(left + 4.12 * width) * ratio, (top + 3.15 * height) * ratio];
            return [...base.getContext("2d").getImageData(...at, 1, 1).data].slice(0, 3);
        }"""
    )
    assert max(abs(a - b) for a, b in zip(corner, expected, strict=True)) <= 8


def test_an_unmeasured_set_says_what_to_do(show):
    view = show(DistilledImagesExplorer(distilled(), panel="teaching"))
    assert "Pass evaluation= to show a measurement" in text(view, "teaching-empty")
    assert not view.part("teach").is_visible()
    view.part("setting-panel").click()
    view.settle()
    assert not view.part("teaching").is_visible()


# Everywhere -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dark", [False, True])
def test_every_word_can_be_read(show, dark):
    view = show(explorer_of(attribution={"method": "occlusion"}), prepare=DARK if dark else None)
    assert view.page.evaluate(FAINT) == []


def test_nothing_sticks_out_of_a_narrow_page(show):
    view = show(explorer_of(), width=420)
    assert view.page.evaluate("document.documentElement.scrollWidth") <= 420
    image, lessons = view.part("large").bounding_box(), view.part("teaching").bounding_box()
    assert image["y"] < lessons["y"]
    assert view.part("large").bounding_box()["width"] <= 400


def test_names_from_the_data_are_text(show):
    of = distilled(classes=(HOSTILE, *"abcdefghi"), name=HOSTILE)
    explorer = explorer_of(of, selection={"images": [3]}, attribution={"method": "saliency"})
    view = show(explorer)
    assert HOSTILE in text(view, "image-title")
    assert HOSTILE in text(view, "class-rows")
    assert view.page.locator("img").count() == 0


def test_colour_images_have_three_values(show):
    of = distilled(ipc=2, shape=(3, 16, 16))
    view = show(explorer_of(of, selection={"images": [4]}, without=()))
    assert not view.part("setting-pixel_values").is_visible()
    view.part("large").focus()
    view.page.keyboard.press("ArrowRight")
    raw = of.pictures()[4, :, 0, 0].float() / 255
    view.settle()
    assert f"red {raw[0]:.3f}, green {raw[1]:.3f}, blue {raw[2]:.3f}" in text(view, "live")


def test_many_classes_show_those_with_something_in_them(show):
    names = tuple(f"kind {k}" for k in range(40))
    of = distilled(ipc=1, classes=names, soft=False)
    view = show(explorer_of(of, selection={"images": [17]}, without=(), panel="images"))
    assert view.page.locator("[data-testid=class-rows] tbody tr").count() == 12
    assert "kind 17" in text(view, "class-rows")
    assert "and 28 classes with less in them" in text(view, "inspector")


# With Python ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digits():
    return wb.data.load("digits")


def opened(digits, **options):
    tiny = wb.condensation.condense(digits, wb.condensation.Random(ipc=2)).replace(name="two")
    training = {"networks": ["mlp"], "seeds": 3, "epochs": 20, "references": False}
    return DistilledImagesExplorer(tiny, digits, panel="teaching", training=training, **options)


def test_train_take_out_train_again_put_back(live, digits):
    explorer = opened(digits)
    wire = live(explorer)
    assert "Press “train on the set now”" in wire.part("teaching-empty").inner_text()
    wire.part("protocol-seeds").fill("2")
    wire.part("protocol-seeds").press("Enter")
    wire.until(lambda: explorer.training["seeds"] == 2)
    wire.part("teach").click()
    wire.until(lambda: "two" in explorer.known.evaluations)
    wire.until(lambda: wire.part("cross").is_visible())
    wire.settle()
    assert f"{100 * explorer.known.evaluations['two'].mean():.1f}" in wire.part("cross").inner_text()
    explorer.selection = {"images": [0, 3]}
    wire.until(lambda: wire.part("take-out").is_visible())
    wire.part("take-out").click()
    wire.until(lambda: explorer.left_out == {"two": [0, 3]})
    wire.until(lambda: "not yet trained without" in wire.part("stale").inner_text())
    wire.part("teach-without").click()
    wire.until(lambda: "two" in explorer.known.without)
    wire.until(lambda: wire.part("change").is_visible())
    wire.settle()
    assert "2 left out, paired over 2 seeds" in wire.part("teaching").inner_text()
    assert not wire.part("stale").is_visible()
    wire.part("put-back").click()
    wire.until(lambda: explorer.left_out == {})
    wire.until(lambda: "now none is left out" in wire.part("stale").inner_text())
    wire.settle()
    assert wire.problems == []
    assert explorer.error == ""


def test_a_training_can_be_stopped(live, digits):
    explorer = opened(digits)
    explorer.training = {**explorer.training, "epochs": 3000}
    wire = live(explorer)
    wire.part("teach").click()
    wire.until(lambda: explorer.live != {} and wire.part("course-accuracy").is_visible())
    wire.until(lambda: "training" in wire.part("teach").inner_text())
    wire.part("stop").click()
    wire.until(lambda: not explorer._jobs._running)
    wire.until(lambda: wire.part("teach").is_enabled())
    wire.settle()
    assert explorer.live == {}
    assert explorer.known.evaluations["two"].interrupted
    wire.until(lambda: "stopped before the end" in wire.part("teaching").inner_text())
    assert wire.problems == []


def test_an_attribution_is_asked_for_and_appears(live, digits):
    network = wb.models.build("mlp", digits)
    explorer = opened(digits, network=network, selection={"images": [4, 9]}, opacity=0.8)
    wire = live(explorer)
    assert "Not computed yet" in wire.part("attribution-note").inner_text()
    wire.part("attribution-method").select_option("input_x_gradient")
    wire.part("attribution-target").select_option("7")
    wire.settle()
    assert wire.part("attribute").inner_text() == "attribute 2 images"
    wire.part("attribute").click()
    wire.until(lambda: len(explorer.known.attributions) == 1)
    held = explorer.known.attributions[0].found
    wire.settle()
    assert held.target.tolist() == [7, 7]
    own = wb.analysis.attribute(network, explorer.record.images[[4, 9]], 7, "input_x_gradient")
    assert torch.allclose(held.values, own.values, atol=1e-6)
    wire.until(lambda: "Input × Gradient of mlp for 7" in wire.part("attribution-note").inner_text())
    assert not wire.part("attribute").is_visible()
    explorer.selection = {"images": [4, 9, 11]}
    wire.until(lambda: wire.part("attribute").inner_text() == "attribute")
    wire.settle()
    assert wire.problems == []


def test_looks_are_asked_for_and_appear(live, digits):
    explorer = opened(digits, selection={"images": [4]})
    wire = live(explorer)
    wire.part("look").click()
    wire.until(lambda: "two" in explorer.known.looks)
    wire.until(lambda: wire.part("nearest").is_visible())
    wire.settle()
    assert "the evaluator (mlp, 20 epochs)" in wire.part("image-facts").inner_text()
    assert "Influence is not known" in wire.part("no-looks").inner_text()
    assert wire.problems == []


def test_a_refusal_is_shown_and_what_was_there_stays(live, digits):
    explorer = opened(digits, network=torch.nn.Linear(5, 10), selection={"images": [1]})
    wire = live(explorer)
    wire.part("attribute").click()
    wire.until(lambda: "does not take images" in explorer.error)
    wire.until(lambda: "does not take images" in wire.part("error").inner_text())
    wire.settle()
    assert wire.part("attribute").is_enabled()
    assert explorer.known.attributions == []


def test_what_was_computed_is_there_without_a_kernel(show, digits):
    network = wb.models.build("mlp", digits)
    explorer = opened(digits, network=network, selection={"images": [4]})
    explorer.known.attributions = []
    from widgets.distilled.inspector.looks import Attributed

    found = attribution(explorer.record, rows=[4])
    explorer.known.attributions.append(Attributed("two", None, "mlp", found, "label"))
    explorer.publish()
    view = show(explorer)
    assert "Integrated Gradients of mlp for 2" in text(view, "attribution-note")
    assert not view.part("attribute").is_visible()
    assert not view.part("teach").is_visible()


# Where crops come from, temperatures, and room ------------------------------------------------------------------------


def test_a_mosaic_shows_the_windows_it_was_chosen_among(show):
    of = distilled(ipc=2, snapshots=1)
    of = of.replace(choices=crop_choices(of))
    view = show(DistilledImagesExplorer(of, selection={"images": [7]}))
    said = text(view, "crops")
    assert "12 images of the class, 5 windows of each" in said
    looked_at = of.choices.picked[7]
    for cell, where in enumerate(["line 1, column 1", "line 1, column 2", "line 2, column 1", "line 2, column 2"]):
        row = int(looked_at[cell])
        place = int(of.choices.rank[row]) + 1
        ordinal = {1: "1st", 2: "2nd", 3: "3rd"}.get(place, f"{place}th")
        assert f"{where}: image {int(of.choices.source[row])}, {ordinal} of 12 by its best window" in said
    items = view.part("crops").locator("ul").nth(2).locator("li")
    scores = sorted(of.choices.score[looked_at[2]].tolist())
    assert items.nth(0).get_attribute("data-kept") == "true"
    assert items.nth(0).inner_text() == f"{scores[0]:.3f} kept"
    assert [float(item) for item in items.all_inner_texts()[1:]] == [float(f"{score:.3f}") for score in scores[1:]]
    drawn = items.nth(0).locator("canvas").evaluate("c => [...c.getContext('2d').getImageData(1, 2, 1, 1).data]")
    kept = int(of.choices.chosen[looked_at[2]])
    assert drawn[:3] == [int(of.choices.candidates[7, 2, kept, 0, 2, 1])] * 3
    bare = show(
        DistilledImagesExplorer(of.replace(choices=crop_choices(of, candidates=False)), selection={"images": [7]})
    )
    assert bare.part("crops").locator("canvas").count() == 0
    assert "kept" in text(bare, "crops")
    other = show(DistilledImagesExplorer(distilled(ipc=2), selection={"images": [7]}))
    assert not other.part("crops").is_visible()


def test_temperatures_are_a_table_whose_rows_choose_what_is_drawn(show):
    of = distilled()
    view = show(DistilledImagesExplorer(of, scaling=scaling(of), panel="teaching"))
    assert view.part("teaching-empty").is_visible()  # nothing was evaluated, and temperatures are known all the same
    assert "TS 0 % 0.050 (4 of 4 at the lower bound)" in text(view, "scaling-table")
    assert "raw – 1.000" in text(view, "scaling-table")
    assert "Reliability on the test split: MTS 0.5" in text(view, "scaling")
    assert text(view, "scaling-key") == "TS oracle MTS 0.5"
    view.part("scaling-table").get_by_role("button", name="TS", exact=True).press("Enter")
    view.settle()
    assert view.trait("scaled") == "TS"
    assert "Reliability on the test split: TS" in text(view, "scaling")
    assert text(view, "scaling-key") == "TS oracle"
    assert view.page.evaluate("() => document.activeElement.textContent") == "TS"
    view.part("scaling-table").get_by_role("button", name="raw").click()
    view.settle()
    assert text(view, "scaling-key") == "TS oracle"  # raw is fitted to nothing
    plain = show(DistilledImagesExplorer(of, evaluation=evaluation(of), panel="teaching"))
    assert not plain.part("scaling").is_visible()


def test_a_long_inspector_scrolls_beside_the_atlas_and_leaves_no_empty_space_below_it(show):
    view = show(explorer_of(panel="images"))
    heights = view.page.evaluate(
        """() => [".dw-body", ".dw-stage", ".dw-inspector"].map((part) => {
            const node = document.querySelector(part);
            return [node.clientHeight, node.scrollHeight, getComputedStyle(node).overflowY];
        })"""
    )
    (body, *_), (stage, *_), (inspector, inside, overflow) = heights
    assert inside > inspector + 100
    assert overflow == "auto"
    assert inspector == max(stage, 600)
    assert body <= max(stage, 600) + 30
    nearest = view.part("nearest")
    nearest.scroll_into_view_if_needed()
    view.settle()
    assert view.page.evaluate("() => document.querySelector('.dw-inspector').scrollTop") > 0
    narrow = show(explorer_of(panel="images"), width=600)
    assert (
        narrow.page.evaluate("() => getComputedStyle(document.querySelector('.dw-inspector')).overflowY") == "visible"
    )
