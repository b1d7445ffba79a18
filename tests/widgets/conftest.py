"""Records without training, pages in Chromium, and a watch on every connection that a page tries to make."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from harness.live import Wire, live_html
from harness.pages import View
from harness.quiet import settle, watch
from synthetic_records import similarity_map, training_record


def is_trouble(said):
    # Chromium advises a test that looks at pixels how it could do so faster.
    return said.type in {"error", "warning"} and "willReadFrequently" not in said.text


@pytest.fixture(scope="session")
def similar():
    return similarity_map(examples=40, grams=20)


@pytest.fixture(scope="session")
def two_students():
    one = similarity_map(examples=40, grams=20, name_a="resnet20", name_b="convnet, labels only", seed=1)
    other = similarity_map(examples=40, grams=20, name_a="resnet20", name_b="convnet, KL", seed=2)
    return [one, other.replace(views_a=one.views_a)]


@pytest.fixture(scope="session")
def runs():
    names = {"teacher": 0.985, "student, labels only": 0.93, "student, KL": 0.96}
    return [training_record(name, seed=k, best=best) for k, (name, best) in enumerate(names.items())]


@pytest.fixture
def show(browser, tmp_path):
    """Open an explorer in a plain page; fails the test on any request, error or console message."""
    contexts, problems = [], []
    told = problems.append

    def open_page(explorer, *, width=1200, height=900, scheme="light", motion="reduce", prepare=None):
        path = tmp_path / f"page{len(contexts)}.html"
        explorer.to_html(path)
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion=motion
        )
        contexts.append(context)
        watch(context)
        page = context.new_page()
        own = ("file:", "data:", "blob:")
        page.on("request", lambda request: request.url.startswith(own) or told(request.url))
        page.on("pageerror", lambda error: told(str(error)))
        page.on("console", lambda said: is_trouble(said) and told(said.text))
        page.on("dialog", lambda dialog: told(f"dialog: {dialog.message}"))
        if prepare:
            page.add_init_script(prepare)
        page.goto(path.as_uri())
        page.wait_for_selector("[data-ready]")
        settle(page)
        return View(page)

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def live(browser, tmp_path):
    """Open an explorer in a page that talks to it in this process; fails the test on an error of the page."""
    wires = []

    def open_live(explorer, *, width=1300, height=1200):
        context = browser.new_context(viewport={"width": width, "height": height}, reduced_motion="reduce")
        watch(context)
        page = context.new_page()
        wires.append(Wire(page, explorer))
        path = tmp_path / f"live{len(wires)}.html"
        path.write_text(live_html(explorer), encoding="utf-8")
        page.goto(path.as_uri())
        page.wait_for_selector("[data-ready]")
        wires[-1].settle()
        return wires[-1]

    yield open_live
    for wire in wires:
        wire.page.context.close()
    assert [problem for wire in wires for problem in wire.problems] == []
