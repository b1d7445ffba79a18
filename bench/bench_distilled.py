"""The atlas of distilled images in Chromium: moving and zooming 10,000 images, scrubbing a history, what is sent.

    python bench/bench_distilled.py [--quick]

Real mouse events go into a page made by ``to_html``: the module is the one that runs in JupyterLab, and no Python is on
this path. Headless Chromium hands a wheel event over to any page that may hold the scroll only after a frame or more,
as the row of an empty page says; the target of zooming is therefore the frame itself, from the event's arrival in the
page until it is painted, and the time from the wheel is told beside it.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from bench_widgets import ARGUMENTS, WATCH, collected, row, slider

FRAME, SCRUB = 33.0, 50.0  # ms, p95
ARRIVED = WATCH.replace("event.timeStamp", "performance.now()")
EMPTY = """<canvas id="atlas" data-testid="atlas" width="780" height="500"></canvas><script>
atlas.addEventListener("wheel", (event) => {
    event.preventDefault();
    requestAnimationFrame(() => atlas.getContext("2d").fillRect(Math.random() * 780, 0, 1, 1));
}, { passive: false });
</script>"""


def rows(quick: bool = False) -> list[dict]:
    """Rows of the table that `make bench` prints: name, value, unit, target, met."""
    from playwright.sync_api import sync_playwright

    import widgets

    count = 40 if quick else 200
    many = distilled(100 if quick else 1000)
    moving = distilled(10, moments=50)
    found = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        atlas, course = widgets.explore(many), widgets.explore(moving)
        difference = widgets.explore(moving, against="another moment", compare="difference")
        pages = {
            name: explorer.to_html(Path(folder) / f"{name}.html")
            for name, explorer in {"atlas": atlas, "course": course, "difference": difference}.items()
        }
        path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        size = f"{len(many):,} images of 32×32"
        for name, move in (
            ("frame of a zoom by wheel", zoom),
            ("drag, zoomed in, to repaint", drag),
            ("drag, half out, to repaint", far),
            ("hover to repaint", hover),
        ):
            page = opened(browser, pages["atlas"])
            found.append(row(f"atlas of {size}: {name}", move(page, count), FRAME))
            page.close()
        page = opened(browser, pages["atlas"])
        found.append(told(f"atlas of {size}: wheel to repaint", zoom(page, count, WATCH)))
        page.close()
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
        page.set_content(EMPTY)
        found.append(told("empty page: wheel to repaint", zoom(page, count, WATCH)))
        page.close()
        for name in ("course", "difference"):
            page = opened(browser, pages[name])
            what = "" if name == "course" else ", as difference to the first"
            times = slider(page, count)
            found.append(row(f"history of 100 images × 50 moments{what}: scrub to repaint", times, SCRUB))
            page.close()
        browser.close()
    found.append(sent("atlas", atlas, many.images.numel()))
    found.append(sent("history", course, 50 * moving.images.numel()))
    return found


def distilled(ipc: int, moments: int = 0):
    """Ten classes of coloured noise of 32 × 32 pixels, and its fading in."""
    from workbench.records import DistilledSet

    draw = torch.Generator().manual_seed(0)
    images = torch.rand(10 * ipc, 3, 32, 32, generator=draw)
    return DistilledSet(
        name="noise",
        method="noise",
        images=images,
        labels=torch.arange(10).repeat_interleave(ipc),
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        mean=torch.zeros(3, 1, 1),
        std=torch.ones(3, 1, 1),
        loss=torch.linspace(2, 0.1, max(1, 100 * moments)),
        snapshots=torch.stack([images * k / (moments - 1) for k in range(moments)]).half() if moments else None,
        snapshot_iterations=tuple(round(100 * moments * k / (moments - 1)) for k in range(moments)) if moments else (),
        snapshot_accuracy=torch.linspace(0.1, 0.6, moments) if moments else None,
    )


def opened(browser, path):
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
    page.goto(path.as_uri())
    page.wait_for_selector("[data-ready]")
    return page


def told(name, times):
    """A row that is reported without a target."""
    return row(name, times) | {"target": "", "met": None}


def zoom(page, count, watch=ARRIVED):
    """In to the pixel and out again, about another image each time."""
    box = page.get_by_test_id("atlas").bounding_box()
    page.evaluate(watch, ["wheel"])
    for k in range(count):
        if k % 20 == 0:
            x, y = box["x"] + (37 * k) % (box["width"] - 20), box["y"] + (53 * k) % (box["height"] - 20)
            page.mouse.move(x + 10, y + 10)
        page.mouse.wheel(0, -120 if k % 20 < 10 else 120)
        page.wait_for_timeout(20)
    return collected(page, count)


def drag(page, count):
    page.get_by_test_id("hand-fit").click()
    for _ in range(6):
        page.get_by_test_id("hand-in").click()
    return dragged(page, count)


def far(page, count):
    """At 1.5 times the size at which everything fits: nearly all images are on the screen."""
    page.get_by_test_id("hand-fit").click()
    page.get_by_test_id("hand-in").click()
    return dragged(page, count)


def dragged(page, count):
    box = page.get_by_test_id("atlas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(WATCH, ["pointermove"])
    for k in range(count):
        page.mouse.move(x + 150 * ((k % 40) / 20 - 1), y + 100 * ((k % 26) / 13 - 1))
        page.wait_for_timeout(20)
    page.mouse.up()
    return collected(page, count)


def hover(page, count):
    page.get_by_test_id("hand-fit").click()
    box = page.get_by_test_id("atlas").bounding_box()
    page.evaluate(WATCH, ["pointermove"])
    for k in range(count):
        page.mouse.move(box["x"] + (31 * k) % box["width"], box["y"] + (17 * k) % box["height"])
        page.wait_for_timeout(20)
    return collected(page, count)


def sent(name, explorer, values):
    """Bytes of all arrays that travel, beside one byte per pixel value: what is sent twice would show."""
    total = sum(len(packed["data"]) for packed in explorer.arrays.values())
    share = total / values
    return {
        "name": f"{name}: bytes sent per pixel value ({total / 2**20:.1f} MiB)",
        "value": round(share, 4),
        "unit": "bytes",
        "target": "≤ 1.05",
        "met": share <= 1.05,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    for line in rows(parser.parse_args().quick):
        verdict = {True: "met", False: "MISSED", None: ""}[line["met"]]
        print(f"{verdict:<6} {line['value']:>7} {line['unit']}  {line['target']:>6}  {line['name']}")
