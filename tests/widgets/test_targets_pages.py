"""The explorer of diffusion targets in a plain page: scrubbed, selected, read, all without Python and a network."""

import csv
import io

import numpy as np
import pytest
import torch
from target_records import collapsed, patterns, picture_runs, ring_runs
from test_pages import DARK, FAINT, HOSTILE

import widgets
from workbench import diffusion

UNNAMED = """() => [...document.querySelectorAll(".dw button, .dw select, .dw input")]
    .filter((node) => node.checkVisibility() && !node.textContent.trim() && !node.labels?.length)
    .filter((node) => !node.getAttribute("aria-label")).map((node) => node.outerHTML)"""


@pytest.fixture(scope="module")
def runs():
    return ring_runs()


@pytest.fixture(scope="module")
def pictured():
    return picture_runs()


class PlanePage:
    """An opened page, and where the points of one of its planes lie."""

    def __init__(self, view, order=0):
        self.view, self.part, self.order = view, view.part(f"plane-{order}"), order

    def point(self, x, y):
        left, top, width, height, x0, x1, y0, y1 = map(float, self.part.get_attribute("data-geometry").split())
        box = self.part.bounding_box()
        return box["x"] + left + (x - x0) / (x1 - x0) * width, box["y"] + top + (y1 - y) / (y1 - y0) * height

    def pick(self, x, y, *modifiers):
        at = self.point(x, y)
        for key in modifiers:
            self.view.page.keyboard.down(key)
        self.view.page.mouse.click(*at)
        for key in modifiers:
            self.view.page.keyboard.up(key)
        self.view.settle()

    def colour(self, x, y, layer=None):
        """Colour and opacity of what is drawn at a place: of the points, or of another canvas of the plane."""
        px, py = self.point(x, y)
        box = self.part.bounding_box()
        return self.view.page.evaluate(
            """([order, index, x, y]) => {
                const all = document.querySelector(`[data-testid="plane-${order}"]`).parentElement.children;
                const canvas = all[index];
                const ratio = canvas.width / canvas.clientWidth;
                return [...canvas.getContext("2d").getImageData(x * ratio, y * ratio, 1, 1).data];
            }""",
            [self.order, 2 if layer is None else layer, px - box["x"], py - box["y"]],
        )


def scrub(view, place):
    view.part("slider").fill(str(place))
    view.settle()


def apart(points):
    """The point that is farthest from its nearest neighbour: nothing else is drawn over it."""
    distance = torch.cdist(points.double(), points.double())
    distance.fill_diagonal_(torch.inf)
    return int(distance.min(1).values.argmax())


def test_points_lie_where_the_run_had_them_at_every_step(show, runs):
    view = show(widgets.explore(runs, density=False))
    for place in (11, 12, 5, 0):
        scrub(view, place)
        assert view.trait("selection")["step"] == ("sample" if place == 12 else place + 1)
        targets = runs[0].targets[place] if place < 12 else runs[0].samples
        seed = apart(targets)
        red, green, blue, alpha = PlanePage(view).colour(*targets[seed].tolist())
        assert alpha > 200
        assert (red, green, blue) == pytest.approx((0, 114, 178), abs=6)  # the teacher is blue
    assert "1 of 12" in view.part("caption").inner_text()


def test_a_student_holds_its_belief_until_its_next_step(show, runs):
    view = show(widgets.explore(runs))
    base, student = runs
    for place in range(12):
        scrub(view, place)
        # The student's latest step that is not noisier ahead than where the teacher is; both are on one schedule.
        index = max([k for k in range(4) if student.times[k] >= base.times[place] - 1e-6], default=0)
        assert (
            f"student: step {index + 1} of 4, t = {float(student.times[index]):g}" in view.part("caption").inner_text()
        )


def test_switching_between_targets_and_states(show, runs):
    view = show(widgets.explore(runs, teacher=diffusion.ring(), selection={"step": 3}))
    plane = PlanePage(view)
    near = float(plane.part.get_attribute("data-geometry").split()[5])
    view.part("setting-show").select_option("states")
    view.settle()
    far = float(plane.part.get_attribute("data-geometry").split()[5])
    assert far > near  # noise reaches farther than samples
    seed = apart(runs[0].states[2])
    assert plane.colour(*runs[0].states[2][seed].tolist())[3] > 200
    assert "as noisy as the states" in view.part("key").inner_text()
    view.part("explorer").focus()
    view.page.keyboard.press("x")
    view.settle()
    assert view.trait("show") == "targets"


