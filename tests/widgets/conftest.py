"""Records without training, pages in Chromium, and a watch on every connection that a page tries to make."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

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


class View:
    """A page with one explorer, and what a test wants to do with it."""

    def __init__(self, page):
        self.page = page

    def part(self, name):
        return self.page.get_by_test_id(name)

    def trait(self, name):
        return self.page.evaluate("name => globalThis.explorer.model.get(name)", name)

    def settle(self):
        """Wait until everything asked for has been painted."""
        self.page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def cell(self, row, column, stage="heatmap-0"):
        left, top, width, height = map(float, self.part(stage).get_attribute("data-geometry").split())
        box = self.part(stage).bounding_box()
        return box["x"] + left + (column + 0.5) * width, box["y"] + top + (row + 0.5) * height

    def hover(self, row, column, stage="heatmap-0"):
        self.page.mouse.move(*self.cell(row, column, stage))
        self.settle()

    def click(self, row, column, stage="heatmap-0"):
        self.page.mouse.click(*self.cell(row, column, stage))
        self.settle()

    def pixel(self, row, column, stage="heatmap-0"):
        """Colour of a cell's middle as drawn, (r, g, b)."""
        return self.page.evaluate(
            """([name, row, column]) => {
                const over = document.querySelector(`[data-testid="${name}"]`);
                const [left, top, width, height] = over.dataset.geometry.split(" ").map(Number);
                const base = over.previousElementSibling;
                const ratio = base.width / base.clientWidth;
                const [x, y] = [left + (column + 0.5) * width, top + (row + 0.5) * height];
                const { data } = base.getContext("2d").getImageData(x * ratio, y * ratio, 1, 1);
                return [...data].slice(0, 3);
            }""",
            [stage, row, column],
        )


@pytest.fixture
def show(browser, tmp_path):
    """Open an explorer in a plain page; fails the test on any request, error or console message."""
    contexts, problems = [], []
    told = problems.append

    def open_page(explorer, *, width=1200, height=900, scheme="light", prepare=None):
        path = tmp_path / f"page{len(contexts)}.html"
        explorer.to_html(path)
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
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
        return View(page)

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []
