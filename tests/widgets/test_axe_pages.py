"""axe-core finds nothing serious in any explorer: light and dark, with what folds open, and with each panel."""

from pathlib import Path

import pytest
from every_explorer import EXPLORERS, explorer

AXE = Path(__file__).resolve().parents[2] / "node_modules/axe-core/axe.min.js"
RUN = """async () => {
    const { violations } = await axe.run(document.querySelector(".dw"), { resultTypes: ["violations"] });
    return violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => [id, nodes.slice(0, 4).map(({ html, failureSummary }) => [html, failureSummary])]);
}"""

pytestmark = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not here: `make test` installs it with npm")


def found(view):
    view.settle()
    return view.page.evaluate(RUN)


def with_axe(view):
    view.page.evaluate(AXE.read_text(encoding="utf-8"))
    return view


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", EXPLORERS)
def test_nothing_serious(show, name, scheme):
    view = with_axe(show(explorer(name), width=1280, height=720, scheme=scheme))
    for fold in view.page.locator("[data-testid^=fold-][aria-expanded=false]").all():
        view.settle()
        if fold.is_visible():
            fold.click()
    assert found(view) == []


@pytest.mark.parametrize("key", ["s", "d", "c", "p", "?", "e"])
@pytest.mark.parametrize("name", ["features", "posterior", "distilled", "targets", "training"])
def test_nothing_serious_in_a_panel(show, name, key):
    view = with_axe(show(explorer(name), width=1280, height=720))
    view.settle()
    view.page.get_by_test_id("explorer").focus()
    view.page.keyboard.press(key)
    view.settle()
    assert view.part("explain" if key == "e" else "panel").is_visible()
    assert found(view) == []


def test_axe_would_find_something(show):
    view = with_axe(show(explorer("training")))
    view.page.evaluate("document.querySelector('.dw-caption').style.color = '#bbbbbb'")
    assert [name for name, _ in found(view)] == ["color-contrast"]
