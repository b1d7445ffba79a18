"""PosteriorExplorer in a page without a kernel: what the browser computes is what Python computes."""

import numpy as np
import pytest
from posteriors import X, Y, fitted_table, golden, moons, moons_test, table, truth

import widgets
import workbench as wb

GRID = np.linspace(0, 1, 101)[:, None]


def numbers(view):
    """The table behind the view: columns, and rows of text."""
    view.page.get_by_test_id("tool-data").click()
    view.settle()
    rows = view.part("table").evaluate(
        "node => [...node.querySelectorAll('tr')].map(row => [...row.children].map(cell => cell.textContent))"
    )
    view.page.keyboard.press("Escape")
    return rows[0], rows[1:]


def shown(view, column):
    head, rows = numbers(view)
    at = head.index(column)
    return np.array([float(row[at].replace("−", "-")) for row in rows])


def press(view, name, key, times):
    view.part(name).focus()
    for _ in range(times):
        view.page.keyboard.press(key)
    view.settle()


@pytest.mark.parametrize("approach", ["data", "distribution"])
@pytest.mark.parametrize("step", [1, 4, "limit"])
def test_the_browser_evaluates_what_python_does(show, approach, step):
    explorer = widgets.explore(golden(), truth=truth, approach=approach, selection={"step": step}, noise=0.13)
    if approach == "data":
        explorer.mixing = 0.4
    view = show(explorer)
    frame = explorer.data()
    tolerance = 2e-2 if (approach, step) == ("distribution", "limit") else 6e-5  # interpolation is ill-conditioned
    np.testing.assert_allclose(shown(view, "mean"), frame["mean"], atol=tolerance)
    np.testing.assert_allclose(shown(view, "std"), frame["std"], atol=2e-3)


def test_sliders_work_without_a_kernel(show):
    explorer = widgets.explore(golden(), test=(GRID, truth(GRID)), truth=truth)
    view = show(explorer)
    press(view, "slider-noise", "ArrowRight", 30)
    press(view, "slider-mixing", "ArrowRight", 120)
    press(view, "slider-steps", "ArrowRight", 2)
    view.page.keyboard.press("Escape")
    press(view, "slider", "Home", 1)
    press(view, "slider", "ArrowRight", 4)
    view.settle()
    assert view.trait("steps") == 8
    assert view.trait("selection")["step"] == 5
    noise, mixing = view.trait("noise"), view.trait("mixing")
    assert noise > 0.2
    assert mixing == pytest.approx(0.3, abs=0.01)
    again = widgets.explore(golden(), noise=noise, mixing=mixing, steps=8, selection={"step": 5})
    again_test = widgets.explore(
        golden(), test=(GRID, truth(GRID)), noise=noise, mixing=mixing, steps=8, selection={"step": 5}
    )
    np.testing.assert_allclose(shown(view, "mean"), again_test.data()["mean"], atol=6e-5)
    view.settle()
    _, errors = again_test._view.errors(again_test, again_test._view.path(again_test, "data"))
    assert f"smallest at step {int(errors.argmin()) + 1}" in view.part("caption").inner_text()
    evidence = again._view.path(again, "data").log_marginal_likelihood[4]
    view.unfold("evidence")
    label = view.part("evidence").get_attribute("aria-label").replace("−", "-")
    assert float(label.split(": ")[1].split(", ")[4]) == pytest.approx(float(evidence), rel=2e-3)
    view.part("reset-noise").click()
    view.settle()
    assert view.trait("noise") is None
    assert view.part("slider-length_scale").is_disabled()
    assert "kernel lives in Python" in view.page.locator('[data-slider="length_scale"]').get_attribute("title")


def test_the_term_under_the_slider_is_lit(show):
    view = show(widgets.explore(golden()))
    view.part("slider-noise").focus()
    view.settle()
    lit = view.page.evaluate("() => [...document.querySelectorAll('.dw-lit')].map(node => node.textContent)")
    assert set(lit) == {"γ"}
    view.part("slider-steps").focus()
    view.settle()
    lit = view.page.evaluate("() => [...document.querySelectorAll('.dw-lit')].map(node => node.textContent)")
    assert set(lit) == {"τ"}


