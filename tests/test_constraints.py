"""The pins: one file, exact, without addresses, and in the ranges that pyproject.toml promises."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PINS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_pin_is_exact_and_without_an_address():
    for pin in PINS:
        assert pin.url is None
        assert [part.operator for part in pin.specifier] == ["=="]
        assert "+" not in str(pin.specifier), "a local version exists in one index only"


def test_every_dependency_is_pinned_within_its_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    pinned = {normal(pin.name): next(iter(pin.specifier)).version for pin in PINS}
    for line in wanted:
        requirement = Requirement(line)
        assert normal(requirement.name) in pinned, f"{requirement.name} is not pinned"
        assert requirement.specifier.contains(pinned[normal(requirement.name)]), f"{line} excludes its pin"


def test_no_file_names_an_index():
    for name in ("constraints.txt", "pyproject.toml", "Makefile", ".ci/run", "package.json", "package-lock.json"):
        text = (ROOT / name).read_text()
        assert "://" not in re.sub(r'"url": "https://(?:opencollective|github)[^"]*"|\$schema[^\n]*', "", text), name
