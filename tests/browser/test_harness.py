"""The harness itself: a notebook runs, an error is seen, the network is shut, a page comes to rest, all of it ends."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from harness import quiet


def test_a_notebook_runs_and_its_kernel_answers(lab, server):
    lab.open(server.write("plain.ipynb", "x = 6", "x * 7"))
    lab.run_all()
    assert lab.python("x + 1") == "7"


def test_a_cell_that_raises_fails_the_run(lab, server):
    lab.open(server.write("raises.ipynb", "1 / 0"))
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        lab.run_all()


def test_neither_page_nor_kernel_reaches_beyond_this_machine(lab, server, foreign):
    lab.open(server.write("outside.ipynb", "x = 1"))
    lab.settle()
    said = lab.python("import socket; socket.create_connection(('192.0.2.1', 80), timeout=2)")
    assert "the browser tests allow no network" in said
    assert "192.0.2.1" in server.network_log.read_text()
    server.network_log.unlink()  # the attempts are this test's own
    failed = lab.page.evaluate("() => fetch('http://nowhere.invalid/').then(() => 'reached', () => 'refused')")
    assert failed == "refused"
    assert foreign == ["http://nowhere.invalid/"]
    foreign.clear()


def test_a_test_finds_nothing_of_the_one_before(lab, server):
    lab.open(server.write("before.ipynb", "x = 1"))
    lab.run_all()
    lab.command("apputils:change-theme", theme="JupyterLab Dark")
    lab.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    lab.settle()
    server.reset()
    assert not (server.work / "before.ipynb").exists()
    assert (server.work / "start.ipynb").exists()
    lab.open(server.write("before.ipynb", "'x' in globals()"))
    lab.settle()
    assert lab.python("'x' in globals()") == "False"
    lab.page.wait_for_function("() => document.body.dataset.jpThemeLight === 'true'")


LATE = """() => {
    const later = (run, times) => requestAnimationFrame(() => (times ? later(run, times - 1) : run()));
    later(() => setTimeout(() => later(() => (document.body.textContent = "drawn"), 3), 120), 5);
}"""


def test_a_page_is_quiet_when_what_it_put_off_has_come(browser):
    context = browser.new_context()
    quiet.watch(context)
    page = context.new_page()
    page.goto("about:blank")
    page.evaluate(LATE)
    quiet.settle(page)
    assert page.inner_text("body") == "drawn"
    page.evaluate(
        "() => { cancelAnimationFrame(requestAnimationFrame(() => 0)); clearTimeout(setTimeout(() => 0, 400)); }"
    )
    quiet.settle(page)
    context.close()


def test_a_page_that_never_rests_is_named(browser, monkeypatch):
    monkeypatch.setattr(quiet, "PATIENCE", 200)
    context = browser.new_context()
    quiet.watch(context)
    page = context.new_page()
    page.goto("about:blank")
    page.evaluate("() => { (function spin() { requestAnimationFrame(spin); })(); }")
    with pytest.raises(AssertionError, match="spin"):
        quiet.settle(page)
    context.close()


CHILD = """
import sys, time
from pathlib import Path
from playwright.sync_api import sync_playwright
from harness.chromium import launch
from harness.jupyter import Lab
from harness.server import Server

server = Server(Path(sys.argv[1]))
with sync_playwright() as driver:
    lab = Lab(launch(driver).new_page(), server)
    lab.open(server.write("plain.ipynb", "x = 1"))
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.browser
def test_a_killed_run_leaves_nothing_behind(tmp_path, monkeypatch):
    root = Path(__file__).parents[2]
    monkeypatch.setenv("PYTHONPATH", f"{root / 'tests'}:{root}")
    run = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "home")], stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "ready\n"
    family = psutil.Process(run.pid).children(recursive=True)
    commands = [" ".join(one.cmdline()) for one in family]
    for part in ("jupyterlab", "ipykernel", "--headless"):
        assert any(part in command for command in commands), f"no {part} among {commands}"
    run.kill()
    run.wait()
    run.stdout.close()
    _, alive = psutil.wait_procs(family, timeout=60)
    left = [one for one in alive if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    for one in left:
        one.kill()
    assert left == []