def test_the_density_lies_under_the_points(show, runs):
    view = show(widgets.explore(runs, teacher=diffusion.ring()))
    plane = PlanePage(view)
    assert plane.colour(1.0, 0.0, layer=0)[3] > 50  # on a mode
    assert plane.colour(0.0, 0.0, layer=0)[3] < 5  # in the hole
    view.part("tool-settings").click()
    view.part("setting-density").uncheck()
    view.settle()
    assert plane.colour(1.0, 0.0, layer=0)[3] == 0


def test_arrows_point_where_the_sampler_goes(show, runs):
    """Along the axis through a mode the flow comes in from outside: ink lies on the axis."""
    view = show(widgets.explore(runs[0], teacher=diffusion.ring(), density=False))
    plain = PlanePage(view).colour(2.0, 0.0, layer=0)[3]
    view.part("setting-field").select_option("velocity")
    view.settle()
    assert plain == 0
    inked = [PlanePage(view).colour(x, 0.0, layer=0)[3] for x in np.linspace(1.5, 2.5, 30)]
    assert max(inked) > 60
    assert "−dx/dt" in view.part("key").inner_text()


def test_click_selects_shift_adds_and_escape_lets_go(show, runs):
    view = show(widgets.explore(runs, selection={"step": "sample"}))
    plane = PlanePage(view)
    samples = runs[0].samples
    one = apart(samples)
    plane.pick(*samples[one].tolist())
    (chosen,) = view.trait("selection")["seeds"]
    assert (samples[chosen] - samples[one]).norm() < 0.05
    other = int((samples - samples[one]).norm(dim=1).argmax())
    plane.pick(*samples[other].tolist(), "Shift")
    assert len(view.trait("selection")["seeds"]) == 2
    assert "path of x_t" in view.part("key").inner_text()
    assert "2 selected" in view.part("caption").inner_text()
    view.page.mouse.move(*plane.point(*samples[one].tolist()))
    view.settle()
    assert f"seed {chosen}" in view.part("tooltip").inner_text()
    view.page.keyboard.press("Escape")
    view.settle()
    assert view.trait("selection")["seeds"] == []


def test_paths_of_a_selected_seed_are_drawn(show, runs):
    view = show(widgets.explore(runs[0], selection={"step": "sample"}, show="states", density=False))
    plane = PlanePage(view)
    start = runs[0].states[0][5].tolist()
    before = plane.colour(*start)[3]
    view.page.evaluate("explorer.model.set('selection', { ...explorer.model.get('selection'), seeds: [5] })")
    view.settle()
    assert (
        before
        < 60
        < max(plane.colour(start[0] + dx, start[1] + dy)[3] for dx in (-0.02, 0, 0.02) for dy in (-0.02, 0, 0.02))
    )


def test_runs_together_share_one_plane(show, runs):
    view = show(widgets.explore(runs))
    assert view.part("plane-1").is_visible()
    view.part("setting-arrange").select_option("together")
    view.settle()
    assert view.page.get_by_test_id("plane-1").count() == 0 or not view.part("plane-1").is_visible()
    assert "base, student" in view.part("planes").inner_text()


def test_classes_colour_points(show, pictured):
    view = show(widgets.explore(pictured, view="plane", colour="class", selection={"step": "sample"}))
    key = view.part("key").inner_text()
    assert all(name in key for name in ("cat", "dog", "owl"))
    assert "PC 1" in view.trait("content")["plane"]["axes"][0]


def test_the_timeline_counts_in_the_steps_of_the_chosen_run(show, runs):
    view = show(widgets.explore(runs, selection={"step": 12}))
    view.part("runs").get_by_text("student").click()
    view.settle()
    assert view.trait("selection")["run"] == "student"
    assert view.trait("selection")["step"] == 4
    assert view.part("slider").get_attribute("max") == "4"
    assert "step 4 / sample" in view.part("position").inner_text()


