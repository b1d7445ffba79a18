"""The features tour: what is drawn and what Python knows are the same, in both directions."""

import json

from playwright.sync_api import expect


def selection(lab):
    return json.loads(lab.python("import json; print(json.dumps(view.selection))"))


def test_features_tour(lab, screenshot):
    lab.open("tour/features.ipynb")
    lab.command("application:toggle-left-area")
    lab.run_all()
    (view,) = lab.views(lab.cell_with("view\n"))

    # What Python set in a later cell is what is drawn.
    assert selection(lab) == {"layer_a": "layer3.2", "layer_b": "hidden.3", "epoch": 15, "example": None}
    expect(view.part("position")).to_contain_text("15 / 60")
    expect(view.part("pair")).to_contain_text("layer3.2")
    screenshot("tour-pinned", view.root)

    # The slider repaints the map and tells Python.
    before = view.colour(9, 4)
    view.part("slider").focus()
    lab.page.keyboard.press("Home")
    expect(view.part("position")).to_contain_text("0 / 60")
    lab.settle()
    assert view.colour(9, 4) != before
    lab.until("view.selection['epoch'] == 0")

    # Hovering previews, clicking pins.
    row, column = 4, 2
    layer_a, layer_b = lab.python("print(course.layers_a[4], course.layers_b[2])").split()
    value = lab.python("print(f'{course.values[0, 4, 2]:.3f}')")
    view.hover_cell(row, column)
    expect(view.part("tooltip")).to_be_visible()
    expect(view.part("tooltip")).to_contain_text(layer_a)
    expect(view.part("tooltip")).to_contain_text(value)
    screenshot("tour-hover", view.root)
    view.click_cell(row, column)
    lab.until(f"view.selection['layer_a'] == {layer_a!r} and view.selection['layer_b'] == {layer_b!r}")
    lab.page.mouse.move(5, 5)
    expect(view.part("pair")).to_contain_text(layer_b)
    expect(view.part("scatter-0")).to_be_visible()

    # Python to browser, once more.
    lab.python("view.selection = {'layer_a': 'layer1.0', 'layer_b': 'hidden.0', 'epoch': 60}")
    expect(view.part("position")).to_contain_text("60 / 60")
    expect(view.part("pair")).to_contain_text("layer1.0")

    for name, cell in {
        "tour-itself": "itself = ",
        "tour-two-students": "widgets.explore([labels_only",
        "tour-rulers": "widgets.explore(rulers)",
    }.items():
        (shown,) = lab.views(lab.cell_with(cell))
        screenshot(name, shown.root)
