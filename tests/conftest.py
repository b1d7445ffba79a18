"""What all tests share: settings of the property tests, and one Chromium."""

import sys
from pathlib import Path

import pytest
from hypothesis import settings

# The tests run in import mode "importlib", which puts no folder on the path; `harness` is a package of this one.
sys.path.insert(0, str(Path(__file__).parent))

# Timings on a shared machine say nothing about correctness; the seed is fixed so that a run can be repeated.
settings.register_profile("workbench", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("workbench")


@pytest.hookimpl(tryfirst=True)  # before pytest looks at the marks
def pytest_collection_modifyitems(items):
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests of a process: Playwright's driver can be started only once in it."""
    playwright = pytest.importorskip("playwright.sync_api")
    playwright.expect.set_options(timeout=30_000)  # of use on a busy machine only: what is so already is not waited for
    from harness.chromium import launch

    with playwright.sync_playwright() as driver:
        running = launch(driver)
        yield running
        running.close()
