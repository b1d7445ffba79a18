"""Every explorer fits a screen: picture and timeline are seen together, whatever the page's width, and can be read."""

import pytest
from every_explorer import EXPLORERS, explorer

# Notes the smallest text that any canvas is asked to write.
LISTEN = """
globalThis.smallest = [Infinity, ""];
const write = CanvasRenderingContext2D.prototype.fillText;
CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    const size = Number(/([\\d.]+)px/.exec(this.font)[1]);
    if (size < globalThis.smallest[0]) globalThis.smallest = [size, text];
    return write.call(this, text, ...rest);
};
"""
# Every visible text whose letters are under 12 px.
SMALL = """() => [...document.querySelectorAll(".dw *")]
    .filter((node) => [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim()))
    .filter((node) => node.checkVisibility() && parseFloat(getComputedStyle(node).fontSize) < 11.99)
    .map((node) => [node.className, node.textContent.slice(0, 30), getComputedStyle(node).fontSize])"""
# Jupyter lays an explorer into boxes that clip, and those into one that scrolls.
NOTEBOOK = """() => {
    const main = document.getElementById("explorer");
    const clip = document.createElement("div");
    const scroll = document.createElement("div");
    clip.style.overflow = "hidden auto";
    scroll.style.cssText = "height: 560px; overflow: auto; position: fixed; inset: 60px 0 auto 0;";
    scroll.id = "scroll";
    const [before, after] = [0, 1].map(() => document.createElement("div"));
    before.style.height = after.style.height = "900px";
    document.body.append(scroll);
    const { model, render } = globalThis.explorer;
    globalThis.explorer.dispose();
    scroll.append(before, clip, after);
    clip.append(main);
    globalThis.explorer.dispose = render({ model, el: main });
}"""


def boxes(view, name):
    """Places of every visible part that is marked so, (left, top, right, bottom)."""
    return view.page.evaluate(
        """(name) => [...document.querySelectorAll(name)]
            .filter((node) => node.checkVisibility() && node.getBoundingClientRect().height > 0)
            .map((node) => node.getBoundingClientRect())
            .map(({ left, top, right, bottom }) => [left, top, right, bottom])""",
        name,
    )


def assert_seen_together(view, low, high):
    pictures, (timeline,) = boxes(view, "[data-picture]"), boxes(view, "[data-testid=timeline]")
    assert pictures
    for _, top, _, bottom in pictures:
        assert top >= low
        assert bottom - top >= 120
        assert bottom <= timeline[1] + 1, "the timeline lies over the picture"
    assert timeline[3] <= high + 1


@pytest.mark.parametrize("name", EXPLORERS)
def test_picture_and_timeline_are_seen_together(show, name):
    view = show(explorer(name), width=1280, height=700, prepare=LISTEN)
    for width in (1280, 1440, 700):
        view.page.set_viewport_size({"width": width, "height": 700})
        view.settle()
        assert_seen_together(view, 0, 700)
        assert view.page.evaluate("document.documentElement.scrollWidth") <= width
    assert view.page.evaluate(SMALL) == []
    assert view.page.evaluate("globalThis.smallest[0]") >= 12, view.page.evaluate("globalThis.smallest")


@pytest.mark.parametrize("name", ["features", "posterior", "targets, strip"])
def test_the_timeline_sticks_where_jupyter_scrolls(show, name):
    view = show(explorer(name), width=900, height=720)
    view.page.evaluate(NOTEBOOK)
    view.page.wait_for_selector("[data-ready]")
    view.settle()
    bar = "document.getElementById('scroll').scrollTop = document.querySelector('#scroll .dw').offsetTop"
    view.page.evaluate(f"() => {{ {bar}; }}")
    view.settle()
    assert_seen_together(view, 60, 620)
    view.page.evaluate(f"() => {{ {bar} + 200; }}")
    view.settle()
    ((*_, bottom),), ((_, top, *_),) = (boxes(view, f"[data-testid={part}]") for part in ("timeline", "status"))
    assert abs(bottom - min(620, top)) < 2


def test_three_samplers_stand_in_one_row(show):
    view = show(explorer("targets, three samplers"), width=700, height=700)
    for width in (1280, 700):
        view.page.set_viewport_size({"width": width, "height": 700})
        view.settle()
        places = [view.part(f"plane-{k}").bounding_box() for k in range(3)]
        assert len({place["y"] for place in places}) == 1
        assert [place["x"] for place in places] == sorted(place["x"] for place in places)


def test_what_stands_side_by_side_becomes_tabs_on_a_narrow_page(show):
    view = show(explorer("features, two students"), width=700, height=700)
    assert view.part("heatmap-0").is_visible()
    assert view.part("heatmap-1").is_hidden()
    view.part("tab-1").click()
    view.settle()
    assert view.part("heatmap-0").is_hidden()
    assert view.part("heatmap-1").is_visible()
    assert_seen_together(view, 0, 700)
    view.page.set_viewport_size({"width": 1280, "height": 700})
    view.settle()
    assert view.part("heatmap-0").is_visible()
    assert view.part("tabs").is_hidden()


def test_what_is_folded_says_its_number_and_opens(show):
    view = show(explorer("posterior"), width=1280, height=700)
    assert view.part("errors").is_hidden()
    assert view.part("fold-errors").get_attribute("aria-expanded") == "false"
    assert "best at step" in view.part("fold-errors").inner_text()
    view.part("fold-errors").click()
    view.settle()
    assert view.part("errors").is_visible()
    assert "Smallest at step" in view.part("errors").get_attribute("aria-label")
