"""Diffusion targets in JupyterLab: scrub, play, launch, hand over, sample again, live on without a kernel."""

from playwright.sync_api import expect

OPEN = """import torch, widgets
from workbench import diffusion
teacher, student = diffusion.ring(), diffusion.ring().only(torch.arange(4))
noise = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
times = [0.99, 0.25, 0.15, 0.08, 0.0]
runs = [
    diffusion.target_trajectories(teacher, noise, steps=20, name='base', role='teacher'),
    diffusion.target_trajectories(student, noise, steps=torch.tensor(times), name='student', role='student'),
]
shared = diffusion.hand_over(teacher, student, noise, times=times, names=('base', 'student'))
view = widgets.explore(runs, teacher=teacher, students=[student], hand_over=shared, selection={'seeds': [3]})
view"""
SECONDS = 90
PATIENCE = 1000 * SECONDS


def place(view, x, y, order=0):
    """A point of a plane, in the window."""
    plane = view.part(f"plane-{order}")
    plane.scroll_into_view_if_needed()
    view.settle()
    left, top, width, height, x0, x1, y0, y1 = map(float, plane.get_attribute("data-geometry").split())
    box = plane.bounding_box()
    return box["x"] + left + (x - x0) / (x1 - x0) * width, box["y"] + top + (y1 - y) / (y1 - y0) * height


def pressed(view, key):
    view.part("slider").focus()
    view.page.keyboard.press(key)


def shared_by(view, words):
    expect(view.part("shared")).to_contain_text(words)


def test_targets_are_scrubbed_played_launched_handed_over_and_sampled_again(lab, screenshot):
    lab.open(lab.server.write("targets.ipynb", OPEN))
    lab.run_all()
    (view,) = lab.views(0)
    pressed(view, "Home")
    lab.until("view.selection['step'] == 1")
    expect(view.part("caption")).to_contain_text("base: step 1 of 20")
    view.part("play").click()
    lab.until("view.selection['step'] == 'sample'", SECONDS)
    expect(view.part("play")).to_have_attribute("aria-pressed", "false", timeout=PATIENCE)
    screenshot("targets-played", view.root)
    lab.settle()

    # Where no seed is near, a click starts every model from there.
    pressed(view, "Home")
    lab.python("view.show = 'states'")
    lab.until("view.show == 'states'")
    view.page.mouse.click(*place(view, 2.2, -2.3))
    lab.until("len(view.launches.get('launches', [])) == 1", SECONDS)
    lab.until("[run['run'] for run in view.launches['launches'][0]['runs']] == ['base', 'student']")
    expect(view.part("launches")).to_be_visible()
    screenshot("targets-launched", view.root)
    lab.settle()

    # Sampled again, with fewer steps: the last wish is what is shown.
    view.part("slider-steps").focus()
    for _ in range(3):
        view.page.keyboard.press("ArrowLeft")
    lab.until("view.runs['base'].steps == 17", SECONDS)
    expect(view.part("slider")).to_have_attribute("max", "17", timeout=PATIENCE)
    lab.settle()
    assert lab.python("view.error") in ("", "''")

    # From all student to all teacher.
    lab.python("view.view = 'hand-over'")
    lab.settle()
    view.part("slider-switch").focus()
    view.page.keyboard.press("Home")
    shared_by(view, "student makes all 4 steps")
    lab.settle()
    alone = view.part("measured-entropy").inner_text()
    view.page.keyboard.press("End")
    lab.until("view.selection['switch'] == 4")
    shared_by(view, "base makes all 4 steps")
    lab.settle()
    assert view.part("measured-entropy").inner_text() != alone
    screenshot("targets-handed-over", view.root)


def test_targets_live_on_without_a_kernel(lab, server, screenshot):
    lab.open(server.write("targets-saved.ipynb", OPEN))
    lab.run_all()
    lab.views(0)
    lab.save()
    output = server.read("targets-saved.ipynb").cells[0].outputs[-1]
    assert {"image/png", "text/plain", "application/vnd.jupyter.widget-view+json"} <= set(output.data)
    lab.shut_kernel_down()

    lab.open_saved("targets-saved.ipynb", 0)
    (view,) = lab.views(0)
    lab.shut_kernel_down()
    pressed(view, "Home")
    expect(view.part("caption")).to_contain_text("base: step 1 of 20")
    view.part("play").click()
    expect(view.part("caption")).to_contain_text("base: sample", timeout=PATIENCE)
    expect(view.part("seed-title")).to_contain_text("seed 3")
    view.part("tab-hand-over").click()
    lab.settle()
    view.part("slider-switch").focus()
    view.page.keyboard.press("Home")
    shared_by(view, "student makes all 4 steps")
    expect(view.part("hand-over-stale")).to_be_hidden()  # nothing was sampled again
    view.page.keyboard.press("ArrowRight")
    shared_by(view, "base makes step 1, student steps 2")
    screenshot("targets-no-kernel", view.root)


def test_targets_tour(lab, screenshot):
    lab.open("tour/diffusion_targets.ipynb")
    lab.command("application:toggle-left-area")
    lab.run_all()
    (view,) = lab.views(lab.cell_with("view = widgets.explore(base"))
    lab.until("view.selection['step'] == 1 and view.selection['seeds'] == [3]")
    screenshot("targets-tour-base", view.root)
    (three,) = lab.views(lab.cell_with("three = widgets.explore("))
    expect(three.part("caption")).to_contain_text("TDD: step 2 of 4")
    screenshot("targets-tour-three", three.root)
    (handed,) = lab.views(lab.cell_with("hand_over=shared"))
    handed.part("step-2").click()
    shared_by(handed, "base makes step 2")
    screenshot("targets-tour-planted", handed.root)
    (strip,) = lab.views(lab.cell_with("strip = widgets.explore("))
    pressed(strip, "Home")
    expect(strip.part("strip")).to_be_visible()
    screenshot("targets-tour-digits", strip.root)
