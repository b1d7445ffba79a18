"""Names of ten thousand letters, of classes, layers and records: a page is soon ready, and cuts them."""

import time

import numpy as np
import pytest
from lens_records import distilled, evaluation, looks
from matplotlib.text import Text
from posteriors import golden, moons, moons_test
from synthetic_records import similarity_map, training_record
from target_records import picture_runs

import widgets
from widgets.core.naming import LONGEST, cut_texts

LONG = 10_000


MOST = 1000

LONGER = """(most) => {
    const found = [], walk = (root) => {
        for (const node of root.querySelectorAll("*")) {
            if (node.shadowRoot) walk(node.shadowRoot);
            if (["SCRIPT", "STYLE", "NOSCRIPT", "PRE", "CODE", "TEXTAREA"].includes(node.tagName)) continue;
            const texts = [...node.childNodes].filter((child) => child.nodeType === 3);
            const own = texts.map((child) => child.data).join("");
            if (own.length > most) found.push(`${node.tagName} ${node.getAttribute("class")} ${own.length}`);
        }
    };
    walk(document);
    return found;
}"""


def name(what):
    return f"{what} {'ab c' * (LONG // 4)} {what}"


def features():
    names = [name(f"class {k}") for k in range(4)]
    made = similarity_map(12, 9, 3, 40, 20, 4, class_names=names, name_a=name("a"), name_b=name("b"))
    layers = {"layers_a": tuple(name(f"layer {k}") for k in range(12)), "layers_b": tuple(map(name, "abcdefghi"))}
    return widgets.explore(made.replace(**layers))


def training():
    runs = [training_record(name(f"run {k}"), seed=k, classes=3) for k in range(2)]
    classes = tuple(name(f"class {k}") for k in range(3))
    return widgets.explore([run.replace(classes=classes) for run in runs])


def lens():
    made = distilled(ipc=2, classes=tuple(name(f"class {k}") for k in range(4)), name=name("set"))
    return widgets.explore(made, looks=looks(made, network=name("network"), real=12), evaluation=evaluation(made))


def targets():
    runs = picture_runs(classes=tuple(name(f"class {k}") for k in range(3)))
    return widgets.explore([run.replace(name=name(f"run {k}")) for k, run in enumerate(runs)])


def regression():
    path = golden().path(np.linspace(0, 1, 30)[:, None])
    return widgets.explore(path.replace(feature_names=(name("x"),), target_names=(name("y"),), kernel=name("kernel")))


def classification():
    path = moons().path(moons_test()[0])
    return widgets.explore(path.replace(classes=(name("left"), name("right")), kernel=name("kernel")))


EVERY = [features, training, lens, targets, regression, classification]


@pytest.mark.parametrize("make", EVERY)
def test_a_page_of_long_names_is_ready_soon_and_cuts_them(show, make):
    explorer = make()
    start = time.monotonic()
    view = show(explorer)  # waits for the first paint
    assert time.monotonic() - start < 25
    assert view.page.evaluate(LONGER, MOST) == []
    whole = view.page.locator("[data-cut]").first.get_attribute("title")
    assert "ab c" * (LONG // 4) in whole  # the tooltip has all of it


@pytest.mark.parametrize("make", [features, targets])
def test_a_picture_of_long_names_is_drawn_soon(make, tmp_path):
    explorer = make()
    start = time.process_time()
    explorer.to_png(tmp_path / "x.png", dpi=60)
    assert time.process_time() - start < 4
    for text in cut_texts(explorer.figure()).findobj(Text):
        assert max(map(len, text.get_text().split("\n"))) <= 2 * LONGEST
