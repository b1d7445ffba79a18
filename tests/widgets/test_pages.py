"""The browser half, in a plain page: what a reader without Jupyter and without a network can do."""

import csv
import io
import re

import pytest
from synthetic_records import similarity_map, training_record

import widgets
from workbench.records import LayerViews

DARK = "document.addEventListener('DOMContentLoaded', () => (document.body.dataset.jpThemeLight = 'false'))"
# Every visible text whose contrast with what lies behind it is under 4.5.
FAINT = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const linear = (v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4);
    const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const behind = (node) => {
        for (; node; node = node.parentElement) {
            const colour = numbers(getComputedStyle(node).backgroundColor);
            if (colour.length < 4 || colour[3] > 0.99) return colour;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const node of document.querySelectorAll(".dw *")) {
        const speaks = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        if (!speaks || !node.checkVisibility() || node instanceof SVGElement || node.closest(".dw-unseen")) continue;
        const [a, b] = [light(numbers(getComputedStyle(node).color)), light(behind(node))];
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) found.push([node.className, node.textContent.slice(0, 30), ratio.toFixed(2)]);
    }
    return found;
}"""
HOSTILE = "<img src=x onerror=alert(1)>"


def test_hover_previews_and_click_pins(show, similar):
    view = show(widgets.explore(similar))
    assert "Hover a cell" in view.part("empty").inner_text()
    view.hover_cell(5, 2)
    assert similar.layers_a[5] in view.part("tooltip").inner_text()
    assert f"{similar.values[-1, 5, 2]:.3f}" in view.part("figures").inner_text()
    assert "95 % interval" in view.part("tooltip").inner_text()
    view.page.mouse.move(5, 5)
    view.settle()
    assert view.part("empty").is_visible()
    view.click_cell(5, 2)
    view.page.mouse.move(5, 5)
    view.settle()
    assert view.part("pair").inner_text().startswith(similar.layers_a[5])
    assert view.trait("selection")["layer_b"] == similar.layers_b[2]
    view.click_cell(5, 2)
    assert view.trait("selection")["layer_a"] is None


def test_cells_have_the_colour_of_their_value(show, similar):
    from matplotlib import colormaps

    view = show(widgets.explore(similar, best_match=False, stretch=False))
    for row, column in [(0, 0), (13, 4), (26, 8), (20, 1)]:
        value = float(similar.values[-1, row, column])
        expected = [round(255 * part) for part in colormaps["viridis"](max(0.0, value))[:3]]
        assert max(abs(a - b) for a, b in zip(view.pixel(row, column), expected, strict=True)) <= 8


def test_the_slider_moves_through_the_epochs(show, similar):
    view = show(widgets.explore(similar))
    view.click_cell(8, 3)
    before = view.pixel(8, 3)
    slider = view.part("slider")
    slider.fill("0")
    view.settle()
    assert view.trait("selection")["epoch"] == 1
    assert "epoch 1" in view.part("caption").inner_text()
    assert view.pixel(8, 3) != before
    assert f"{similar.values[0, 8, 3]:.3f}" in view.part("figures").inner_text()
    assert slider.get_attribute("aria-valuetext") == "epoch 1, last is 20"


def test_play_runs_to_the_end_and_stops(show):
    view = show(widgets.explore(similarity_map(6, 4, epochs=4, examples=20, grams=10)))
    epochs = view.keep("selection", "epoch")
    view.part("play").click()
    view.page.wait_for_selector("[data-testid=play][aria-pressed=true]")
    view.page.get_by_text("epoch 4 / 4").wait_for()
    view.page.wait_for_selector("[data-testid=play][aria-pressed=false]")
    view.settle()
    assert epochs() == [1, 2, 3, 4]


def test_everything_can_be_done_with_the_keyboard(show, similar):
    view = show(widgets.explore(similar))
    keys = view.page.keyboard
    assert {"setting-class_name", "tool-data", "heatmap-0", "slider", "play"} <= view.tab(30)
    view.part("heatmap-0").focus()
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    keys.press("ArrowRight")
    view.settle()
    assert view.part("live").inner_text().startswith(f"{similar.layers_a[1]} × {similar.layers_b[1]}")
    keys.press("Enter")
    view.settle()
    assert view.trait("selection")["layer_a"] == similar.layers_a[1]
    keys.press(",")
    view.settle()
    assert view.trait("selection")["epoch"] == 19
    view.part("slider").focus()
    keys.press("Home")
    view.settle()
    assert view.trait("selection")["epoch"] == 1
    view.part("scatter-0").focus()
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    keys.press("Enter")
    view.settle()
    assert view.trait("selection")["example"] == 1
    keys.press("d")
    view.settle()
    assert view.part("table").is_visible()
    view.settle()
    assert view.page.evaluate("document.activeElement.closest('.dw-panel') !== null")
    keys.press("Escape")
    view.settle()
    assert not view.part("panel").is_visible()
    assert view.page.evaluate("document.activeElement.dataset.testid") == "tool-data"
    keys.press("Escape")
    view.settle()
    assert view.trait("selection")["layer_a"] is None
    keys.press("?")
    view.settle()
    assert "Space" in view.part("key-list").inner_text()


def test_space_plays_unless_a_button_has_the_focus(show, similar):
    view = show(widgets.explore(similar, selection={"epoch": 1}))
    view.part("heatmap-0").focus()
    view.page.keyboard.press(" ")
    view.page.wait_for_selector("[data-testid=play][aria-pressed=true]")
    view.page.keyboard.press(" ")
    view.page.wait_for_selector("[data-testid=play][aria-pressed=false]")
    view.settle()
    view.part("tool-code").focus()
    view.page.keyboard.press(" ")
    view.settle()
    assert view.part("code").is_visible()


def test_focus_is_visible(show, similar):
    view = show(widgets.explore(similar))
    view.page.keyboard.press("Tab")
    view.settle()
    style = view.page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"


def test_one_example_is_marked_in_both_clouds_and_previewed(show, similar):
    view = show(widgets.explore(similar, selection={"layer_a": "layer2.0.conv2", "layer_b": "layer2.0"}))
    before = view.page.evaluate("document.querySelector('[data-testid=scatter-1]').toDataURL()")
    view.part("scatter-0").focus()
    view.page.keyboard.press("ArrowRight")
    view.settle()
    assert view.page.evaluate("document.querySelector('[data-testid=scatter-1]').toDataURL()") != before
    assert view.part("tooltip").locator("canvas").count() == 1
    assert "example 0" in view.part("tooltip").inner_text()


def test_a_network_that_does_not_change_is_kept_once(show, similar, tmp_path):
    still = similar.views_a
    once = LayerViews(
        projections=still.projections[:1],
        explained=still.explained[:1],
        grams=still.grams[:1],
        gram_examples=still.gram_examples,
    )
    explorer = widgets.explore(similar.replace(views_a=once), selection={"layer_a": "conv1", "layer_b": "conv1"})
    view = show(explorer)
    assert not view.part("error").is_visible()
    picture = "name => document.querySelector(`[data-testid=${name}]`).toDataURL()"
    before = [view.page.evaluate(picture, name) for name in ("scatter-0", "scatter-1")]
    view.part("slider").fill("3")
    view.settle()
    after = [view.page.evaluate(picture, name) for name in ("scatter-0", "scatter-1")]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False]
    explorer.to_png(tmp_path / "still.png", dpi=40)


def test_gram_matrices_name_the_pair_under_the_cursor(show, similar):
    view = show(widgets.explore(similar, selection={"layer_a": "layer2.0.conv2", "layer_b": "layer2.0"}))
    box = view.part("gram-0").bounding_box()
    view.page.mouse.move(box["x"] + 100, box["y"] + 40)
    view.settle()
    assert "alike" in view.part("tooltip").inner_text()
    assert view.part("tooltip").locator("canvas").count() == 2


def test_classes_and_measures_switch(show, similar):
    other = similar.replace(measure="procrustes", options={}, values=similar.stack * 0.5, per_class=None)
    view = show(widgets.explore([similar, other], best_match=False, stretch=False))
    before = view.pixel(26, 8)
    view.part("setting-class_name").select_option("7")
    view.settle()
    assert view.pixel(26, 8) != before
    assert "only 7" in view.part("status-facts").inner_text()
    view.part("setting-measure").select_option("Procrustes")
    view.settle()
    assert "was not computed here" in view.part("stage").inner_text()


def test_two_students_share_cursor_timeline_and_difference(show, two_students):
    view = show(widgets.explore(two_students), width=1300)
    view.click_cell(10, 3, "heatmap-1")
    view.page.mouse.move(5, 5)
    view.settle()
    told = view.part("figures").inner_text()
    first, second = (float(one.values[-1, 10, 3]) for one in two_students)
    assert f"{first:.3f}" in told
    assert f"{second:.3f}" in told
    shift = second - first
    assert f"{'+' if shift > 0 else '−'}{abs(shift):.3f}" in told
    assert view.page.locator("[data-testid^=scatter-]").count() == 3
    view.hover_cell(4, 4, "heatmap-difference")
    assert "difference" in view.part("tooltip").inner_text()


def test_layers_paired_by_position_are_found_in_both_maps(show):
    one = similarity_map(6, 4, epochs=3, examples=20, grams=10, name_b="x", masked=False)
    other = similarity_map(
        6, 4, epochs=3, examples=20, grams=10, name_b="y", masked=False, layers_b=("stem", "a", "b", "c")
    )
    view = show(widgets.explore([one, other]), width=1300)
    view.click_cell(2, 1, "heatmap-1")
    assert view.trait("selection")["layer_b"] == one.layers_b[1]
    assert view.part("figures").inner_text().count("no such layer") == 0


def test_masked_cells_say_why(show, similar):
    view = show(widgets.explore(similar))
    view.hover_cell(3, 1)
    assert "constant features" in view.part("tooltip").inner_text()
    assert "10 cells have no value" in view.part("status-facts").inner_text()


def test_names_are_text_whatever_they_say(show):
    odd = similarity_map(
        5,
        4,
        epochs=2,
        examples=20,
        grams=10,
        classes=2,
        class_names=[HOSTILE, "b"],
        name_a=HOSTILE,
        name_b="b & <b>c</b>",
        masked=False,
    )
    odd = odd.replace(
        layers_a=(HOSTILE, *odd.layers_a[1:]),
        masked={"0,0": HOSTILE},
        values=odd.values.index_fill(1, odd.values.new_zeros(1).long(), float("nan")),
    )
    view = show(widgets.explore(odd, selection={"layer_a": HOSTILE, "layer_b": odd.layers_b[0]}))
    view.hover_cell(0, 0)
    assert HOSTILE in view.part("tooltip").inner_text()
    assert HOSTILE in view.part("title").inner_text()
    assert HOSTILE in view.part("classes").inner_text()
    for tool in ("data", "code"):
        view.part(f"tool-{tool}").click()
        view.settle()
        assert HOSTILE in view.part("panel").inner_text()
    assert view.page.locator(".dw img").count() == 0


def test_hostile_names_are_text_in_plotly_s_charts_too(show):
    view = show(
        widgets.explore([training_record(HOSTILE, epochs=4, classes=3), training_record("b", epochs=4, classes=3)])
    )
    view.page.wait_for_selector("[data-testid=curves][data-drawn=plotly]")
    box = view.part("curves").bounding_box()
    view.page.mouse.move(box["x"] + 200, box["y"] + 150)
    view.page.mouse.move(box["x"] + 230, box["y"] + 150, steps=4)
    view.page.wait_for_selector(".hoverlayer text")
    view.settle()
    assert HOSTILE in view.part("curves").locator(".hoverlayer").text_content()
    assert view.page.locator(".dw img").count() == 0


def test_the_dark_theme_reaches_canvases(show, similar):
    view = show(widgets.explore(similar, selection={"layer_a": "conv1", "layer_b": "conv1"}))
    light = view.page.evaluate("document.querySelector('[data-testid=gram-0]').toDataURL()")
    view.page.evaluate("document.body.dataset.jpThemeLight = 'false'")
    view.settle()
    assert view.page.evaluate("document.querySelector('[data-testid=gram-0]').toDataURL()") != light
    assert view.page.evaluate("getComputedStyle(document.querySelector('.dw')).backgroundColor") == "rgb(17, 18, 20)"
    view.page.evaluate("document.documentElement.style.setProperty('--jp-layout-color0', 'rgb(250, 240, 230)')")
    view.settle()
    assert view.page.evaluate("getComputedStyle(document.querySelector('.dw')).backgroundColor") == "rgb(250, 240, 230)"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("records", ["similar", "runs"])
def test_text_stands_out(request, show, scheme, records):
    options = {"selection": {"layer_a": "conv1", "layer_b": "conv1"}} if records == "similar" else {}
    view = show(widgets.explore(request.getfixturevalue(records), **options), scheme=scheme)
    view.page.get_by_test_id("tool-settings").click()
    view.settle()
    faint = view.page.evaluate(FAINT)
    assert faint == []


@pytest.mark.parametrize("records", ["similar", "two_students", "runs"])
def test_a_narrow_window_puts_the_inspector_below_and_cuts_nothing_off(request, show, records):
    view = show(widgets.explore(request.getfixturevalue(records)), width=460)
    stage, inspector = view.part("stage").bounding_box(), view.part("inspector").bounding_box()
    assert inspector["y"] >= stage["y"] + stage["height"]
    assert view.page.evaluate("document.documentElement.scrollWidth") <= 460


def test_the_code_view_is_python_s_spec(show, similar):
    explorer = widgets.explore(
        similar, diagonal=True, selection={"layer_a": "conv1", "layer_b": "layer1.0", "epoch": 2}
    )
    view = show(explorer)
    view.part("tool-code").click()
    view.settle()
    assert view.part("code").inner_text().strip().splitlines()[-1] == explorer.spec()


@pytest.mark.parametrize("records", ["similar", "two_students", "runs"])
def test_the_data_view_is_python_s_table(request, show, records):
    explorer = widgets.explore(request.getfixturevalue(records))
    view = show(explorer)
    view.part("tool-data").click()
    with view.page.expect_download() as saving:
        view.page.get_by_text("save as CSV").click()
    rows = list(csv.reader(io.StringIO(saving.value.path().read_text())))
    frame = explorer.data()
    view.settle()
    assert rows[0] == list(frame.columns)
    assert len(rows) == 1 + len(frame)
    column = "value" if "value" in frame else "test_accuracy"
    shown = [float(row[rows[0].index(column)] or "nan") for row in rows[1:]]
    assert shown == pytest.approx(frame[column].tolist(), abs=1e-6, nan_ok=True)


def test_a_picture_shows_the_view(show, similar):
    view = show(widgets.explore(similar, selection={"layer_a": "conv1", "layer_b": "layer1.0"}))
    view.part("tool-download").click()
    with view.page.expect_download() as saving:
        view.page.get_by_text("PNG picture").click()
    from PIL import Image

    picture = Image.open(saving.value.path()).convert("RGB")
    view.settle()
    assert picture.width > 2000
    assert len(picture.quantize(64).getcolors()) > 30


def test_two_views_of_one_model_agree_and_one_can_go(show, similar):
    view = show(widgets.explore(similar))
    view.page.evaluate(
        """() => {
            const host = document.createElement("div");
            host.id = "second";
            document.body.append(host);
            globalThis.second = globalThis.explorer.render({ model: globalThis.explorer.model, el: host });
        }"""
    )
    view.page.wait_for_selector("#second [data-ready]")
    view.page.locator("#second [data-testid=slider]").fill("4")
    view.settle()
    assert view.page.locator("#explorer [data-testid=position]").inner_text() == "epoch 5 / 20"
    view.page.evaluate("globalThis.second()")
    view.settle()
    assert view.page.locator("#second").inner_html() == ""
    view.page.locator("#explorer [data-testid=slider]").fill("8")
    view.settle()
    assert view.page.locator("#explorer [data-testid=position]").inner_text() == "epoch 9 / 20"


def test_disposal_takes_every_listener_off_the_model(show, similar):
    view = show(widgets.explore(similar))
    left = view.page.evaluate(
        """() => {
            const counts = {};
            const model = Object.create(globalThis.explorer.model);
            const count = (event, by) => (counts[event] = (counts[event] ?? 0) + by);
            model.on = (event, handler) => (count(event, 1), globalThis.explorer.model.on(event, handler));
            model.off = (event, handler) => (count(event, -1), globalThis.explorer.model.off(event, handler));
            const dispose = globalThis.explorer.render({ model, el: document.createElement("div") });
            const most = Math.max(...Object.values(counts));
            dispose();
            return [most, Object.values(counts).filter((count) => count !== 0).length];
        }"""
    )
    assert left[0] >= 1
    assert left[1] == 0


def test_an_error_is_shown_and_can_be_dismissed(show, similar):
    explorer = widgets.explore(similar)
    explorer.error = "Traceback (most recent call last):\n  File …\nRuntimeError: the observer failed"
    view = show(explorer)
    strip = view.part("error")
    assert strip.locator("summary").inner_text() == "RuntimeError: the observer failed"
    assert not strip.locator("pre").is_visible()
    strip.locator("summary").click()
    view.settle()
    assert "Traceback" in strip.locator("pre").inner_text()
    strip.get_by_role("button").click()
    view.settle()
    assert not strip.is_visible()


def test_halves_of_different_versions_ask_for_a_reload(show, similar):
    explorer = widgets.explore(similar)
    explorer.protocol = 99
    assert "reload this browser tab" in show(explorer).part("error").inner_text()


def test_requests_show_progress_and_only_the_last_counts(show, similar):
    view = show(widgets.explore(similar))
    view.page.evaluate(
        """() => {
            const inner = globalThis.explorer.model;
            globalThis.sent = [];
            const state = { actions: ["bootstrap"], standalone: false };
            const handlers = [];
            const model = {
                ...inner,
                get: (name) => (name in state ? state[name] : inner.get(name)),
                send: (message) => globalThis.sent.push(message),
                on: (event, handler) => (event === "msg:custom" ? handlers.push(handler) : inner.on(event, handler)),
            };
            globalThis.answer = (message) => handlers.forEach((handler) => handler(message, []));
            const host = document.createElement("div");
            host.id = "second";
            document.body.prepend(host);
            globalThis.explorer.render({ model, el: host });
        }"""
    )
    second = view.page.locator("#second")
    action = second.get_by_test_id("action")
    action.click()
    action.click()
    view.settle()
    requests = view.page.evaluate("sent.filter(({ type }) => type === 'request').map(({ id }) => id)")
    assert len(set(requests)) == 2
    assert view.page.evaluate("sent.filter(({ type }) => type === 'stop').map(({ id }) => id)") == requests[:1]
    view.page.evaluate("id => answer({ type: 'progress', id, fraction: 0.9 })", requests[0])
    view.settle()
    assert "90 %" not in second.get_by_test_id("computing").inner_text()
    view.page.evaluate("id => answer({ type: 'progress', id, fraction: 0.43, text: 'batch 3' })", requests[1])
    view.settle()
    assert "computing bootstrap 43 % · batch 3" in second.get_by_test_id("computing").inner_text()
    second.get_by_test_id("stop").click()
    view.settle()
    assert view.page.evaluate("sent.at(-1)") == {"type": "stop", "id": requests[1]}
    view.page.evaluate("id => answer({ type: 'failed', id, traceback: 'Traceback\\nKeyError: 1' })", requests[1])
    view.settle()
    assert not second.get_by_test_id("computing").is_visible()
    assert second.get_by_test_id("error").locator("summary").inner_text() == "KeyError: 1"


def test_training_curves_bars_and_reliability_follow_the_cursor(show, runs):
    view = show(widgets.explore(runs))
    view.page.wait_for_selector("[data-testid=curves][data-drawn=plotly]")
    assert view.part("curves").locator(".scatterlayer .trace").count() == 6
    colours = view.page.eval_on_selector_all(
        "[data-testid=curves] path.js-line", "paths => paths.map(p => p.style.stroke)"
    )
    assert "rgb(0, 114, 178)" in colours
    assert "rgb(213, 94, 0)" in colours
    bars = (
        "[...document.querySelectorAll('[data-testid=per-class] .barlayer path')].map(p => p.getAttribute('d')).join()"
    )
    before = view.page.evaluate(bars)
    view.part("slider").fill("2")
    view.settle()
    assert view.page.evaluate(bars) != before
    assert view.trait("selection")["epoch"] == 3
    assert f"{100 * float(runs[0].curves['test_accuracy'][2]):.1f} %" in view.part("runs").inner_text()
    view.unfold("reliability")
    assert "ECE 0.043" in view.part("calibration").inner_text()
    view.part("setting-metric").select_option("loss")
    view.settle()
    assert "Loss at epoch 3" in view.part("caption").inner_text()
    view.part("runs").get_by_text("student, KL").click()
    view.settle()
    assert view.trait("selection")["run"] == "student, KL"


def test_what_thin_curves_are_is_said_while_there_are_any(show, runs):
    view = show(widgets.explore(runs))
    view.settle()
    assert view.part("weights").inner_text() == "thick: test, thin: training"
    view = show(widgets.explore(runs, training_curve=False))
    view.settle()
    assert view.part("weights").is_hidden()


def test_plotly_s_charts_follow_the_theme(show, runs):
    view = show(widgets.explore(runs), prepare=DARK)
    view.page.wait_for_selector("[data-testid=curves][data-drawn=plotly]")
    fill = view.page.eval_on_selector("[data-testid=curves] .xtick text", "text => text.style.fill")
    assert min(map(int, re.findall(r"\d+", fill)[:3])) > 180


def test_without_plotly_the_charts_are_sketched(show, runs, monkeypatch):
    monkeypatch.setattr(widgets.TrainingExplorer, "libraries", ())
    view = show(widgets.explore(runs))
    assert view.part("curves").get_attribute("data-drawn") == "sketch"
    drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, 400, 300).data.some(v => v > 0)"
    assert view.page.eval_on_selector("[data-testid=curves] canvas", drawn)
