"""The harness itself: a notebook runs, its kernel can be asked, an error is seen, and the network is shut."""

import pytest


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
    said = lab.python("import socket; socket.create_connection(('192.0.2.1', 80), timeout=2)")
    assert "the browser tests allow no network" in said
    assert "192.0.2.1" in server.network_log.read_text()
    server.network_log.unlink()  # the attempts are this test's own
    failed = lab.page.evaluate("() => fetch('http://nowhere.invalid/').then(() => 'reached', () => 'refused')")
    assert failed == "refused"
    assert foreign == ["http://nowhere.invalid/"]
    foreign.clear()
