"""Distilled images in JupyterLab: scrub, zoom, select, attribute, train without an image, live on without a kernel."""

import re

from playwright.sync_api import expect

OPEN = """import workbench as wb, widgets
data = wb.data.load('digits')
method = wb.condensation.DistributionMatching(ipc=2, real_batch=16, options={'width': 8})
tiny = wb.condensation.condense(data, method, iterations=20, snapshots=11, name='DM', progress=False)
protocol = {'networks': ['mlp'], 'seeds': 2, 'epochs': 20}
score = wb.condensation.evaluate(tiny, data, **protocol, progress=False)
network = wb.models.build('mlp', data)
view = widgets.explore(tiny, data=data, network=network, evaluation=score, training={**protocol, 'references': False})
view"""
SECONDS = 90
PATIENCE = 1000 * SECONDS


def point(view, block, place):
    """The middle of an image of the atlas, in the window; blocks are classes."""
    canvas = view.part("atlas")
    canvas.scroll_into_view_if_needed()
    view.settle()
    x, y, scale = map(float, canvas.get_attribute("data-view").split())
    columns, *rest = map(int, canvas.get_attribute("data-grid").split())
    pitch, size = rest[:2], rest[2:]
    u, v, _ = map(float, canvas.get_attribute("data-blocks").split(";")[block].split())
    box = canvas.bounding_box()
    left = (u + place % columns * pitch[0] + size[0] / 2 - x) * scale
    top = (v + place // columns * pitch[1] + size[1] / 2 - y) * scale
    return box["x"] + left, box["y"] + top


def scrubbed(view, key, iteration):
    view.part("slider").focus()
    view.page.keyboard.press(key)
    expect(view.part("position")).to_contain_text(f"iteration {iteration} /")


def test_images_are_scrubbed_zoomed_selected_attributed_and_left_out(lab, screenshot):
    lab.open(lab.server.write("distilled.ipynb", OPEN))
    lab.run_all()
    (view,) = lab.views(0)
    scrubbed(view, "Home", 0)
    lab.until("view.selection['iteration'] == 0")
    lab.settle()
    scrubbed(view, "End", 20)
    lab.until("view.selection['iteration'] == 20")
    lab.settle()

    # The wheel zooms around the image under it.
    before = float(view.part("atlas").get_attribute("data-view").split()[2])
    view.page.mouse.move(*point(view, 3, 1))
    for _ in range(4):
        view.page.mouse.wheel(0, -240)
    expect(view.part("atlas")).not_to_have_attribute("data-view", re.compile(rf" {before:g}$"))
    lab.settle()
    assert float(view.part("atlas").get_attribute("data-view").split()[2]) > before
    view.page.mouse.click(*point(view, 3, 1))
    lab.until("view.selection['images'] == [7]")
    expect(view.part("image-title")).to_contain_text("3 · image 7")
    screenshot("distilled-zoomed", view.root)
    view.page.keyboard.press("0")

    # An attribution, by captum, of the network of the user's own.
    view.part("attribution-method").select_option("saliency")
    view.part("attribute").click()
    lab.until("len(view.known.attributions) == 1", SECONDS)
    expect(view.part("attribution-note")).to_contain_text("Saliency")
    screenshot("distilled-attributed", view.root)

    # Trained again without the image: the change per class, and the way back.
    lab.python("view.panel = 'teaching'")
    view.part("take-out").click()
    lab.until("view.left_out == {'DM': [7]}")
    view.part("teach-without").click()
    lab.until("'DM' in view.known.without", SECONDS)
    expect(view.part("change")).to_be_visible(timeout=PATIENCE)
    screenshot("distilled-without", view.root)
    view.part("put-back").click()
    lab.until("view.left_out == {}")
    lab.settle()
    assert lab.python("view.error") in ("", "''")


def test_images_live_on_without_a_kernel(lab, server, screenshot):
    lab.open(server.write("distilled-saved.ipynb", OPEN))
    lab.run_all()
    lab.views(0)
    lab.save()
    output = server.read("distilled-saved.ipynb").cells[0].outputs[-1]
    assert {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(output.data)
    lab.shut_kernel_down()

    lab.open_saved("distilled-saved.ipynb", 0)
    (view,) = lab.views(0)
    lab.shut_kernel_down()
    scrubbed(view, "Home", 0)
    view.page.mouse.click(*point(view, 8, 0))
    expect(view.part("image-title")).to_contain_text("8 · image 16")
    view.part("setting-against").select_option("another moment")
    expect(view.part("atlas-title-1")).to_be_visible()
    screenshot("distilled-no-kernel", view.root)


def test_distilled_tour(lab, screenshot):
    lab.open("tour/distilled_images.ipynb")
    lab.command("application:toggle-left-area")
    lab.run_all()
    (view,) = lab.views(lab.cell_with("method = condensation.DistributionMatching"))
    lab.until("view.selection['iteration'] == 40 and view.selection['images'] == [3, 8]")
    scrubbed(view, "End", 200)
    expect(view.part("image-title")).to_contain_text("3 · image 3")
    screenshot("distilled-tour-images", view.root)
    (detail,) = lab.views(lab.cell_with("looks = condensation.look"))
    expect(detail.part("nearest")).to_be_visible()
    screenshot("distilled-tour-detail", detail.root)
    (compared,) = lab.views(lab.cell_with("compared = {"))
    expect(compared.part("set-row")).to_have_count(4)
    compared.part("set-row").nth(3).click()
    expect(compared.part("caption")).to_contain_text("MTT at iteration 200")
    screenshot("distilled-tour-compared", compared.root)
