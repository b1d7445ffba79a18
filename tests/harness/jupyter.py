"""What tests do in JupyterLab, through a page of headless Chromium, and when kernel and page know the same."""

import time

from playwright.sync_api import Locator, Page, expect

from harness import quiet
from harness.server import PATIENCE, Server

# Counts what page and kernel tell each other of widgets' models, in both directions.
LISTEN = """() => {
    const { kernel } = jupyterapp.shell.currentWidget.sessionContext.session;
    globalThis.testsTold = 0;
    kernel.anyMessage.connect((_, { msg }) => {
        if (msg.header.msg_type.startsWith("comm_")) globalThis.testsTold += 1;
    });
}"""


def settle(page: Page) -> None:
    """Wait until the kernel has answered everything that it was asked for, and the page shows it.

    Messages are answered in their order, so that an answer to nothing comes after all others; another round is made
    until none of the widgets had anything to say. A job in a thread of the kernel is not waited for: name its result.
    """
    told = -1
    while told != (told := page.evaluate("() => globalThis.testsTold")):
        quiet.settle(page)
        page.evaluate(
            """async () => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session?.kernel;
                if (kernel) await kernel.requestExecute({ code: "", store_history: false }).done;
            }"""
        )
        quiet.settle(page)


class Lab:
    """One browser page with JupyterLab in it."""

    def __init__(self, page: Page, server: Server) -> None:
        self.page = page
        self.server = server

    def open(self, name: str) -> None:
        """Open a notebook and wait for its kernel."""
        self.page.goto(self.server.url(name))
        self.page.wait_for_function("() => window.jupyterapp !== undefined", timeout=PATIENCE)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=PATIENCE)
        self.page.wait_for_function(
            "() => jupyterapp.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=PATIENCE,
        )
        self.page.evaluate(LISTEN)

    def open_saved(self, name: str, index: int, most: int = 10) -> None:
        """Open a notebook that was saved with its widgets' states, and wait for those in the output of a code cell.

        A notebook's widget manager is told twice to restore widgets: with those of the notebook, and, as the kernel
        connects, with the kernel's alone. Whichever ends first makes it report itself as restored; was that the
        second, outputs drawn in between say "model not found" and are never drawn again (ipywidgets' jupyterlab
        manager, 5.0.16). A person reloads the page; so does this.
        """
        for _ in range(most):
            self.open(name)
            self.show_output(index)
            output = self.page.locator(".jp-CodeCell").nth(index)
            shown = output.get_by_test_id("explorer").first
            lost = output.get_by_text("Error displaying widget: model not found")
            shown.or_(lost).first.wait_for(state="visible", timeout=PATIENCE)
            if not lost.count():
                return
        raise AssertionError(f"JupyterLab forgot the saved widgets of {name} {most} times in a row")

    def settle(self) -> None:
        """Wait until kernel and page know the same, and the page shows it."""
        settle(self.page)

    def shut_kernel_down(self) -> None:
        self.command("kernelmenu:shutdown")
        self.page.wait_for_function(
            "() => !jupyterapp.shell.currentWidget.sessionContext.session?.kernel", timeout=PATIENCE
        )
        self.settle()

    def run_all(self) -> None:
        """Run every cell as a person would, through the menu, and fail on the first cell that raised."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_text("Run All Cells", exact=True).click()
        self.wait_until_run()

    def wait_until_run(self) -> None:
        self.page.wait_for_function(
            """() => {
                const panel = jupyterapp.shell.currentWidget;
                const code = [...panel.content.model.cells].filter(c => c.type === 'code');
                const cells = code.filter(c => c.sharedModel.source.trim());
                const failed = cells.some(c => [...Array(c.outputs.length).keys()]
                    .some(i => c.outputs.get(i).type === 'error'));
                return failed || (cells.every(c => c.executionCount)
                    && panel.sessionContext.session.kernel.status === 'idle');
            }""",
            timeout=PATIENCE,
        )
        if errors := self.errors():
            raise AssertionError("a cell raised:\n" + "\n".join(errors))
        self.settle()

    def errors(self) -> list[str]:
        """Name and text of the error of each cell that raised."""
        return self.page.evaluate(
            """() => [...jupyterapp.shell.currentWidget.content.model.cells].filter(c => c.type === 'code').flatMap(c =>
                c.outputs.toJSON().filter(o => o.output_type === 'error').map(o => o.ename + ': ' + o.evalue))"""
        )

    def python(self, code: str) -> str:
        """Run code in the notebook's kernel; returns what it printed and the value of its last expression."""
        return self.page.evaluate(
            """async code => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const future = kernel.requestExecute({code, store_history: false});
                let said = '';
                future.onIOPub = message => {
                    const content = message.content;
                    said += content.text ?? content.data?.['text/plain'] ?? content.traceback?.join('\\n') ?? '';
                };
                await future.done;
                return said.trim();
            }""",
            code,
        )

    def tab_to(self, name: str, most: int = 80) -> None:
        """Press Tab until the part `name` has the focus, which moves with the key itself."""
        visited: list[str] = []
        for _ in range(most):
            self.page.keyboard.press("Tab")
            visited.append(self.page.evaluate("() => document.activeElement?.dataset?.testid ?? ''"))
            if visited[-1] == name:
                return
        raise AssertionError(f"Tab led only to {[name for name in visited if name]}")

    def until(self, condition: str, seconds: float = 60) -> None:
        """Wait until a Python expression is true in the kernel."""
        end = time.monotonic() + seconds
        while (said := self.python(condition)) != "True":
            assert time.monotonic() < end, f"{condition} is {said} after {seconds:g} s"
            time.sleep(0.05)

    def command(self, name: str, **arguments: object) -> None:
        self.page.evaluate("([name, args]) => jupyterapp.commands.execute(name, args)", [name, arguments])

    def save(self) -> None:
        self.settle()
        self.page.evaluate("() => jupyterapp.shell.currentWidget.context.save()")
        self.settle()

    def cell_with(self, text: str) -> int:
        """Number (from 0) of the first code cell whose source holds `text`."""
        sources = self.page.evaluate(
            """() => [...jupyterapp.shell.currentWidget.content.model.cells].filter(c => c.type === 'code')
                .map(c => c.sharedModel.source)"""
        )
        return next(index for index, source in enumerate(sources) if text in source + "\n")

    def views(self, index: int) -> list["View"]:
        """The explorers in the output of a code cell, which is scrolled into view."""
        self.show_output(index)
        output = self.page.locator(".jp-CodeCell").nth(index).get_by_test_id("explorer")
        output.first.wait_for(state="visible", timeout=PATIENCE)
        self.settle()
        return [View(output.nth(i)) for i in range(output.count())]

    def show_output(self, index: int) -> None:
        """Scroll so that the output of the code cell with this number (from 0) is in view."""
        self.page.evaluate(
            """async index => {
                const notebook = jupyterapp.shell.currentWidget.content;
                const code = notebook.widgets.map((w, i) => [w, i]).filter(([w]) => w.model.type === 'code');
                await notebook.scrollToItem(code[index][1], 'center');
            }""",
            index,
        )


