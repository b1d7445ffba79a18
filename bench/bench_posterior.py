"""From slider or dragged point to repaint in a PosteriorExplorer, in Chromium, at 200 training points.

    python bench/bench_posterior.py [--quick]

Steps, noise and mixing are evaluated by the page alone: real key events go into a page made by ``to_html``, and a time
runs from the event to the end of the frame that shows it. Length-scale and points go through a kernel: the same widget
in JupyterLab, from the event to the end of the frame that shows what that kernel answered.
"""

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path
from statistics import quantiles

HERE = Path(__file__).resolve()
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
BROWSER_ONLY, ROUND_TRIP = 33.0, 100.0  # ms, p95

PAINTED = """(kind) => {
    globalThis.times = [];
    addEventListener(kind, (event) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => globalThis.times.push(performance.now() - event.timeStamp);
        channel.port2.postMessage(0);
    }), { capture: true });
}"""
# The frame that shows an answer writes its number on the widget; the time ends when that frame has been drawn.
ANSWERED = """(kind) => {
    globalThis.times = [];
    const root = document.querySelector('[data-testid="explorer"]');
    let start = null;
    root.addEventListener(kind, (event) => (start ??= event.timeStamp), { capture: true });
    new MutationObserver(() => {
        const from = start;
        start = null;
        if (from === null) return;
        const channel = new MessageChannel();
        channel.port1.onmessage = () => globalThis.times.push(performance.now() - from);
        channel.port2.postMessage(0);
    }).observe(root, { attributes: true, attributeFilter: ["data-revision"] });
}"""
MADE = """import numpy as np, gpytorch, workbench as wb, widgets
draw = np.random.default_rng(0)
X = draw.uniform(0, 1, (200, 1))
y = np.sin(2 * np.pi * X[:, 0]) + 0.5 * draw.normal(size=200)
kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())
kernel.base_kernel.lengthscale, kernel.outputscale = 0.08, 1.0
model = wb.gp.SelfDistilledGPR(kernel, noise=0.3, steps=8, hyperparameters="fixed").fit(X, y)
grid = np.linspace(0, 1, 101)[:, None]
view = widgets.explore(model, test=(grid, np.sin(2 * np.pi * grid[:, 0])))"""


def rows(quick: bool = False) -> list[dict]:
    """Rows of the table that `make bench` prints: name, value, unit, target, met."""
    from playwright.sync_api import sync_playwright

    from workbench.doctor import find_chromium

    count = 40 if quick else 150
    found = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=ARGUMENTS)
        found += page_rows(browser, Path(folder), count)
        found += kernel_rows(browser, Path(folder), count)
        browser.close()
    return found


def page_rows(browser, folder: Path, count: int) -> list[dict]:
    space: dict = {}
    exec(MADE, space)
    path = space["view"].to_html(folder / "posterior.html")
    page = browser.new_page(viewport={"width": 1280, "height": 1100}, reduced_motion="reduce")
    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]")
    found = []
    # The timeline answers to keys itself; the other sliders are the browser's own.
    moves = {
        "step τ": ("slider", "keydown"),
        "noise γ": ("slider-noise", "input"),
        "mixing α": ("slider-mixing", "input"),
    }
    for label, (slider, kind) in moves.items():
        page.get_by_test_id(slider).focus()
        page.evaluate(PAINTED, kind)
        for k in range(count):
            page.keyboard.press(["ArrowLeft", "ArrowRight"][(k // 6) % 2] if kind == "keydown" else "ArrowRight")
            page.wait_for_timeout(20)
        found.append(row(f"posterior, n = 200: {label} to repaint, page alone", collected(page, count), BROWSER_ONLY))
        page.reload()
        page.wait_for_selector("[data-ready]")
    page.close()
    return found


def kernel_rows(browser, folder: Path, count: int) -> list[dict]:
    jupyter = harness()
    server = jupyter.Server(folder / "jupyter")
    try:
        page = browser.new_context(viewport={"width": 1500, "height": 1250}, reduced_motion="reduce").new_page()
        lab = jupyter.Lab(page, server)
        lab.open(server.write("posterior.ipynb", f"{MADE}\nview"))
        lab.run_all()
        (view,) = lab.views(0)
        slider = view.part("slider-length_scale")
        slider.scroll_into_view_if_needed()
        slider.focus()
        page.evaluate(ANSWERED, "input")
        for k in range(count):
            page.keyboard.press(["ArrowRight", "ArrowLeft"][(k // 25) % 2])
            settled(page, k + 1)
        found = [
            row("posterior, n = 200: length-scale to repaint, kernel and back", collected(page, count), ROUND_TRIP)
        ]
        found.append(
            row("posterior, n = 200: dragged point to repaint, kernel and back", drag(page, view, count), ROUND_TRIP)
        )
    finally:
        server.stop()
    return found


def drag(page, view, count: int) -> list[float]:
    canvas = view.part("posterior-0")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    left, top, width, height, x0, x1, y0, y1 = map(float, canvas.get_attribute("data-geometry").split())
    points = page.evaluate(
        """async () => {
            const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
            const future = kernel.requestExecute({ code: "print(*X[0], y[0])", store_history: false });
            let said = "";
            future.onIOPub = (message) => (said += message.content.text ?? "");
            await future.done;
            return said.trim().split(" ").map(Number);
        }"""
    )
    x = box["x"] + left + (points[0] - x0) / (x1 - x0) * width
    y = box["y"] + top + (y1 - points[1]) / (y1 - y0) * height
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(ANSWERED, "pointermove")
    for k in range(count):
        page.mouse.move(x + (k % 30), y + (k % 17))
        settled(page, k + 1)
    page.mouse.up()
    return collected(page, count)


def settled(page, count: int) -> None:
    """Wait until an answer has been painted; an event that changes nothing brings none."""
    page.wait_for_function("count => globalThis.times.length >= count", arg=count, timeout=5_000, polling=4)


def collected(page, count: int) -> list[float]:
    page.wait_for_timeout(300)
    times = page.evaluate("globalThis.times")
    if len(times) < 0.9 * count:
        raise RuntimeError(f"{len(times)} repaints were seen for {count} events: the events did not reach the widget")
    return times


def row(name: str, times: list[float], target: float) -> dict:
    p95, median = quantiles(times, n=20)[-1], quantiles(times, n=2)[0]
    return {
        "name": f"{name} (p95 of {len(times)}, median {median:.0f} ms)",
        "value": round(p95, 1),
        "unit": "ms",
        "target": f"≤ {target:.0f}",
        "met": p95 <= target,
    }


def harness():
    """The JupyterLab of the browser tests."""
    spec = importlib.util.spec_from_file_location("bench_jupyter", HERE.parents[1] / "tests" / "browser" / "jupyter.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    for line in rows(parser.parse_args().quick):
        met = "met   " if line["met"] else "MISSED"
        print(f"{met} {line['value']:>7} {line['unit']}  {line['target']:>6}  {line['name']}")
