"""Fixtures of the browser tests: one JupyterLab for all, a fresh page for each, and no network."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from harness import jupyter, quiet
from harness.server import Server

HERE = Path(__file__).resolve().parent
SCREENSHOTS = HERE.parents[1] / "gallery" / "tests"


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("jupyter"))
    yield running
    left = running.stop()
    assert not left, f"did not end with the server: {left}"


@pytest.fixture
def foreign():
    """Addresses beyond this machine that the page asked for; empty at the end of a test, or it fails."""
    return []


@pytest.fixture
def page(browser, server, foreign, request):
    """A page of its own context. After the test nothing may have asked for anything beyond this machine."""
    context = browser.new_context(viewport={"width": 1500, "height": 1150}, reduced_motion="reduce")

    def note(sent):
        address = urlsplit(sent.url)
        if address.scheme in {"http", "https", "ws", "wss"} and address.hostname != "127.0.0.1":
            foreign.append(sent.url)

    context.on("request", note)
    quiet.watch(context)
    made = context.new_page()
    made.set_default_timeout(30_000)
    complaints: list[str] = []
    made.on("pageerror", lambda error: complaints.append(str(error)))
    yield made
    if request.node.stash.get(_FAILED, False):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        made.screenshot(path=SCREENSHOTS / f"failed-{request.node.name}.png")
    context.close()
    server.reset()
    assert foreign == [], "the page asked for something beyond this machine"
    assert complaints == [], "a script of the page raised"
    if server.network_log.exists():
        pytest.fail(f"the server or a kernel tried to reach the network: {server.network_log.read_text()}")


@pytest.fixture
def lab(page, server):
    return jupyter.Lab(page, server)


@pytest.fixture
def screenshot(page):
    """Keeps a picture of the page, or of one element, in gallery/tests."""

    def keep(name, element=None):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        quiet.settle(page)
        (element or page).screenshot(path=SCREENSHOTS / f"{name}.png")

    return keep


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if call.when == "call":
        item.stash[_FAILED] = report.failed
    return report