class View:
    """One explorer on the page."""

    def __init__(self, root: Locator) -> None:
        self.root = root
        self.page = root.page
        root.wait_for(state="visible", timeout=PATIENCE)
        expect(root).to_have_attribute("data-ready", "true", timeout=PATIENCE)

    def settle(self) -> None:
        """Wait until kernel and page know the same, and the page shows it."""
        settle(self.page)

    def part(self, name: str) -> Locator:
        return self.root.get_by_test_id(name)

    def centre(self, row: int, column: int, map_: str = "heatmap-0") -> tuple[float, float]:
        """Where the middle of a cell is in the window; the map is scrolled into view first."""
        canvas = self.part(map_)
        canvas.scroll_into_view_if_needed()
        self.settle()
        box = canvas.bounding_box()
        left, top, cell, pitch = map(float, canvas.get_attribute("data-geometry").split())
        return box["x"] + left + (column + 0.5) * cell, box["y"] + top + (row + 0.5) * pitch

    def hover_cell(self, row: int, column: int, map_: str = "heatmap-0") -> None:
        self.page.mouse.move(*self.centre(row, column, map_), steps=3)
        self.settle()

    def click_cell(self, row: int, column: int, map_: str = "heatmap-0") -> None:
        self.page.mouse.click(*self.centre(row, column, map_))
        self.settle()

    def colour(self, row: int, column: int) -> list[int]:
        """Red, green and blue at the lower right of a cell, as painted (its middle may carry a number)."""
        return self.part("heatmap-0").evaluate(
            """(over, [row, column]) => {
                const [left, top, cell, pitch] = over.dataset.geometry.split(' ').map(Number);
                const canvas = over.previousElementSibling;
                const ratio = canvas.width / canvas.clientWidth;
                const [x, y] = [(left + (column + 0.85) * cell) * ratio, (top + (row + 0.85) * pitch) * ratio];
                return [...canvas.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3);
            }""",
            [row, column],
        )
