"""Explorers in a real JupyterLab, on a record that needs no training: life cycle, themes, keyboard, hostile names."""

import json

import pytest
from playwright.sync_api import expect

HOSTILE = "<img src=x onerror=alert(1)>"
RECORD = """
import torch
import widgets
from workbench.records import Examples, LayerViews, SimilarityMap

draw = torch.Generator().manual_seed(0)
labels = torch.arange(40) // 20

def views(layers):
    points = torch.randn(3, layers, 40, 2, generator=draw) + 2 * labels[None, None, :, None]
    grams = points @ points.mT
    return LayerViews(
        projections=points, explained=torch.full((3, layers, 2), 0.4),
        grams=(127 * grams / grams.abs().amax((-1, -2), keepdim=True)).round().to(torch.int8),
        gram_examples=torch.arange(40),
    )

similar = SimilarityMap(
    values=torch.rand(3, 5, 4, generator=draw), epochs=(0, 5, 10), measure="cka", n=40,
    layers_a=tuple(f"deep.{i}" for i in range(5)), layers_b=tuple(f"small.{i}" for i in range(4)),
    name_a="teacher", name_b="student", classes=("cat", "HOSTILE"), views_a=views(5), views_b=views(4),
    examples=Examples(labels=labels, images=torch.randint(0, 256, (40, 1, 8, 8), generator=draw).to(torch.uint8)),
)
view = widgets.explore(similar)
""".replace("HOSTILE", HOSTILE)


@pytest.fixture
def open_view(lab, server):
    """Open a notebook that makes the record and then runs the cells given."""

    def opened(name, *cells):
        lab.open(server.write(name, RECORD, *cells))
        lab.run_all()

    return opened


def test_one_explorer_shown_twice_and_one_disposed(lab, open_view):
    open_view("twice.ipynb", "view", "view")
    (first,), (second,) = lab.views(1), lab.views(2)
    first.part("slider").focus()
    lab.page.keyboard.press("Home")
    expect(second.part("position")).to_contain_text("0 / 10")
    second.click_cell(3, 1)
    expect(first.part("pair")).to_contain_text("deep.3")

    lab.page.evaluate("() => jupyterapp.shell.currentWidget.content.widgets[2].model.outputs.clear()")
    expect(lab.page.get_by_test_id("explorer")).to_have_count(1)
    lab.python("view.selection = {'epoch': 5, 'layer_a': 'deep.1', 'layer_b': 'small.0'}")
    expect(first.part("position")).to_contain_text("5 / 10")
    first.click_cell(2, 2)
    lab.until("view.selection['layer_a'] == 'deep.2'")
    lab.python("view.close()")  # the page fixture fails the test if what is left of it raises


def test_a_saved_notebook_without_a_kernel(lab, open_view, server, screenshot):
    open_view("saved.ipynb", "view", "widgets.Question('Which?', {'this': 'Right.', 'that': 'No.'}, right='this')")
    lab.views(1)
    lab.save()
    saved = server.read("saved.ipynb")
    (output,) = saved.cells[1].outputs
    assert {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(output.data)
    assert "widgets" in saved.metadata, "JupyterLab did not save the widgets' state: is overrides.json installed?"
    lab.shut_kernel_down()

    # ipywidgets makes its manager when a notebook has had a kernel (since its pull request 3004): the notebook opens
    # with a new one, in which nothing has run, and loses that too.
    lab.open_saved("saved.ipynb", 1)
    (view,) = lab.views(1)
    lab.shut_kernel_down()
    before = view.colour(2, 2)
    view.part("slider").focus()
    lab.page.keyboard.press("Home")
    expect(view.part("position")).to_contain_text("0 / 10")
    lab.settle()
    assert view.colour(2, 2) != before
    view.hover_cell(1, 1)
    expect(view.part("tooltip")).to_contain_text("deep.1")
    view.click_cell(1, 1)
    expect(view.part("pair")).to_contain_text("small.1")
    question = lab.page.get_by_test_id("question")
    question.get_by_test_id("answer-1").check()
    expect(question.get_by_test_id("feedback")).to_contain_text("No.")
    screenshot("no-kernel", view.root)


def test_dark_theme(lab, open_view, screenshot):
    open_view("dark.ipynb", "view")
    (view,) = lab.views(1)
    view.click_cell(2, 1)
    light = view.root.evaluate("node => [getComputedStyle(node).backgroundColor, getComputedStyle(node).color]")
    lab.command("apputils:change-theme", theme="JupyterLab Dark")
    lab.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    expect(view.root).not_to_have_css("background-color", light[0])
    lab.settle()
    assert (
        contrast(*view.root.evaluate("node => [getComputedStyle(node).backgroundColor, getComputedStyle(node).color]"))
        > 7
    )
    for part in ("caption", "position", "status-facts"):
        colours = view.part(part).evaluate(
            "(node, root) => [getComputedStyle(root).backgroundColor, getComputedStyle(node).color]",
            view.root.element_handle(),
        )
        assert contrast(*colours) >= 4.5, part
    screenshot("dark", view.root)


def contrast(*colours):
    """Contrast ratio of two CSS colours (WCAG 2)."""

    def luminance(colour):
        channels = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, colours))
    return (high + 0.05) / (low + 0.05)