def test_play_steps_and_jumps(show, runs):
    view = show(widgets.explore(runs, selection={"step": 9}))
    view.part("play").click()
    view.page.get_by_text("step sample / sample").wait_for()
    view.page.wait_for_selector("[data-testid=play][aria-pressed=false]")
    view.settle()
    view.part("slider").focus()
    view.page.keyboard.press("Home")
    view.page.keyboard.press(".")
    view.settle()
    assert view.trait("selection")["step"] == 2


def test_curves_have_the_cursor_and_move_it(show, runs):
    view = show(widgets.explore(runs))
    view.unfold("curves")
    plot = view.part("curve-commitment")
    left, top, width, height, low, high, *_ = map(float, plot.get_attribute("data-geometry").split())
    assert (low, high) == (1, 13)
    box = plot.bounding_box()
    view.page.mouse.click(box["x"] + left + width * 8 / 12, box["y"] + top + height / 2)
    view.settle()
    assert view.trait("selection")["step"] == 9
    cursor = plot.locator("xpath=..").locator(".dw-cursor").bounding_box()
    assert cursor["x"] - box["x"] == pytest.approx(left + width * 8 / 12, abs=2)
    assert f"{float(runs[0].commitment[8]):.0%}".replace("%", " %") in view.part("timeline-legend").inner_text()


class Strip:
    """An opened strip: where its pictures lie, and their pixels."""

    def __init__(self, view):
        self.view = view

    def pixels(self, name, x, y, size, shape):
        """The pixels of a picture drawn at a place, (h, w, 3): the colours at the middles of its cells."""
        return np.array(
            self.view.page.evaluate(
                """([name, x, y, size, rows, columns]) => {
                    const node = document.querySelector(`[data-testid="${name}"]`);
                    const canvas = name === "strip" ? node.previousElementSibling : node;
                    const ratio = canvas.width / canvas.clientWidth;
                    const context = canvas.getContext("2d");
                    const at = (i, of) => Math.floor((i + 0.5) * size / of);
                    const pixel = (u, v) => context.getImageData(u * ratio, v * ratio, 1, 1).data.slice(0, 3);
                    const range = (count) => [...Array(count).keys()];
                    return range(rows).map((r) => range(columns).map((c) =>
                        [...pixel(x + at(c, columns), y + at(r, rows))]));
                }""",
                [name, x, y, size, *shape],
            )
        )

    def cells(self, name):
        return [list(map(float, cell.split())) for cell in self.view.part(name).get_attribute("data-cells").split(";")]


def as_bytes(images):
    return (images.squeeze(0) * 127.5 + 127.5).round().clamp(0, 255).numpy()


def test_pictures_of_now_are_those_of_the_step(show, pictured):
    view = show(widgets.explore(pictured))
    strip = Strip(view)
    left, pitch, size, *tops = strip.cells("now")[0]
    for place in (0, 5, 8):
        scrub(view, place)
        run = pictured[0]
        expected = run.targets[place] if place < 8 else run.samples
        for seed in (0, 3):
            drawn = strip.pixels("now", left + seed * pitch, tops[0], size, (4, 4))
            assert np.abs(drawn[..., 0] - as_bytes(expected[seed])).max() <= 1


def test_the_strip_has_a_picture_for_every_step(show, pictured):
    view = show(widgets.explore(pictured, rows=2, selection={"step": 8}))
    strip = Strip(view)
    size = float(view.part("strip").get_attribute("data-size"))
    cells = strip.cells("strip")
    # y, seed, run, index, x of each picture; two seeds, two runs of 8 and 4 steps and their samples.
    assert len(cells) == 2 * (9 + 5)
    for seed, run, index, x, y in cells:
        record = pictured[int(run)]
        targets = record.targets[int(index)] if index < record.steps else record.samples
        drawn = strip.pixels("strip", x, y, size, (4, 4))
        assert np.abs(drawn[..., 0] - as_bytes(targets[int(seed)])).max() <= 1, (seed, run, index)


