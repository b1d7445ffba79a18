"""How an explorer meets a reader: it plays once, and shows itself large where a room looks on."""

import pytest
from every_explorer import EXPLORERS, explorer
from harness.live import Wire, live_html
from harness.quiet import watch
from synthetic_records import similarity_map
from test_screen_pages import LISTEN, assert_seen_together

import widgets

# Notes each position that the timeline shows.
NOTE = """
globalThis.seen = [];
document.addEventListener("DOMContentLoaded", () => {
    new MutationObserver(() => {
        const now = document.querySelector("[data-testid=position] b")?.textContent;
        if (now && globalThis.seen.at(-1) !== now) globalThis.seen.push(now);
    }).observe(document.body, { subtree: true, childList: true, characterData: true });
});
"""

# Passes once the browser has told everyone who watches for it that the explorer is in view.
SEEN = """() => new Promise((done) =>
    new IntersectionObserver(() => requestAnimationFrame(() => requestAnimationFrame(done)))
        .observe(document.querySelector(".dw")))"""


def similar(**options):
    return widgets.explore(similarity_map(6, 4, epochs=5, examples=20, grams=10), **options)


def played(view):
    return view.page.evaluate("globalThis.seen")


def test_it_plays_once_to_where_it_opens(show):
    view = show(similar(), motion="no-preference", prepare=NOTE)
    view.page.wait_for_function("() => globalThis.seen.at(-1) === '5' && !document.querySelector('[data-opening]')")
    assert played(view)[-5:] == ["1", "2", "3", "4", "5"]
    assert view.trait("selection")["epoch"] == 5


def test_a_touch_ends_it_where_it_opens(show):
    view = show(similar(), motion="no-preference", prepare=NOTE)
    view.page.wait_for_selector("[data-opening]")
    view.part("title").click()
    view.page.wait_for_function("() => !document.querySelector('[data-opening]')")
    view.settle()
    assert view.trait("selection")["epoch"] == 5


@pytest.mark.parametrize(
    ("options", "motion"),
    [({}, "reduce"), ({"play": False}, "no-preference"), ({"selection": {"epoch": 4}}, "no-preference")],
)
def test_it_stays_still_where_it_should(show, options, motion):
    view = show(similar(**options), motion=motion, prepare=NOTE)
    view.page.evaluate(SEEN)
    view.settle()
    assert view.page.locator("[data-opening]").count() == 0
    assert len(played(view)) == 1


def test_python_hears_nothing_of_it(browser, tmp_path):
    context = browser.new_context(viewport={"width": 1200, "height": 900}, reduced_motion="no-preference")
    watch(context)
    page = context.new_page()
    made = similar()
    told = []
    made.observe(lambda change: told.append(change.new), "selection")
    wire = Wire(page, made)
    path = tmp_path / "live.html"
    path.write_text(live_html(made), encoding="utf-8")
    page.goto(path.as_uri())
    page.wait_for_selector("[data-opening]")
    page.wait_for_function("() => !document.querySelector('[data-opening]')")
    wire.settle()
    assert told == []
    assert made.selection["epoch"] == 5
    context.close()


@pytest.mark.parametrize("name", EXPLORERS)
def test_a_projector_has_larger_type_and_still_one_screen(show, name):
    made = explorer(name)
    made.projector = True
    try:
        view = show(made, width=1440, height=900, prepare=LISTEN)
    finally:
        made.projector = False
    assert view.page.evaluate("globalThis.smallest[0]") >= 1.4 * 12 - 1e-6, view.page.evaluate("globalThis.smallest")
    assert view.page.evaluate("parseFloat(getComputedStyle(document.querySelector('.dw')).fontSize)") > 18
    assert view.page.evaluate("document.documentElement.scrollWidth") <= 1440
    assert_seen_together(view, 0, 900)
    view.part("tool-settings").click()
    view.part("setting-projector").uncheck()
    view.settle()
    assert view.page.evaluate("parseFloat(getComputedStyle(document.querySelector('.dw')).fontSize)") == 13
