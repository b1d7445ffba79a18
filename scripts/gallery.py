"""Pictures of every explorer, light and dark, into gallery/: `make gallery`.

The records come from short runs on the bundled digits; each explorer is written as a page and photographed in headless
Chromium, pinned to something worth seeing.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

import widgets
import workbench as wb
from workbench.doctor import find_chromium

ROOT = Path(__file__).resolve().parent.parent


def explorers() -> dict[str, widgets.Explorer]:
    """The views to photograph, by file name."""
    data = wb.data.load("digits")
    few = data.per_class(10, seed=0)
    quiet = {"progress": False}
    teacher = wb.training.fit(
        wb.models.build("resnet20", data, seed=0), data, epochs=8, lr=3e-3, snapshots=1, name="teacher", **quiet
    )
    settings = {"epochs": 60, "lr": 2e-3, "snapshots": 5, "seed": 1, **quiet}
    alone = wb.training.fit(wb.models.build("mlp", few, depth=4, seed=1), few, name="labels only", **settings)
    signal = wb.knowledge.KL(temperature=4)
    told = wb.knowledge.distill(
        teacher, wb.models.build("mlp", few, depth=4, seed=1), few, signal, name="distilled", **settings
    )

    def similar(student: wb.records.TrainingRecord) -> wb.records.SimilarityMap:
        found = wb.analysis.cka(teacher.model, student, data.test, per_class=True, interval=True, progress=False)
        return found.replace(name_a="teacher", name_b=student.name)

    one, other = similar(alone), similar(told)
    pinned = {"layer_a": "layer2.2", "layer_b": "hidden.3", "epoch": 60}
    return {
        "features": widgets.explore(other, selection=pinned),
        "features-two-students": widgets.explore([one, other], selection=pinned),
        "training": widgets.explore([teacher, alone, told]),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "gallery", help="where the pictures go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as pages, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        for name, explorer in explorers().items():
            file = explorer.to_html(Path(pages) / f"{name}.html")
            for scheme in ("light", "dark"):
                context = browser.new_context(
                    viewport={"width": 1280, "height": 900}, color_scheme=scheme, device_scale_factor=2
                )
                page = context.new_page()
                page.goto(file.as_uri())
                if scheme == "dark":
                    page.evaluate("() => { document.body.dataset.jpThemeLight = 'false'; }")
                shown = page.locator("[data-testid=explorer][data-ready]")
                shown.wait_for()
                page.wait_for_timeout(500)  # a chart drawn by a library takes a moment longer
                path = folder / f"{name}-{scheme}.png"
                shown.screenshot(path=path)
                context.close()
                print(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
