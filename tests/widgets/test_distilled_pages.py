"""The atlas in a plain page: seen, moved, sorted, selected, scrubbed, compared, all without Python and a network."""

import csv
import io

import numpy as np
import pytest
from lens_records import distilled, evaluation, looks
from test_pages import DARK, FAINT, HOSTILE

import widgets


@pytest.fixture(scope="module")
def tiny():
    return distilled(snapshots=5)


@pytest.fixture(scope="module")
def known(tiny):
    return looks(tiny)


class Atlas:
    """An opened page, and where its images lie."""

    def __init__(self, view, name="atlas"):
        self.view, self.page, self.name = view, view.page, name
        self.part = view.part(name)

    def point(self, block, place, pixel=None):
        """Position in the window of an image's middle, or of one of its pixels."""
        x, y, scale = map(float, self.part.get_attribute("data-view").split())
        columns, *rest = map(int, self.part.get_attribute("data-grid").split())
        pitch, size = rest[:2], rest[2:]
        u, v, _ = map(float, self.part.get_attribute("data-blocks").split(";")[block].split())
        inside = (size[0] / 2, size[1] / 2) if pixel is None else (pixel[0] + 0.5, pixel[1] + 0.5)
        box = self.part.bounding_box()
        left = (u + place % columns * pitch[0] + inside[0] - x) * scale
        top = (v + place // columns * pitch[1] + inside[1] - y) * scale
        return box["x"] + left, box["y"] + top

    def scale(self):
        return float(self.part.get_attribute("data-view").split()[2])

    def pick(self, block, place, *keys):
        at = self.point(block, place)
        for key in keys:
            self.page.keyboard.down(key)
        self.page.mouse.click(*at)
        for key in keys:
            self.page.keyboard.up(key)
        self.view.settle()

    def drag(self, *points, keys=()):
        for key in keys:
            self.page.keyboard.down(key)
        self.page.mouse.move(*points[0])
        self.page.mouse.down()
        for point in points[1:]:
            self.page.mouse.move(*point)
        self.page.mouse.up()
        for key in keys:
            self.page.keyboard.up(key)
        self.view.settle()

    def selected(self):
        return self.view.trait("selection")["images"]

    def colour(self, block, place, pixel):
        """Colour of an image's pixel as drawn."""
        x, y = self.point(block, place, pixel)
        box = self.part.bounding_box()
        return self.page.evaluate(
            """([name, x, y]) => {
                const base = document.querySelector(`[data-testid="${name}"]`).previousElementSibling;
                const ratio = base.width / base.clientWidth;
                return [...base.getContext("2d").getImageData(x * ratio, y * ratio, 1, 1).data].slice(0, 3);
            }""",
            [self.name, x - box["x"], y - box["y"]],
        )


def test_pixels_are_those_of_the_record_at_every_moment(show, tiny):
    atlas = Atlas(show(widgets.explore(tiny)))
    for moment, iteration in ((4, 400), (0, 0), (2, 200)):
        atlas.view.part("slider").fill(str(moment))
        atlas.view.settle()
        assert atlas.view.trait("selection")["iteration"] == iteration
        expected = tiny.pictures(tiny.at(iteration).images)
        for block, place, pixel in ((0, 0, (3, 4)), (3, 7, (0, 0)), (9, 9, (7, 5))):
            value = int(expected[10 * block + place, 0, pixel[1], pixel[0]])
            assert atlas.colour(block, place, pixel) == pytest.approx([value] * 3, abs=1)
    assert "iteration 200 / 400" in atlas.view.part("position").inner_text()
    assert "loss" in atlas.view.part("timeline-legend").inner_text()
    assert "60.0 %" in atlas.view.part("timeline-legend").inner_text()


def test_play_runs_through_the_history(show, tiny):
    view = show(widgets.explore(tiny, selection={"iteration": 200}))
    view.part("play").click()
    view.page.get_by_text("iteration 400 / 400").wait_for()
    view.page.wait_for_selector("[data-testid=play][aria-pressed=false]")


def test_zooming_keeps_the_place_and_reads_pixels(show, tiny):
    atlas = Atlas(show(widgets.explore(tiny)))
    before = atlas.scale()
    point = atlas.point(2, 3, (2, 2))
    atlas.page.mouse.move(*point)
    for _ in range(6):
        atlas.page.mouse.wheel(0, -240)
    atlas.view.settle()
    assert atlas.scale() > 3 * before
    assert atlas.point(2, 3, (2, 2)) == pytest.approx(point, abs=0.6 * atlas.scale())
    atlas.page.mouse.move(*atlas.point(2, 3, (2, 2)))
    atlas.view.settle()
    value = float((tiny.images[23] * tiny.std + tiny.mean)[0, 2, 2])
    shown = atlas.view.part("tooltip").inner_text()
    assert "image 23" in shown
    assert f"{round(value * 255) / 255:.3f}" in shown
    moved = atlas.point(2, 3)
    atlas.drag(moved, (moved[0] - 60, moved[1] - 30))
    assert atlas.point(2, 3) == pytest.approx((moved[0] - 60, moved[1] - 30), abs=1.5)
    atlas.part.focus()
    atlas.page.keyboard.press("0")
    atlas.view.settle()
    assert atlas.scale() == pytest.approx(before, rel=1e-3)
    atlas.page.keyboard.press("+")
    atlas.view.settle()
    assert atlas.scale() == pytest.approx(1.5 * before, rel=1e-3)
    atlas.view.part("hand-fit").click()
    atlas.view.settle()
    atlas.page.mouse.dblclick(*atlas.point(1, 1))
    atlas.view.settle()
    assert atlas.scale() > 3 * before
    assert atlas.selected() == [11]
    atlas.page.mouse.dblclick(*atlas.point(1, 1))
    atlas.view.settle()
    assert atlas.scale() == pytest.approx(before, rel=1e-3)


def test_a_scroll_over_the_atlas_is_not_caught(show, tiny):
    atlas = Atlas(show(widgets.explore(tiny), height=500))
    before = atlas.scale()
    # One hand's scroll, in one go: it begins above the atlas and goes on over it.
    since = atlas.page.evaluate(
        """() => {
            const canvas = document.querySelector("[data-testid=atlas]");
            const { left, top } = canvas.getBoundingClientRect();
            const scroll = (target, deltaY) => {
                const event = new WheelEvent("wheel", {
                    deltaY, clientX: left + 40, clientY: top + 60, bubbles: true, cancelable: true,
                });
                target.dispatchEvent(event);
                return event.timeStamp;
            };
            scroll(document.body, 40);
            return scroll(canvas, -40);
        }"""
    )
    atlas.view.settle()
    assert atlas.scale() == before
    atlas.page.wait_for_function("since => performance.now() - since > 420", arg=since)  # the next scroll is a new one
    box = atlas.part.bounding_box()
    atlas.page.mouse.move(box["x"] + 40, box["y"] + 60)
    atlas.page.mouse.wheel(0, -120)
    atlas.view.settle()
    assert atlas.scale() > before


def test_two_fingers_zoom(show, tiny):
    atlas = Atlas(show(widgets.explore(tiny)))
    before = atlas.scale()
    atlas.page.evaluate(
        """() => {
            const canvas = document.querySelector("[data-testid=atlas]");
            canvas.setPointerCapture = () => {};
            const { left, top } = canvas.getBoundingClientRect();
            const send = (type, pointerId, x, y) => canvas.dispatchEvent(new PointerEvent(type, {
                pointerId, clientX: left + x, clientY: top + y, button: 0, bubbles: true, pointerType: "touch",
            }));
            send("pointerdown", 1, 200, 200);
            send("pointerdown", 2, 240, 200);
            send("pointermove", 2, 280, 200);
            send("pointermove", 1, 120, 200);
            send("pointerup", 1, 120, 200);
            send("pointerup", 2, 280, 200);
        }"""
    )
    atlas.view.settle()
    assert atlas.scale() == pytest.approx(4 * before, rel=0.02)
    assert atlas.selected() == []


def test_selecting_by_click_rectangle_and_lasso(show, tiny):
    atlas = Atlas(show(widgets.explore(tiny)))
    atlas.pick(0, 1)
    assert atlas.selected() == [1]
    atlas.pick(3, 4, "Shift")
    atlas.pick(0, 2, "Control")
    assert atlas.selected() == [1, 34, 2]
    atlas.pick(3, 4, "Alt")
    assert atlas.selected() == [1, 2]
    assert "2 selected" in atlas.view.part("caption").inner_text()
    first, last = atlas.point(1, 0), atlas.point(1, 2)
    atlas.drag((first[0] - 8, first[1] - 8), (last[0] + 8, last[1] + 8), keys=["Shift"])
    assert atlas.selected() == [1, 2, 10, 11, 12]
    atlas.drag((first[0] - 8, first[1] - 8), (first[0] + 8, first[1] + 8), keys=["Alt"])
    assert atlas.selected() == [1, 2, 11, 12]
    atlas.view.part("hand-lasso").click()
    atlas.view.settle()
    (x0, y0), (x1, y1) = atlas.point(2, 0), atlas.point(2, 1)
    around = [(x0 - 6, y0 - 9), (x1 + 6, y0 - 9), (x1 + 6, y1 + 9), (x0 - 6, y1 + 9)]
    atlas.drag(*around)
    assert atlas.selected() == [20, 21]
    atlas.view.part("hand-rectangle").click()
    atlas.drag((first[0] - 8, first[1] - 8), (first[0] + 8, first[1] + 8))
    assert atlas.selected() == [10]
    atlas.page.keyboard.press("Escape")
    atlas.view.settle()
    assert atlas.selected() == []
    atlas.page.keyboard.press("a")
    atlas.view.settle()
    assert len(atlas.selected()) == 100


def test_everything_can_be_done_with_the_keyboard(show, tiny):
    atlas = Atlas(show(widgets.explore(tiny, against="another moment")))
    keys = atlas.page.keyboard
    assert {"setting-against", "hand-lasso", "atlas", "moment", "slider", "tool-data"} <= atlas.view.tab(40)
    atlas.part.focus()
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    atlas.view.settle()
    assert atlas.view.part("live").inner_text().startswith("image 1 of class 0")
    keys.press("Enter")
    keys.press("PageDown")
    keys.press("Enter")
    atlas.view.settle()
    assert atlas.selected() == [1, 10]
    keys.press("Shift+ArrowRight")
    atlas.view.settle()
    assert atlas.selected() == [1, 10, 11]
    keys.press("Alt+ArrowLeft")
    atlas.view.settle()
    assert atlas.selected() == [1]
    columns = int(atlas.part.get_attribute("data-grid").split()[0])
    keys.press("ArrowDown")
    keys.press("Enter")
    atlas.view.settle()
    assert atlas.selected() == [1, 10 + columns]
    keys.press(",")
    atlas.view.settle()
    assert atlas.view.trait("selection")["iteration"] == 300
    keys.press("b")
    atlas.view.settle()
    assert atlas.view.trait("selection")["moment"] == 300
    keys.press("?")
    atlas.view.settle()
    listed = atlas.view.part("key-list").inner_text()
    for words in ("take out of the selection", "zoom in", "flip between"):
        assert words in listed


def test_sorting_and_choosing_classes(show, tiny, known):
    view = show(widgets.explore(tiny, looks=known))
    atlas = Atlas(view)
    view.part("setting-sort").select_option("loss")
    view.settle()
    atlas.pick(4, 0)
    assert atlas.selected() == [40 + int(known.loss[40:50].argmin())]
    view.page.keyboard.press("o")
    view.settle()
    atlas.pick(4, 0)
    assert atlas.selected() == [40 + int(known.loss[40:50].argmax())]
    view.page.mouse.move(*atlas.point(4, 0))
    view.settle()
    assert f"{float(known.loss[40:50].max()):.3f} nats" in view.part("tooltip").inner_text()
    view.part("classes").get_by_text("7").click()
    view.part("classes").get_by_text("2").click(modifiers=["Shift"])
    view.settle()
    assert view.trait("classes") == ["7", "2"]
    assert [block.split()[2] for block in atlas.part.get_attribute("data-blocks").split(";")] == ["10", "10"]
    assert "20 images" in view.part("caption").inner_text()


def test_the_table_is_that_of_python(show, tiny, known):
    explorer = widgets.explore(tiny, looks=known, sort="gradient_norm", by_class=False, against="another moment")
    explorer.selection = {"images": [3]}
    view = show(explorer)
    view.part("tool-data").click()
    with view.page.expect_download() as download:
        view.part("panel").get_by_text("save as CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    expected = explorer.data()
    view.settle()
    assert list(rows[0]) == expected.columns.tolist()
    assert [int(row["image"]) for row in rows] == expected["image"].tolist()
    for column, tolerance in (("loss", 1e-5), ("difference", 2 / 255), ("distance", 2 / 255)):
        assert np.allclose([float(row[column]) for row in rows], expected[column], atol=tolerance)
    assert [row["image"] for row in rows if row["selected"] == "yes"] == ["3"]


def test_two_moments_side_by_side_flickering_and_as_difference(show, tiny):
    view = show(widgets.explore(tiny, against="another moment"))
    here, there = Atlas(view), Atlas(view, "atlas-other")
    pixel = (1, 6)
    now, then = (int(tiny.pictures(tiny.at(k).images)[0, 0, 6, 1]) for k in (400, 0))
    assert here.colour(0, 0, pixel)[0] == pytest.approx(now, abs=1)
    assert there.colour(0, 0, pixel)[0] == pytest.approx(then, abs=1)
    here.page.mouse.move(*here.point(5, 5))
    here.page.mouse.wheel(0, -300)
    view.settle()
    assert here.part.get_attribute("data-view") == there.part.get_attribute("data-view")
    here.part.focus()
    view.page.keyboard.press("0")
    view.part("setting-compare").select_option("flicker")
    view.settle()
    for _ in range(2):
        view.page.keyboard.press("x")
        view.settle()
        title = view.part("atlas-title-0").inner_text()
        expected = {"iteration 400": now, "iteration 0": then}[title]
        assert here.colour(0, 0, pixel)[0] == pytest.approx(expected, abs=1)
    view.part("setting-compare").select_option("difference")
    view.settle()
    assert view.part("atlas-title-0").inner_text() == "iteration 400 − iteration 0"
    assert "difference" in view.part("atlas-legend").locator("canvas").get_attribute("aria-label")
    rises, falls = here.colour(0, 0, _extreme(tiny, +1)), here.colour(0, 0, _extreme(tiny, -1))
    assert rises[0] > rises[2]  # red where it grew
    assert falls[2] > falls[0]  # blue where it shrank
    view.part("moment").select_option("400")
    view.settle()
    same = here.colour(0, 0, pixel)
    assert max(same) - min(same) < 6  # no difference is the middle of the map


def _extreme(record, sign):
    change = sign * (record.at(400).images - record.at(0).images)[0, 0]
    at = int(change.argmax())
    return at % 8, at // 8


def test_sets_in_a_table_and_beside_one_another(show, tiny):
    second = distilled(ipc=5, seed=1, snapshots=3, name=HOSTILE)
    found = [evaluation(tiny), None]
    view = show(widgets.explore([tiny, second], evaluation=found, selection={"images": [3]}))
    table = view.part("sets").inner_text()
    assert HOSTILE in table
    half = (found[0].interval(0)[1] - found[0].interval(0)[0]) / 2
    assert f"{100 * found[0].mean(0):.1f} ± {100 * half:.1f}" in table
    assert "95 % interval" in table
    view.part("setting-against").select_option(HOSTILE)
    view.settle()
    assert "50 images have no partner" in view.part("status-facts").inner_text()
    view.part("set-row").nth(1).click()
    view.settle()
    assert view.trait("against") == "DM"  # they changed places
    assert view.trait("selection") == {"set": HOSTILE, "iteration": 400, "images": [], "moment": 0}
    assert "50 images 8×8" in view.part("caption").inner_text()
    assert view.part("set-row").nth(1).get_attribute("aria-selected") == "true"
    view.page.keyboard.press("ArrowUp")
    view.settle()
    view.part("set-row").nth(0).focus()
    view.page.keyboard.press("Enter")
    view.settle()
    assert view.trait("selection")["set"] == "DM"


def test_no_class_chosen_is_said_and_nothing_breaks(show, tiny):
    empty = tiny.take(range(10))  # only zeros
    view = show(widgets.explore(empty, classes=["4"]))
    assert view.part("no-images").is_visible()
    assert view.part("error").is_hidden()
    view.part("classes").get_by_text("0").click()
    view.settle()
    assert view.part("no-images").is_hidden()


@pytest.mark.parametrize(("width", "prepare"), [(1200, None), (1200, DARK), (600, DARK)])
def test_text_is_legible_and_parts_have_names(show, tiny, known, width, prepare):
    explorer = widgets.explore(
        [tiny, distilled(ipc=2, name="MTT")], looks=[known, None], against="another moment", compare="difference"
    )
    explorer.selection = {"images": [1, 2]}
    view = show(explorer, width=width, prepare=prepare)
    assert view.page.evaluate(FAINT) == []
    nameless = """[...document.querySelectorAll(".dw button, .dw select, .dw input, .dw [role=application]")]
        .filter((node) => node.checkVisibility() && !node.ariaLabel && !node.labels?.length && !node.textContent.trim())
        .map((node) => node.outerHTML.slice(0, 80))"""
    assert view.page.evaluate(nameless) == []
    assert view.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert (view.page.locator("[data-narrow]").count() == 1) == (width < 700)
    assert "Atlas of 100 images of 10 classes" in view.part("atlas").get_attribute("aria-label")


def test_errors_show(show, tiny):
    explorer = widgets.explore(tiny)
    explorer.error = "Traceback (most recent call last):\n  …\nTraitError: refused"
    assert "TraitError: refused" in show(explorer).part("error").inner_text()
