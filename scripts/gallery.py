"""Pictures of every explorer in its states into gallery/: `make gallery`.

The records come from short runs on the bundled digits and tables; each explorer is written as a page and photographed
in headless Chromium, pinned to something worth seeing.
"""

import argparse
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from playwright.sync_api import Browser, sync_playwright
from sklearn.datasets import load_diabetes
from sklearn.decomposition import PCA
from sklearn.gaussian_process.kernels import RBF
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

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
    hole = other.values.clone()
    hole[:, 4] = torch.nan
    masked = other.replace(values=hole, masked={f"4,{j}": "constant features" for j in range(len(other.layers_b))})
    broken = widgets.explore(masked)
    broken.error = "Traceback (most recent call last):\n  …\nValueError: what an observer raised is shown here"
    return (
        posteriors(data)
        | distilled(data)
        | targets(data)
        | {
            "features": widgets.explore(other, selection=pinned),
            "features-empty": widgets.explore(other),
            "features-numbers": widgets.explore(other, selection=pinned, numbers=True, stretch=True),
            "features-masked-and-error": broken,
            "compared": widgets.explore([one, other], selection=pinned),
            "training": widgets.explore([teacher, alone, told]),
        }
    )


def posteriors(data: wb.data.Dataset) -> dict[str, widgets.Explorer]:
    """Eleven points of a sine, a table, and two digits in two dimensions, each as a Gaussian process sees it."""
    x = np.linspace(0, 1, 11)[:, None]
    grid = np.linspace(0, 1, 101)[:, None]

    def sine(inputs: np.ndarray) -> np.ndarray:
        return np.sin(2 * np.pi * inputs[:, 0])

    noisy = sine(x) + 0.35 * np.random.default_rng(4).normal(size=len(x))
    wiggly = wb.gp.SelfDistilledGPR(RBF(np.sqrt(1 / 160)), noise=0.2, steps=6, hyperparameters="fixed").fit(x, noisy)
    own = wb.gp.SelfDistilledGPR(noise=0.2, steps=4, hyperparameters="all").fit(x, noisy)
    table, progress = load_diabetes(return_X_y=True, as_frame=True)
    half = len(table) // 2
    scaled = StandardScaler().set_output(transform="pandas")
    patients = make_pipeline(scaled, wb.gp.SelfDistilledGPR(steps=6, noise=0.1, normalize_y=True))
    patients.fit(table[:half], progress[:half])
    chosen = (data.train.labels == 3) | (data.train.labels == 8)
    pixels, names = data.train.inputs[chosen].flatten(1).double().numpy(), data.train.labels[chosen].numpy()
    reader = make_pipeline(PCA(2, random_state=0), wb.gp.SelfDistilledGPC(steps=6)).fit(pixels[:60], names[:60])
    rest = pixels[60:], names[60:]
    broken = widgets.explore(own)
    broken.error = "Traceback (most recent call last):\n  …\nTraitError: what Python refused is shown here"
    return {
        "posterior": widgets.explore(wiggly, test=(grid, sine(grid)), truth=sine, selection={"step": 3}),
        "posterior-both": widgets.explore(
            wiggly, test=(grid, sine(grid)), truth=sine, approach="both", equivalent=True
        ),
        "posterior-samples": widgets.explore(wiggly, truth=sine, samples=6, resampled=True, mixing=0.3),
        "posterior-table": widgets.explore(patients, test=(table[half:], progress[half:]), feature="bmi"),
        "posterior-without-eigensystem-and-error": broken,
        "posterior-map": widgets.explore(reader, test=rest, selection={"step": 2}),
        "posterior-maps": widgets.explore(reader, test=rest, approach="both", show="mean", selection={"point": 7}),
    }


def distilled(data: wb.data.Dataset) -> dict[str, widgets.Explorer]:
    """Digits by distribution matching, five images of each: alone, under the lens, compared, and what they teach."""
    condensation = wb.condensation
    method = condensation.DistributionMatching(ipc=5, real_batch=64, options={"width": 32})
    made = condensation.condense(data, method, iterations=150, snapshots=31, name="DM", progress=False)
    made = condensation.score_history(made, data, epochs=60)
    chosen = condensation.condense(data, condensation.Random(ipc=5), name="random real")
    protocol = {"networks": ["mlp", "convnet"], "seeds": 3, "epochs": 100, "progress": False}
    scores = [condensation.evaluate(one, data, **protocol) for one in (made, chosen)]
    looks = condensation.look(made, data, influence=True, attributions=("integrated_gradients",))
    known = {"data": data, "looks": looks, "evaluation": scores[0]}
    broken = widgets.explore(made)
    broken.error = "Traceback (most recent call last):\n  …\nValueError: what an observer raised is shown here"
    return {
        "distilled": widgets.explore(made, data=data),
        "distilled-selected": widgets.explore(made, **known, selection={"images": [17, 42]}),
        "distilled-difference": widgets.explore(made, **known, against="nearest real images", compare="difference"),
        "distilled-teaching": widgets.explore(made, **known, panel="teaching"),
        "distilled-compared": widgets.explore(
            [made, chosen], data=data, evaluation=scores, against="random real", selection={"images": [17]}
        ),
        "distilled-error": broken,
    }