def test_keyboard_alone(lab, open_view):
    """From the cell above the explorer, Tab leads in; arrows, Enter and Space do what the mouse does."""
    open_view("keyboard.ipynb", "view")
    (view,) = lab.views(1)
    press = lab.page.keyboard.press
    lab.tab_to("heatmap-0")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):
        press(key)
    lab.until("view.selection['layer_a'] is not None")
    lab.settle()
    chosen = json.loads(lab.python("import json; print(json.dumps(view.selection))"))
    expect(view.part("pair")).to_contain_text(chosen["layer_a"])
    expect(view.part("live")).to_contain_text(chosen["layer_a"])
    lab.tab_to("slider")
    press("Home")
    lab.until("view.selection['epoch'] == 0")
    press("ArrowRight")
    lab.until("view.selection['epoch'] == 5")
    press("Space")
    lab.until("view.selection['epoch'] == 10")  # it plays to the end
    lab.settle()
    assert lab.python("len(get_ipython().history_manager.input_hist_raw)") == "3", "a key reached the notebook's cells"


def test_a_hostile_class_name_is_text(lab, open_view):
    open_view("hostile.ipynb", "view")
    (view,) = lab.views(1)
    dialogs = []
    lab.page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    view.click_cell(2, 1)
    expect(view.part("classes")).to_contain_text(HOSTILE)
    assert view.root.locator("img[src=x]").count() == 0
    assert dialogs == []


def test_an_error_in_an_observer_is_seen_in_the_explorer(lab, open_view):
    open_view("error.ipynb", "view.observe(lambda change: 1 / 0, 'selection')\nview")
    (view,) = lab.views(1)
    view.click_cell(2, 1)
    expect(view.part("error")).to_be_visible()
    expect(view.part("error")).to_contain_text("ZeroDivisionError")


def test_picture_and_timeline_are_seen_together_in_a_notebook(lab, open_view, screenshot):
    lab.page.set_viewport_size({"width": 1280, "height": 720})
    open_view("sticks.ipynb", "view", "import time  # something below, so that the notebook scrolls\n" * 60)
    (view,) = lab.views(1)
    view.root.evaluate("root => root.scrollIntoView({ block: 'start' })")
    lab.settle()
    panel = lab.page.locator(".jp-WindowedPanel-outer:visible, .jp-Notebook:visible").first.bounding_box()
    low, high = panel["y"], min(720, panel["y"] + panel["height"])
    picture = view.root.locator("[data-picture]").first.bounding_box()
    timeline = view.part("timeline").bounding_box()
    screenshot("sticks")
    assert picture["height"] >= 180
    assert low - 1 <= picture["y"]
    assert picture["y"] + picture["height"] <= timeline["y"] + 1
    assert timeline["y"] + timeline["height"] <= high + 1
    view.root.evaluate("root => root.closest('.jp-WindowedPanel-outer, .jp-Notebook').scrollBy(0, -120)")
    lab.settle()
    timeline = view.part("timeline").bounding_box()
    assert abs(timeline["y"] + timeline["height"] - high) < 3
