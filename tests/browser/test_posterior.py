"""A posterior in JupyterLab: a point is dragged, every slider moves, the approach switches, the kernel goes away."""

import json
import re

from playwright.sync_api import expect

OPEN = """import numpy as np, workbench as wb, widgets
from sklearn.gaussian_process.kernels import RBF
X = np.linspace(0, 1, 11)[:, None]
y = np.array([0.38476637, 1.23339677, 1.33232242, 0.69201595, -0.29756146, -0.24189291, -0.79644858, -0.96164802,
              -0.49672510, -0.34696660, 0.55895127])
model = wb.gp.SelfDistilledGPR(RBF(np.sqrt(1 / 160)), noise=0.2, steps=6, hyperparameters='fixed').fit(X, y)
truth = lambda X: np.sin(2 * np.pi * X[:, 0])
view = widgets.explore(model, truth=truth)
view"""


def value(lab, code):
    return json.loads(lab.python(f"import json; print(json.dumps({code}))"))


def at(view, x, y, stage="posterior-0"):
    """Where a point of the plot is in the window."""
    canvas = view.part(stage)
    canvas.scroll_into_view_if_needed()
    view.settle()
    box = canvas.bounding_box()
    left, top, width, height, x0, x1, y0, y1 = map(float, canvas.get_attribute("data-geometry").split())
    return box["x"] + left + (x - x0) / (x1 - x0) * width, box["y"] + top + (y1 - y) / (y1 - y0) * height


def press(view, name, key, times=1):
    slider = view.part(f"slider-{name}")
    slider.scroll_into_view_if_needed()
    view.settle()
    slider.focus()
    for _ in range(times):
        view.page.keyboard.press(key)


def test_posterior(lab, screenshot):
    lab.open(lab.server.write("posterior.ipynb", OPEN))
    lab.run_all()
    (view,) = lab.views(0)
    screenshot("posterior-regression", view.root)

    # Step, noise and mixing are evaluated in the browser, and Python hears of them.
    before = view.part("caption").inner_text()
    for name, trait in (("noise", "noise"), ("mixing", "mixing")):
        press(view, name, "ArrowRight", 40)
        lab.until(f"view.{trait} is not None")
    lab.settle()
    assert view.part("caption").inner_text() != before
    press(view, "steps", "ArrowRight", 2)
    lab.until("view.steps == 8")
    lab.settle()
    view.part("slider").focus()
    view.page.keyboard.press("Home")
    lab.until("view.selection['step'] == 1")
    view.page.keyboard.press("End")
    lab.until("view.selection['step'] == 'limit'")
    expect(view.part("position")).to_contain_text("∞")

    # Length-scale and kernel go to Python and back.
    press(view, "length_scale", "ArrowRight", 30)
    lab.until("view.length_scale is not None and view.length_scale > 0.09")
    expect(view.part("kernel-text")).to_contain_text("RBF")
    view.part("setting-kernel").select_option("matern")
    lab.until("view.kernel == 'matern'")
    expect(view.part("kernel-text")).to_contain_text("Matern")
    press(view, "amplitude", "ArrowLeft", 20)
    lab.until("view.amplitude is not None and view.amplitude < 1")

    # A point is dragged, one is added, one is removed.
    lab.python("view.selection = {'step': 2}")
    expect(view.part("position")).to_contain_text("2 /")
    lab.settle()
    start, end = at(view, 0.5, float(lab.python("print(y[5])"))), at(view, 0.55, 0.8)
    view.page.mouse.move(*start)
    view.page.mouse.down()
    view.page.mouse.move(*end, steps=12)
    screenshot("posterior-dragging", view.root)
    view.page.mouse.up()
    lab.until(
        "view.points is not None and abs(view.points[5][0] - 0.55) < 0.01 and abs(view.points[5][1] - 0.8) < 0.05"
    )
    view.page.mouse.dblclick(*at(view, 0.05, -1.0))
    lab.until("len(view.points) == 12")
    expect(view.part("status-facts")).to_contain_text("n = 12")
    view.page.mouse.click(*at(view, 0.05, -1.0))
    lab.until("view.selection['point'] == 11")
    view.part("remove-point").click()
    lab.until("len(view.points) == 11 and view.selection['point'] is None")
    view.part("samples").click()
    lab.until("view.samples == 6")
    screenshot("posterior-samples", view.root)

    # Both approaches side by side; the theorem is checked in Python.
    view.part("setting-approach").select_option("both")
    lab.until("view.approach == 'both'")
    expect(view.part("posterior-1")).to_be_visible()
    view.part("fold-same").click()
    view.part("check").click()
    expect(view.part("checked").first).to_contain_text("e−")
    screenshot("posterior-side-by-side", view.root)
    lab.settle()
    assert value(lab, "view.data().approach.unique().tolist()") == ["data", "distribution"]

    # What Python refuses is said in the widget, and what was there stays.
    lab.python("import traitlets\ntry:\n    view.points = []\nexcept traitlets.TraitError as error:\n    print(error)")
    lab.settle()
    assert value(lab, "len(view.points)") == 11
    assert lab.python("view.error") in ("", "''")


def test_posterior_without_a_kernel(lab, server, screenshot):
    lab.open(server.write("posterior-saved.ipynb", OPEN))
    lab.run_all()
    lab.views(0)
    lab.save()
    saved = server.read("posterior-saved.ipynb")
    output = saved.cells[0].outputs[-1]
    assert {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(output.data)
    lab.shut_kernel_down()

    lab.open_saved("posterior-saved.ipynb", 0)
    (view,) = lab.views(0)
    lab.shut_kernel_down()
    before = view.part("caption").inner_text()
    press(view, "noise", "ArrowLeft", 60)
    expect(view.part("caption")).not_to_have_text(before)
    press(view, "mixing", "ArrowRight", 100)
    expect(view.part("value-mixing")).to_have_text("0.25")
    lab.settle()
    view.part("slider").focus()
    view.page.keyboard.press("Home")
    expect(view.part("position")).to_contain_text("1 /")
    view.part("setting-approach").select_option("both")
    expect(view.part("posterior-1")).to_be_visible()
    screenshot("posterior-no-kernel", view.root)

    # What needs Python says so; stopped, the view goes back to what it has.
    press(view, "length_scale", "ArrowRight", 3)
    expect(view.part("computing")).to_contain_text("no answer from the kernel yet", timeout=15_000)
    view.part("stop").click()
    expect(view.part("value-length_scale")).to_have_text("0.0791")


def test_gp_tour(lab, screenshot):
    lab.open("tour/gp_self_distillation.ipynb")
    lab.command("application:toggle-left-area")
    lab.run_all()
    (view,) = lab.views(lab.cell_with("view = widgets.explore"))
    expect(view.part("setting-resampled")).to_be_checked()
    screenshot("gp-tour-golden", view.root)
    (table,) = lab.views(lab.cell_with("patients = make_pipeline"))
    table.part("setting-feature").select_option("bp")
    expect(table.part("posterior-0")).to_have_attribute("aria-label", re.compile("over bp"))
    screenshot("gp-tour-table", table.root)
    (digits,) = lab.views(lab.cell_with("map_view = widgets.explore"))
    expect(digits.part("caption")).to_contain_text("distribution-centric (scaled)")
    digits.part("setting-approach").select_option("both")
    expect(digits.part("map-1")).to_be_visible()
    digits.part("setting-mode").select_option("sequential")
    lab.until("map_view.mode == 'sequential' and map_view.approach == 'both'")
    screenshot("gp-tour-digits", digits.root)
