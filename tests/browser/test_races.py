"""No test looks at a page before it is known to be quiet; and what finds such tests finds them."""

import re
from pathlib import Path

import pytest
from harness.races import races

TESTS = Path(__file__).parents[1]
HARNESS = [TESTS / "harness" / f"{name}.py" for name in ("jupyter", "live", "pages")]


def test_no_test_of_a_page_races():
    files = sorted(TESTS.glob("**/test_*.py"))
    assert sum("_pages" in file.name or file.parent.name == "browser" for file in files) > 10
    assert [str(race) for race in races(files, HARNESS)] == []


CASES = {
    "assert after a click": (
        (
            "def test_it(show):\n"
            "    view = show(explorer)\n"
            "    view.part('play').click()\n"
            "    assert view.part('play').is_visible()\n"
        ),
        [4],
    ),
    "settled": (
        (
            "def test_it(show):\n"
            "    view = show(explorer)\n"
            "    view.part('play').click()\n"
            "    view.settle()\n"
            "    assert view.part('play').is_visible()\n"
        ),
        [],
    ),
    "waited for one thing, looked at another": (
        (
            "def test_it(live):\n"
            "    wire = live(explorer)\n"
            "    wire.part('attribute').click()\n"
            "    wire.until(lambda: 'refused' in wire.part('error').inner_text())\n"
            "    assert wire.part('attribute').is_enabled()\n"
        ),
        [5],
    ),
    "a trait set in Python": (
        (
            "def test_it(live):\n"
            "    wire = live(explorer)\n"
            "    explorer.selection = {'step': 3}\n"
            "    said = wire.part('caption').inner_text()\n"
        ),
        [4],
    ),
    "at the start of the second round": (
        (
            "def test_it(lab):\n"
            "    lab.settle()\n"
            "    for key in 'ab':\n"
            "        seen = lab.page.evaluate('1')\n"
            "        lab.page.keyboard.press(key)\n"
        ),
        [4],
    ),
    "through helpers": (
        (
            "def place(view):\n"
            "    return view.part('plane').bounding_box()\n"
            "def scrub(view):\n"
            "    view.part('slider').fill('3')\n"
            "def test_it(show):\n"
            "    view = show(explorer)\n"
            "    scrub(view)\n"
            "    at = place(view)\n"
        ),
        [8],
    ),
    "a focus that does not wait": (
        "def test_it(lab):\n    view.part('tab').click()\n    view.part('slider').focus()\n",
        [3],
    ),
    "a fixed time": ("def test_it(lab):\n    lab.page.wait_for_timeout(60)\n", [2]),
    "no page": ("def test_it(tmp_path):\n    robot.click()\n    assert robot.count() == 1\n", []),
}


@pytest.mark.parametrize("name", CASES)
def test_the_finder_finds(tmp_path, name):
    source, lines = CASES[name]
    file = tmp_path / "test_case.py"
    file.write_text(source, encoding="utf-8")
    found = [str(race) for race in races([file])]
    assert [int(re.search(r":(\d+):", race)[1]) for race in found] == lines
