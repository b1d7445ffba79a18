"""The Chromium of the tests: headless, and without a network."""

from playwright.sync_api import Browser, Playwright

from workbench.doctor import find_chromium

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


def launch(driver: Playwright) -> Browser:
    """Start it; it ends with the driver, and that with the process that started it."""
    path = find_chromium()
    if path is None:
        raise FileNotFoundError("no Chromium: `make test` installs one")
    return driver.chromium.launch(executable_path=path, args=QUIET)