def test_both_approaches_share_their_axes_and_the_theorem_holds(show):
    view = show(widgets.explore(golden(), approach="both", equivalent=True, selection={"step": 4}))
    spans = [view.part(f"posterior-{k}").get_attribute("data-geometry").split()[4:] for k in (0, 1)]
    assert spans[0] == spans[1]
    view.unfold("same")
    for approach in ("data", "distribution"):
        assert float(view.part(f"same-{approach}").inner_text().replace("−", "-")) < 1e-12


def test_bias_and_variance_are_those_of_resampled_noise(show):
    explorer = widgets.explore(golden(), test=(GRID, truth(GRID)), truth=truth, resampled=True)
    view = show(explorer)
    view.unfold("errors")
    label = view.part("errors").get_attribute("aria-label").replace("−", "-")
    parts = dict(part.split(": ") for part in label.split(". ", 1)[1].split(". Smallest")[0].split("; "))
    bias, variance = (np.array([float(v) for v in parts[name].split(", ")[:6]]) for name in ("bias²", "variance"))
    draw = np.random.default_rng(0)
    sigma = np.sqrt(np.mean((Y - truth(X)) ** 2))
    options = {"noise": 0.2, "steps": 6, "hyperparameters": "fixed"}
    means = []
    for _ in range(400):
        model = wb.gp.SelfDistilledGPR(golden().kernel, **options).fit(X, truth(X) + sigma * draw.normal(size=len(X)))
        means.append([model.predict(GRID, step=t + 1) for t in range(6)])
    means = np.array(means)
    np.testing.assert_allclose(bias, ((means.mean(0) - truth(GRID)) ** 2).mean(1), atol=4e-3)
    np.testing.assert_allclose(variance, means.var(0).mean(1), rtol=0.12)


def test_names_from_data_are_text(show):
    frame, target = table()
    view = show(widgets.explore(fitted_table(), test=(frame, target), feature="<b>bmi</b>"))
    assert view.page.locator("main b", has_text="bmi").count() == 0
    head, _ = numbers(view)
    view.settle()
    assert head == ["approach", "<b>bmi</b>", "mean", "std"]
    other = show(widgets.explore(moons(), test=moons_test()))
    assert other.page.locator("main i", has_text="up").count() == 0
    assert "<i>up</i>" in other.part("key").inner_text()


def test_a_classification_plays_and_shows_its_latent_function(show):
    explorer = widgets.explore(moons(), test=moons_test())
    view = show(explorer)
    press(view, "slider", "Home", 1)
    view.settle()
    assert view.trait("selection")["step"] == 1
    explorer.selection = {"step": 1}
    np.testing.assert_allclose(shown(view, "probability[down]"), explorer.data()["probability[down]"], atol=6e-5)
    view.part("setting-show").select_option("std")
    view.settle()
    assert view.part("legend").is_visible()
    box = view.part("map-0").bounding_box()
    view.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    view.settle()
    assert "latent σ" in view.part("tooltip").inner_text() or "training row" in view.part("tooltip").inner_text()
    view.part("map-0").focus()
    view.page.keyboard.press("ArrowRight")
    view.settle()
    assert view.trait("selection")["point"] == 0
    assert view.part("row-targets").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_pages_have_tabs_and_everything_has_a_name(show, scheme):
    view = show(widgets.explore(golden(), approach="both"), width=520, scheme=scheme)
    assert view.part("posterior-1").is_hidden()
    view.part("tab-1").click()
    view.settle()
    assert view.part("posterior-0").is_hidden()
    assert view.part("inspector").bounding_box()["y"] > view.part("posterior-1").bounding_box()["y"]
    unnamed = view.page.evaluate(
        """() => [...document.querySelectorAll('.dw button, .dw input, .dw select, .dw canvas:not([aria-hidden])')]
            .filter((node) => node.offsetParent && !(node.getAttribute('aria-label') || node.textContent.trim()
                || node.closest('label')?.textContent.trim())).map((node) => node.outerHTML)"""
    )
    assert unnamed == []
