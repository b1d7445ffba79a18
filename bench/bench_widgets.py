"""From slider or hover to repaint, in Chromium: a map of 27 × 9 layers over 20 epochs, and training curves.

    python bench/bench_widgets.py [--quick]

Real mouse and key events go into a page made by ``to_html``: the module is the one that runs in JupyterLab, and no
Python is on this path, so that a busy kernel can matter only by taking the processor. "Busy" therefore means a process
that multiplies matrices on every core while the events arrive.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import quantiles

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "widgets"))

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
TARGET = 50.0  # ms, p95

# The time from the event to the end of the frame that shows it: the message is handled once that frame has been drawn.
WATCH = """(kinds) => {
    globalThis.times = [];
    const painted = (start) => requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => globalThis.times.push(performance.now() - start);
        channel.port2.postMessage(0);
    });
    for (const kind of kinds) addEventListener(kind, (event) => painted(event.timeStamp), { capture: true });
}"""
BUSY = "import numpy as np; a = np.random.default_rng(0).normal(size=(1500, 1500))\nwhile True: a @ a"


def rows(quick: bool = False) -> list[dict]:
    """Rows of the table that `make bench` prints: name, value, unit, target, met."""
    from playwright.sync_api import sync_playwright
    from synthetic_records import similarity_map, training_record

    import widgets

    count = 40 if quick else 200
    similar = similarity_map(27, 9, epochs=20, examples=200, grams=100)
    pinned = {"layer_a": similar.layers_a[13], "layer_b": similar.layers_b[4]}
    runs = [training_record(name, seed=k) for k, name in enumerate(("teacher", "student", "student, KL"))]
    found = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pages = {
            "features": widgets.explore(similar, selection=pinned).to_html(Path(folder) / "features.html"),
            "training": widgets.explore(runs).to_html(Path(folder) / "training.html"),
        }
        path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for busy in (False, True):
            loads = [subprocess.Popen([sys.executable, "-c", BUSY])] if busy else []
            state = "kernel busy" if busy else "kernel idle"
            try:
                for name, moves in (("features", ("slider", "hover", "play-keys")), ("training", ("slider",))):
                    page = browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
                    page.goto(pages[name].as_uri())
                    page.wait_for_selector("[data-ready]")
                    if name == "training":
                        page.wait_for_selector("[data-drawn=plotly]")
                    for move in moves:
                        times = MOVES[move](page, count)
                        found.append(row(f"{name}: {LABELS[move]} to repaint, {state}", times))
                    page.close()
            finally:
                for load in loads:
                    load.kill()
        browser.close()
    return found


def row(name: str, times: list[float], target: float = TARGET) -> dict:
    p95 = quantiles(times, n=20)[-1]
    median = quantiles(times, n=2)[0]
    return {
        "name": f"{name} (p95 of {len(times)}, median {median:.0f} ms)",
        "value": round(p95, 1),
        "unit": "ms",
        "target": f"≤ {target:.0f}",
        "met": p95 <= target,
    }


def slider(page, count):
    """Drag the slider's thumb back and forth: each move reaches another epoch."""
    box = page.get_by_test_id("slider").bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] - 7, middle)
    page.mouse.down()
    page.evaluate(WATCH, ["input"])
    for k in range(count):
        position = abs((18 - k) % 38 - 19) / 19
        page.mouse.move(box["x"] + 7 + position * (box["width"] - 14), middle)
        page.wait_for_timeout(20)
    page.mouse.up()
    return collected(page, count)


def hover(page, count):
    stage = page.get_by_test_id("heatmap-0")
    left, top, width, height = map(float, stage.get_attribute("data-geometry").split())
    box = stage.bounding_box()
    page.mouse.move(box["x"] + left + 2, box["y"] + top + 2)
    page.evaluate(WATCH, ["pointermove"])
    for k in range(count):
        row_, column = (7 * k) % 27, (2 * k + 1) % 9
        page.mouse.move(box["x"] + left + (column + 0.5) * width, box["y"] + top + (row_ + 0.5) * height)
        page.wait_for_timeout(20)
    return collected(page, count)


def walk(page, count):
    page.mouse.move(2, 2)
    page.get_by_test_id("heatmap-0").focus()
    page.evaluate(WATCH, ["keydown"])
    for k in range(count):
        page.keyboard.press(["ArrowDown", "ArrowRight", "ArrowUp", "ArrowLeft"][(k // 8) % 4])
        page.wait_for_timeout(20)
    return collected(page, count)


def collected(page, count):
    page.wait_for_timeout(300)
    times = page.evaluate("globalThis.times")
    if len(times) < 0.9 * count:
        raise RuntimeError(f"{len(times)} repaints were seen for {count} events: the events did not reach the widget")
    return times


MOVES = {"slider": slider, "hover": hover, "play-keys": walk}
LABELS = {"slider": "slider", "hover": "hover", "play-keys": "arrow key in the map"}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    for line in rows(parser.parse_args().quick):
        verdict = "met" if line["met"] else "MISSED"
        print(f"{verdict:<6} {line['value']:>7} {line['unit']}  {line['target']:>6}  {line['name']}")
