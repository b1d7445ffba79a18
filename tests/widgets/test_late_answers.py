"""Answers of a kernel that was busy for long: what is waited for is said, and what comes late is shown."""

import pytest
from posteriors import golden

import widgets

# A request's five seconds of silence are over sooner.
SOON = """() => {
    const real = globalThis.setTimeout;
    globalThis.setTimeout = (run, ms, ...rest) => real(run, ms >= 5000 ? 600 : ms, ...rest);
}"""


@pytest.fixture
def wire(live):
    """A posterior whose length-scale was moved while the kernel is busy with something else: nothing is carried."""
    wire = live(widgets.explore(golden()))
    wire.page.evaluate(SOON)
    wire.settle()
    slider = wire.part("slider-length_scale")
    slider.focus()
    for _ in range(5):
        wire.page.keyboard.press("ArrowRight")
    wire.page.wait_for_function(
        "() => document.querySelector('[data-testid=computing]').textContent.includes('no answer from the kernel yet')"
    )
    return wire


def test_an_answer_that_comes_late_is_shown(wire):
    before, shown = wire.explorer.content["kernel"]["length_scale"], wire.part("value-length_scale").inner_text()
    assert wire.part("computing").is_visible()
    assert wire.part("error").is_hidden()
    wire.until(lambda: wire.explorer.length_scale is not None)
    wire.settle()
    assert wire.explorer.content["kernel"]["length_scale"] > before
    assert wire.part("value-length_scale").inner_text() == shown
    assert wire.part("computing").is_hidden()
    assert wire.part("error").is_hidden()


def test_a_result_that_comes_late_is_handed_to_whoever_asked(live):
    wire = live(widgets.explore(golden()))
    wire.unfold("same")
    wire.page.evaluate(SOON)
    wire.part("check").click()
    wire.page.wait_for_function(
        "() => document.querySelector('[data-testid=computing]').textContent.includes('no answer from the kernel yet')"
    )
    wire.until(lambda: wire.part("checked").count() == 1)
    wire.settle()
    assert "e−" in wire.part("checked").inner_text()
    assert wire.part("computing").is_hidden()


def test_stopping_what_nobody_answers_puts_the_view_back(wire):
    asked = wire.part("value-length_scale").inner_text()
    wire.part("stop").click()
    assert asked != "0.0791"
    wire.page.wait_for_function(
        "() => document.querySelector('[data-testid=value-length_scale]').textContent === '0.0791'"
    )
    assert wire.part("computing").is_hidden()
    assert wire.page.evaluate("() => globalThis.outbox.at(-1).message.type") == "stop"
