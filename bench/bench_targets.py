"""The explorer of diffusion targets in Chromium: scrubbing moving points and strips of pictures, and what is sent.

    python bench/bench_targets.py [--quick]

Real mouse events drag the timeline's slider of a page made by ``to_html``: the module is the one that runs in
JupyterLab, and no Python is on this path. A scrub lasts from the slider's event until the frame that shows it is drawn;
another step is reached by each.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

from bench_widgets import ARGUMENTS, WATCH, collected, row, slider

POINTS, STRIP = 33.0, 50.0  # ms, p95


def rows(quick: bool = False) -> list[dict]:
    """Rows of the table that `make bench` prints: name, value, unit, target, met."""
    from playwright.sync_api import sync_playwright

    import widgets
    from workbench import diffusion

    count = 40 if quick else 200
    ring = diffusion.ring()
    one, three = points(1), points(3)
    pictures = images(16)
    opened_in = time.perf_counter()
    views = {
        "2,000 points, 50 steps, targets": (widgets.explore(one, teacher=ring, selection={"seeds": [3]}), POINTS),
        "2,000 points, states over their density and field": (
            widgets.explore(one, teacher=ring, show="states", field="velocity"),
            POINTS,
        ),
        "3 runs × 2,000 points, side by side": (widgets.explore(three, teacher=ring), None),
        "strip of 16 seeds × 50 steps × 3 models, every step": (
            widgets.explore(pictures, rows=16, all_steps=True),
            STRIP,
        ),
        "strip of 16 seeds × 50 steps × 3 models, as many as fit": (widgets.explore(pictures, rows=16), STRIP),
    }
    opened_in = time.perf_counter() - opened_in
    found = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for k, (name, (explorer, target)) in enumerate(views.items()):
            page = browser.new_page(viewport={"width": 1280, "height": 1600}, reduced_motion="reduce")
            page.goto(explorer.to_html(Path(folder) / f"{k}.html").as_uri())
            page.wait_for_selector("[data-ready]")
            times = slider(page, count)
            found.append(row(f"{name}: scrub to repaint", times, target) if target else told(f"{name}: scrub", times))
            if k == 0:
                found.append(row(f"{name}: hover to repaint", hover(page, count), POINTS))
            page.close()
        browser.close()
    found.append(reported(f"opening these {len(views)} explorers", opened_in, "s"))
    strip = views["strip of 16 seeds × 50 steps × 3 models, every step"][0]
    sent = sum(len(packed["data"]) for packed in strip.arrays.values()) / 2**20
    found.append(reported("strip: arrays sent once", sent, "MiB"))
    return found


def points(runs: int) -> list:
    """Sampling runs of the ring from the same 2,000 draws of noise."""
    from workbench import diffusion

    noise = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    made = []
    for name, role, sampler in (
        ("base", "teacher", "ddim"), ("student", "student", "consistency"), ("DPM-Solver++", "other", "dpm-solver++")
    )[:runs]:  # fmt: skip
        options = {"steps": 50, "sampler": sampler, "name": name, "role": role}
        made.append(diffusion.target_trajectories(diffusion.ring(), noise, **options))
    return made


def images(seeds: int) -> list:
    """Three runs of 50 steps from the same noise, images of 28 × 28 of a mixture of ten patterns."""
    from workbench import diffusion

    draw = torch.Generator().manual_seed(0)
    patterns = (torch.rand(10, 28 * 28, generator=draw) > 0.7).float() * 2 - 1
    teacher = diffusion.GaussianMixture(
        patterns, torch.full_like(patterns, 0.02), torch.full((10,), 0.1), shape=(1, 28, 28)
    )
    noise = torch.randn(seeds, 1, 28, 28, generator=draw)
    half = torch.full((1, 1, 1), 0.5)
    return [
        diffusion.target_trajectories(
            teacher, noise, steps=50, sampler=sampler, name=name, role=role, mean=half, std=half
        )
        for name, role, sampler in (
            ("base", "teacher", "ddim"), ("student", "student", "consistency"), ("hybrid", "other", "ancestral")
        )
    ]  # fmt: skip


def hover(page, count):
    """Over the points of the first plane."""
    box = page.get_by_test_id("plane-0").bounding_box()
    page.evaluate(WATCH, ["pointermove"])
    for k in range(count):
        page.mouse.move(
            box["x"] + (0.3 + 0.4 * ((31 * k) % 97) / 97) * box["width"],
            box["y"] + (0.3 + 0.4 * ((17 * k) % 89) / 89) * box["height"],
        )
        page.wait_for_timeout(20)
    return collected(page, count)


def told(name, times):
    """A row that is reported without a target."""
    return row(name, times) | {"target": "", "met": None}


def reported(name, value, unit):
    return {"name": name, "value": round(value, 2), "unit": unit, "target": "", "met": None}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    for line in rows(parser.parse_args().quick):
        verdict = {True: "met", False: "MISSED", None: ""}[line["met"]]
        print(f"{verdict:<6} {line['value']:>7} {line['unit']:<3}  {line['target']:>6}  {line['name']}")
