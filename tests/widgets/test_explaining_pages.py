"""Explaining in the browser: each step lights its part in the state it speaks of, and the end leaves all as it was."""

import pytest
from every_explorer import EXPLORERS, explorer
from posteriors import golden

import widgets


def state(view, traits):
    return {trait: view.trait(trait) for trait in traits}


@pytest.mark.parametrize("name", EXPLORERS)
def test_steps_walk_through_the_view_and_leave_it_as_it_was(show, name):
    made = explorer(name)
    steps = made.explain()
    view = show(made, width=1280, height=760)
    before = state(view, [*made.settings, "selection"])
    view.part("tool-explain").click()
    for k, step in enumerate(steps):
        view.page.wait_for_selector(f"[data-testid='{step.part}'][data-spoken]")
        view.settle()
        assert view.part("explain-text").inner_text() == step.text
        assert view.part("explain-count").inner_text() == f"{k + 1} of {len(steps)}"
        spoken = view.page.locator("[data-spoken]")
        assert spoken.count() == 1
        assert spoken.bounding_box()["height"] > 10
        assert view.page.locator(".dw-dimmed [data-spoken], .dw-dimmed .dw-explain").count() == 0
        assert view.page.locator(".dw-dimmed").count() > 0
        beside = view.page.locator("canvas.dw-dimmed + canvas[data-spoken], canvas[data-spoken] + canvas.dw-dimmed")
        assert beside.count() == 0  # the layers of one picture belong together
        if step.part == "timeline":
            assert view.page.evaluate("scrollY") == 0
        for trait, value in step.state.items():
            shown = view.trait(trait)
            assert value.items() <= shown.items() if trait == "selection" else shown == value
        view.part("explain-next").click()
    view.settle()
    assert view.part("explain").is_hidden()
    assert view.page.locator(".dw-dimmed, [data-spoken]").count() == 0
    assert state(view, before) == before


def test_keys_begin_walk_and_end(show):
    view = show(explorer("features"))
    before = view.trait("selection")
    view.page.get_by_test_id("explorer").focus()
    view.page.keyboard.press("e")
    view.page.keyboard.press("ArrowRight")
    view.page.keyboard.press("ArrowRight")
    view.page.keyboard.press("ArrowLeft")
    view.settle()
    assert view.part("explain-count").inner_text().startswith("2 of")
    assert view.trait("selection") != before
    view.page.keyboard.press("Escape")
    view.settle()
    assert view.part("explain").is_hidden()
    assert view.trait("selection") == before


def test_a_kernel_explains_as_things_are_now_and_hears_nothing_of_the_steps(live):
    made = widgets.explore(golden())
    told = []
    made.observe(lambda change: told.append(change.name), ["selection", "fan", "targets"])
    wire = live(made)
    wire.part("tool-explain").click()
    wire.until(lambda: wire.part("explain").is_visible())
    wire.part("explain-next").click()
    wire.settle()
    assert wire.part("explain-text").inner_text() == made.explain()[1].text
    wire.page.keyboard.press("Escape")
    wire.settle()
    assert told == []