def targets(data: wb.data.Dataset) -> dict[str, widgets.Explorer]:
    """A ring and digits by class, as an exact teacher, a student that knows half, and few steps believe them to be."""
    diffusion = wb.diffusion
    ring, half = diffusion.ring(), diffusion.ring().only(torch.arange(4))
    noise = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([0.99, 0.25, 0.15, 0.08, 0.0], dtype=torch.float64)
    runs = [
        diffusion.target_trajectories(ring, noise, steps=40, name="base", role="teacher"),
        diffusion.target_trajectories(half, noise, steps=times, name="student", role="student"),
        diffusion.target_trajectories(half, noise, steps=8, sampler="consistency", name="renoised", role="student"),
    ]
    shared = diffusion.hand_over(ring, half, noise, times=times, names=("base", "student"))
    models = {"teacher": ring, "students": {"student": half, "renoised": half}, "hand_over": shared}
    density, (mean, std) = diffusion.kernel_density(data), diffusion.picture_scale()
    start = torch.randn(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    asked = {"condition": torch.arange(10).repeat(2), "classes": data.classes, "mean": mean, "std": std}
    pictures = [
        diffusion.target_trajectories(density, start, steps=50, name="50 steps", role="teacher", **asked),
        diffusion.target_trajectories(density, start, steps=4, name="4 steps", role="other", **asked),
    ]
    broken = widgets.explore(runs)
    broken.error = "Traceback (most recent call last):\n  …\nValueError: what an observer raised is shown here"
    pinned = {"step": 24, "seeds": [3, 8]}
    return {
        "targets": widgets.explore(runs, **models),
        "targets-selected": widgets.explore(runs, **models, selection=pinned, field="velocity"),
        "targets-together": widgets.explore(runs, **models, selection=pinned, show="states", arrange="together"),
        "targets-hand-over": widgets.explore(runs, **models, view="hand-over", selection={"switch": 1}),
        "targets-strip": widgets.explore(pictures, teacher=density, selection={"step": 12, "seeds": [3, 8]}),
        "targets-error": broken,
    }


@dataclass(frozen=True)
class Shot:
    """One picture: which explorer, how wide, in which theme, and the key that opens a panel first."""

    name: str
    explorer: str
    width: int = 1280
    dark: bool = False
    key: str = ""


SHOTS = [
    Shot("features", "features"),
    Shot("features-dark", "features", dark=True),
    Shot("features-narrow", "features", width=620),
    Shot("features-data", "features", key="d"),
    Shot("features-code", "features", key="c"),
    Shot("features-keys", "features-empty", key="?"),
    Shot("features-empty", "features-empty"),
    Shot("features-numbers", "features-numbers"),
    Shot("features-masked-and-error", "features-masked-and-error"),
    Shot("compared", "compared"),
    Shot("compared-dark", "compared", dark=True),
    Shot("training", "training"),
    Shot("training-dark", "training", dark=True),
    Shot("training-narrow", "training", width=620),
    Shot("posterior", "posterior"),
    Shot("posterior-dark", "posterior", dark=True),
    Shot("posterior-narrow", "posterior", width=560),
    Shot("posterior-data", "posterior", key="d"),
    Shot("posterior-both", "posterior-both"),
    Shot("posterior-samples", "posterior-samples", dark=True),
    Shot("posterior-table", "posterior-table"),
    Shot("posterior-without-eigensystem-and-error", "posterior-without-eigensystem-and-error"),
    Shot("posterior-map", "posterior-map"),
    Shot("posterior-maps", "posterior-maps", dark=True),
    Shot("posterior-map-narrow", "posterior-map", width=560),
    Shot("distilled", "distilled"),
    Shot("distilled-selected", "distilled-selected"),
    Shot("distilled-selected-dark", "distilled-selected", dark=True),
    Shot("distilled-selected-narrow", "distilled-selected", width=560),
    Shot("distilled-difference", "distilled-difference"),
    Shot("distilled-teaching", "distilled-teaching"),
    Shot("distilled-teaching-dark", "distilled-teaching", dark=True),
    Shot("distilled-compared", "distilled-compared"),
    Shot("distilled-data", "distilled", key="d"),
    Shot("distilled-error", "distilled-error"),
    Shot("targets", "targets"),
    Shot("targets-selected", "targets-selected"),
    Shot("targets-selected-dark", "targets-selected", dark=True),
    Shot("targets-narrow", "targets-selected", width=560),
    Shot("targets-together", "targets-together"),
    Shot("targets-hand-over", "targets-hand-over"),
    Shot("targets-hand-over-dark", "targets-hand-over", dark=True),
    Shot("targets-strip", "targets-strip"),
    Shot("targets-strip-dark", "targets-strip", dark=True),
    Shot("targets-strip-narrow", "targets-strip", width=560),
    Shot("targets-data", "targets-selected", key="d"),
    Shot("targets-error", "targets-error"),
]


def photograph(browser: Browser, page_of: Path, shot: Shot, path: Path) -> None:
    """One picture of an explorer written as a page."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": 1000}, device_scale_factor=2, reduced_motion="reduce"
    )
    page = context.new_page()
    if shot.dark:
        dark = "document.body.dataset.jpThemeLight = 'false'"
        page.add_init_script(f"document.addEventListener('DOMContentLoaded', () => {{ {dark}; }})")
    page.goto(page_of.as_uri())
    shown = page.locator("[data-testid=explorer][data-ready]")
    shown.wait_for()
    if shot.key:
        shown.focus()
        page.keyboard.press(shot.key)
        page.get_by_test_id("panel").wait_for()
    page.wait_for_timeout(500)  # a chart that a library draws takes a moment longer
    shown.screenshot(path=path)
    context.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "gallery", help="where the pictures go")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    views = explorers()
    with tempfile.TemporaryDirectory() as home, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox", "--disable-gpu"])
        for name, explorer in views.items():
            page = explorer.to_html(Path(home) / f"{name}.html")
            explorer.to_png(folder / f"{name}-static.png")  # what a reader without JavaScript sees
            for shot in (shot for shot in SHOTS if shot.explorer == name):
                photograph(browser, page, shot, folder / f"{shot.name}.png")
                print(folder / f"{shot.name}.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