def test_a_click_in_the_strip_goes_there_and_selects(show, pictured):
    view = show(widgets.explore(pictured, rows=2))
    strip = Strip(view)
    size = float(view.part("strip").get_attribute("data-size"))
    box = view.part("strip").bounding_box()
    seed, _, index, x, y = next(cell for cell in strip.cells("strip") if cell[:3] == [1, 0, 6])
    view.page.mouse.move(box["x"] + x + size / 2, box["y"] + y + size / 2)
    view.settle()
    assert "seed 1, class dog · base" in view.part("tooltip").inner_text()
    assert "step 7 of 8" in view.part("tooltip").inner_text()
    view.page.mouse.down()
    view.settle()
    assert view.trait("selection")["step"] == index + 1
    assert view.trait("selection")["seeds"] == [seed]
    view.page.mouse.move(box["x"] + box["width"] - 2, box["y"] + y + 3, steps=3)
    view.page.mouse.up()
    view.settle()
    assert view.trait("selection")["step"] == "sample"


def test_more_seeds_are_shown_on_demand(show, pictured):
    view = show(widgets.explore(pictured, rows=2))
    view.part("setting-rows").select_option("4")
    view.settle()
    assert view.trait("rows") == 4
    assert {int(cell[0]) for cell in Strip(view).cells("strip")} == {0, 1, 2, 3}


def test_seeds_beyond_the_first_are_added_when_selected(show, pictured):
    view = show(widgets.explore(pictured, rows=2, selection={"seeds": [5]}))
    assert {int(cell[0]) for cell in Strip(view).cells("strip")} == {0, 1, 5}


def test_the_strip_of_points_shows_clouds(show, runs):
    view = show(widgets.explore(runs, view="strip"))
    assert {int(cell[0]) for cell in Strip(view).cells("strip")} == {-1}
    box = view.part("strip").bounding_box()
    view.page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 40)
    view.settle()
    assert "base · sample" in view.part("tooltip").inner_text()


def test_the_table_is_that_of_python(show, pictured):
    explorer = widgets.explore(pictured, view="plane", selection={"step": 3, "seeds": [1]})
    view = show(explorer)
    view.part("tool-data").click()
    with view.page.expect_download() as saved:
        view.part("panel").get_by_text("save as CSV").click()
    rows = list(csv.DictReader(io.StringIO(saved.value.path().read_text(encoding="utf-8"))))
    expected = explorer.data()
    view.settle()
    assert list(rows[0]) == list(expected.columns)
    assert [row["class"] for row in rows] == expected["class"].tolist()
    for name in ("x", "target_y", "distance", "time"):
        assert [float(row[name]) for row in rows] == pytest.approx(expected[name].tolist(), abs=1e-5)
    assert [row["selected"] == "yes" for row in rows] == expected["selected"].tolist()


def test_the_code_view_is_the_spec(show, runs):
    explorer = widgets.explore(runs)
    view = show(explorer)
    view.part("setting-show").select_option("states")
    scrub(view, 3)
    view.part("tool-code").click()
    explorer.show, explorer.selection = "states", {"step": 4}
    view.settle()
    assert view.part("code").inner_text().splitlines()[-1] == explorer.spec()


def test_everything_can_be_done_with_the_keyboard(show, pictured):
    view = show(widgets.explore(pictured, rows=3, selection={"step": 1}))
    view.part("explorer").focus()
    view.page.keyboard.press("1")
    view.settle()
    assert view.trait("view") == "plane"
    view.part("plane-0").focus()
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        view.page.keyboard.press(key)
        view.settle()
    assert view.trait("selection")["seeds"] == [1]
    view.page.keyboard.press("2")
    view.settle()
    view.part("strip").focus()
    for key in ("ArrowDown", "Enter", "ArrowRight"):
        view.page.keyboard.press(key)
        view.settle()
    assert view.trait("selection")["seeds"] == [1, 2]
    assert view.trait("selection")["step"] == 2


@pytest.mark.parametrize(("width", "prepare"), [(1200, None), (1200, DARK), (600, None), (600, DARK)])
@pytest.mark.parametrize("kind", ["points", "pictures"])
def test_text_is_legible_and_nothing_sticks_out(show, runs, pictured, kind, width, prepare):
    records, teacher = (runs, diffusion.ring()) if kind == "points" else (pictured, patterns())
    explorer = widgets.explore(records, teacher=teacher, selection={"seeds": [1, 2]})
    view = show(explorer, width=width, prepare=prepare)
    for tab in ("plane", "strip"):
        view.part(f"tab-{tab}").click()
        view.settle()
        assert view.page.evaluate(FAINT) == []
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
        assert view.page.evaluate(UNNAMED) == []


def test_names_from_the_data_are_text(show):
    runs = picture_runs(classes=(HOSTILE, "b", "c"))
    runs = [runs[0].replace(name=HOSTILE), runs[1]]
    view = show(widgets.explore(runs, selection={"seeds": [0]}))
    assert HOSTILE in view.part("runs").inner_text()
    box = view.part("now").bounding_box()
    left, _, size, top, *_ = Strip(view).cells("now")[0]
    view.page.mouse.move(box["x"] + left + size / 2, box["y"] + top + size / 2)
    view.settle()
    assert HOSTILE in view.part("tooltip").inner_text()
    view.part("tab-plane").click()
    view.settle()
    assert HOSTILE in view.part("planes").inner_text()
    assert view.page.locator(".dw img").count() == 0


def test_errors_show(show, runs):
    explorer = widgets.explore(runs)
    explorer.error = "Traceback (most recent call last):\n  …\nValueError: too bad"
    view = show(explorer)
    assert "ValueError: too bad" in view.part("error").inner_text()
    assert view.part("plane-0").is_visible()


def test_the_error_of_each_step_is_asked_for_and_appears(live, runs):
    wire = live(widgets.explore(runs, teacher=diffusion.ring(), students=collapsed()))
    wire.unfold("curves")
    assert not wire.page.get_by_test_id("curve-error").is_visible()
    wire.page.get_by_test_id("measure-error").click()
    wire.until(lambda: wire.page.get_by_test_id("curve-error").is_visible())
    wire.settle()
    assert not wire.page.get_by_test_id("measure-error").is_visible()


def test_what_is_selected_here_is_known_to_python_and_back(live, runs):
    explorer = widgets.explore(runs)
    wire = live(explorer)
    wire.page.get_by_test_id("slider").fill("4")
    wire.until(lambda: explorer.selection["step"] == 5)
    explorer.selection = {"step": "sample", "seeds": [3]}
    wire.until(lambda: "base: sample" in wire.page.get_by_test_id("caption").inner_text())
    explorer.show_runs({"base": ring_runs(steps=6)[0]})
    wire.until(lambda: wire.page.get_by_test_id("slider").get_attribute("max") == "6")
    wire.settle()
    assert wire.page.get_by_test_id("error").is_hidden()


def test_a_click_into_an_empty_place_launches_every_model_from_there(live, runs):
    explorer = widgets.explore(runs, teacher=diffusion.ring(), students=collapsed(), show="states", density=False)
    wire = live(explorer)
    plane = wire.page.get_by_test_id("plane-0")
    left, top, width, height, x0, x1, y0, y1 = map(float, plane.get_attribute("data-geometry").split())
    box = plane.bounding_box()
    x, y = 2.2, -2.3  # no seed is near
    where = box["x"] + left + (x - x0) / (x1 - x0) * width, box["y"] + top + (y1 - y) / (y1 - y0) * height
    wire.page.mouse.move(*where)
    wire.settle()
    assert "launch from here" in wire.page.get_by_test_id("tooltip").inner_text()
    wire.page.mouse.click(*where)
    wire.until(lambda: explorer.launches.get("launches"))
    (launch,) = explorer.launches["launches"]
    start = runs[0].times[0]
    wire.settle()
    assert np.allclose(launch["noise"], [x / float(start), y / float(start)], atol=0.03)
    assert [item["run"] for item in launch["runs"]] == ["base", "student"]
    packed = explorer.launches_arrays[launch["runs"][0]["states"]]
    path = torch.from_numpy(np.frombuffer(packed["data"], np.float32).reshape(packed["shape"]).copy())
    noise = torch.tensor([launch["noise"]])
    assert torch.allclose(path[0], (noise * start).float()[0], atol=1e-4)
    assert torch.allclose(path[-1], diffusion.sample(diffusion.ring(), noise, steps=12)[0], atol=1e-4)
    wire.settle()
    ink = wire.page.evaluate(
        """([x, y]) => {
            const over = document.querySelector("[data-testid=dots-0]");
            const ratio = over.width / over.clientWidth;
            const { data } = over.getContext("2d").getImageData((x - 6) * ratio, (y - 6) * ratio, 12, 12);
            return Math.max(...data.filter((_, i) => i % 4 === 3));
        }""",
        [where[0] - box["x"], where[1] - box["y"]],
    )
    assert ink > 100  # the path begins where the click was
