"""What all tests share: settings of the property tests, and one Chromium."""

import pytest
from hypothesis import settings

from workbench.doctor import find_chromium

# Timings on a shared machine say nothing about correctness; the seed is fixed so that a run can be repeated.
settings.register_profile("workbench", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("workbench")

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Names resolve to nothing: whatever the browser or a page asks for beyond this machine fails at once.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@pytest.hookimpl(tryfirst=True)  # before pytest looks at the marks
def pytest_collection_modifyitems(items):
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser():
    """One Chromium for all tests of a process: Playwright's driver can be started only once in it."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = find_chromium()
    if path is None:
        pytest.fail("no Chromium: `make test` installs one")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=path, args=QUIET)
        yield running
        running.close()
