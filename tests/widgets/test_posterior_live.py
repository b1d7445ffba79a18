"""A posterior whose sliders and points reach Python and come back: refits with an id, the last one wins."""

import pytest
from posteriors import golden

import widgets


def place(page, x, y, stage="posterior-0"):
    canvas = page.get_by_test_id(stage)
    box = canvas.bounding_box()
    left, top, width, height, x0, x1, y0, y1 = map(float, canvas.get_attribute("data-geometry").split())
    return box["x"] + left + (x - x0) / (x1 - x0) * width, box["y"] + top + (y1 - y) / (y1 - y0) * height


def test_points_are_dragged_added_and_removed(live):
    explorer = widgets.explore(golden())
    wire = live(explorer)
    page = wire.page
    y = explorer.data().set_index("x")["mean"]
    path = [place(page, 0.5 + 0.005 * k, -0.24189291 + 0.1 * k) for k in range(10)]
    page.mouse.move(*path[0])
    page.mouse.down()
    for at in path:
        page.mouse.move(*at)
        wire.pump()
    page.mouse.up()
    wire.until(lambda: explorer.points is not None and abs(explorer.points[5][1] - 0.66) < 0.03)
    wire.settle()
    assert abs(explorer.points[5][0] - 0.545) < 0.01
    assert explorer.selection["point"] == 5
    assert (explorer.data().set_index("x")["mean"] - y).abs().max() > 0.1
    page.mouse.dblclick(*place(page, 0.05, -0.5))
    wire.until(lambda: len(explorer.points) == 12)
    wire.settle()
    page.mouse.click(*place(page, 0.05, -0.5))
    wire.until(lambda: explorer.selection["point"] == 11)
    page.keyboard.press("Delete")
    wire.until(lambda: len(explorer.points) == 11)
    wire.settle()
    assert explorer.selection["point"] is None
    page.get_by_test_id("reset-points").click()
    wire.until(lambda: explorer.points is None)
    wire.settle()
    assert wire.problems == []


def test_kernel_and_its_scales_go_through_python(live):
    explorer = widgets.explore(golden())
    wire = live(explorer)
    page = wire.page
    slider = page.get_by_test_id("slider-length_scale")
    slider.focus()
    for _ in range(40):
        page.keyboard.press("ArrowRight")
        wire.pump()
    wire.until(lambda: explorer.length_scale is not None and explorer.length_scale > 0.1)
    wire.until(lambda: explorer.content["kernel"]["length_scale"] == pytest.approx(explorer.length_scale))
    page.get_by_test_id("setting-kernel").select_option("matern")
    wire.until(lambda: explorer.kernel == "matern")
    wire.until(lambda: "Matern" in page.get_by_test_id("kernel-text").inner_text())
    page.get_by_test_id("reset-length_scale").click()
    wire.until(lambda: explorer.length_scale is None)
    page.get_by_test_id("samples").click()
    wire.until(lambda: explorer.samples == 6)
    wire.unfold("same")
    page.get_by_test_id("check").click()
    wire.until(lambda: page.get_by_test_id("checked").count() == 1)
    wire.settle()
    assert "e−" in page.get_by_test_id("checked").inner_text()
    assert wire.problems == []


def test_a_refusal_is_shown_and_what_was_there_stays(live):
    explorer = widgets.explore(golden())
    wire = live(explorer)
    before = explorer.content
    wire.page.evaluate(
        "() => globalThis.explorer.model.send({ type: 'request', id: 'a', name: 'refit', details: { points: [] } })"
    )
    wire.until(lambda: "at least one pair" in explorer.error)
    wire.settle()
    assert explorer.content is before
    assert "at least one pair" in wire.page.get_by_test_id("error").inner_text()
