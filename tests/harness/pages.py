"""One explorer in a plain page, and what a test wants to do with it."""

from harness.quiet import settle


def unfold(page, name):
    """Open a part that is behind a line, where it is closed."""
    line = page.get_by_test_id(f"fold-{name}")
    if line.get_attribute("aria-expanded") == "false":
        line.click()


class View:
    """A page with one explorer and no Python behind it."""

    def __init__(self, page):
        self.page = page

    def part(self, name):
        return self.page.get_by_test_id(name)

    def trait(self, name):
        return self.page.evaluate("name => globalThis.explorer.model.get(name)", name)

    def settle(self):
        """Wait until everything asked for has been drawn."""
        settle(self.page)

    def unfold(self, name):
        """Open a part that is behind a line."""
        unfold(self.page, name)
        self.settle()

    def tab(self, times):
        """Press Tab so many times; returns the test ids of everything that had the focus on the way."""
        self.page.evaluate(
            """() => {
                globalThis.focused = [];
                document.addEventListener("focusin", ({ target }) => globalThis.focused.push(target.dataset.testid));
            }"""
        )
        for _ in range(times):
            self.page.keyboard.press("Tab")
        self.settle()
        return set(self.page.evaluate("globalThis.focused"))

    def keep(self, trait, part):
        """From now on note every value that `part` of a trait takes; returns what reads them."""
        self.page.evaluate(
            """([trait, part]) => {
                const { model } = globalThis.explorer;
                globalThis.kept = [];
                model.on(`change:${trait}`, () => globalThis.kept.push(model.get(trait)[part]));
            }""",
            [trait, part],
        )
        return lambda: self.page.evaluate("globalThis.kept")

    def cell(self, row, column, stage="heatmap-0"):
        """Where the middle of a cell is in the window."""
        self.settle()
        left, top, width, height = map(float, self.part(stage).get_attribute("data-geometry").split())
        box = self.part(stage).bounding_box()
        return box["x"] + left + (column + 0.5) * width, box["y"] + top + (row + 0.5) * height

    def hover_cell(self, row, column, stage="heatmap-0"):
        self.page.mouse.move(*self.cell(row, column, stage))
        self.settle()

    def click_cell(self, row, column, stage="heatmap-0"):
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
