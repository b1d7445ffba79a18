"""The command: what it prints, what it returns, and that it never shows a traceback unasked."""

import json
import subprocess
import sys
import types

import pytest
import torch

from workbench import cli, papers
from workbench.records import Claim, SimilarityMap, StudyResult


@pytest.fixture
def similar(tmp_path):
    record = SimilarityMap(
        values=torch.tensor([[1.0, 0.25], [0.5, 0.75]]),
        layers_a=("conv1", "conv2"),
        layers_b=("fc1", "fc2"),
        measure="cka",
        n=100,
    )
    return record.save(tmp_path / "similar.safetensors")


@pytest.fixture
def study(monkeypatch):
    """A study in place of paper 92's: what it was called with, and the left side of its one claim."""
    module = types.ModuleType("workbench.studies.p092_stand_in")
    module.called = {}
    module.left = 0.5

    def run(data=None, *, seeds=3, budget="small", device="auto"):
        module.called |= {"data": data, "seeds": seeds, "budget": budget, "device": device}
        claim = Claim(
            statement="more is more",
            left=module.left,
            relation=">",
            right=0.1,
            interval=(module.left - 0.1, module.left + 0.1),
            seeds=3,
            asserted=True,
        )
        return StudyResult(paper=92, title="Is more more?", table=({"seed": 0, "accuracy": 0.75},), claims=(claim,))

    module.run = run
    monkeypatch.setitem(sys.modules, module.__name__, module)
    paper = papers.Paper(92, "PLD", "title", 2025, "knowledge", "a", "b", "c", study=module.__name__)
    monkeypatch.setattr(papers, "get", lambda _number: paper)
    return module


def test_papers_as_a_table_and_as_json(capsys):
    assert cli.main(["papers", "--family", "gp"]) == 0
    printed = capsys.readouterr().out
    assert "001  GP-SD" in printed
    assert "1 of 119 papers" in printed
    assert cli.main(["papers", "--text", "trajectory matching", "--json"]) == 0
    entries = json.loads(capsys.readouterr().out)
    assert {"number", "title", "source", "signal", "target", "status"} <= set(entries[0])


def test_the_columns_of_the_catalogue_line_up(capsys):
    cli.main(["papers"])
    lines = capsys.readouterr().out.splitlines()[:120]
    start = lines[0].index("year")
    assert all(line[start : start + 4].isdigit() for line in lines[1:])


def test_a_study_runs_with_what_was_asked_for(study, capsys, tmp_path):
    kept = tmp_path / "result.safetensors"
    assert cli.main(["run", "92", "--seeds", "7", "--device", "cpu", "--save", str(kept)]) == 0
    assert study.called == {"data": None, "seeds": 7, "budget": "small", "device": "cpu"}
    printed = capsys.readouterr().out
    assert "holds: more is more" in printed
    assert "all asserted claims hold" in printed
    assert cli.main(["open", str(kept)]) == 0
    assert "Is more more?" in capsys.readouterr().out


def test_a_failing_claim_is_exit_status_one(study, capsys):
    study.left = 0.0
    assert cli.main(["run", "92"]) == 1
    assert "fails: more is more" in capsys.readouterr().out
    assert cli.main(["run", "92", "--json"]) == 1
    result = json.loads(capsys.readouterr().out)
    assert result["passed"] is False
    assert result["claims"][0]["verdict"] == "fails"


def test_data_of_the_user_reach_the_study(study):
    assert cli.main(["run", "92", "--data", "digits"]) == 0
    assert study.called["data"].name == "digits"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "2"], "paper 002 (AlphaMed) is not built yet"),
        (["run", "120"], "the catalogue holds 1 to 119"),
        (["open", "nowhere.safetensors"], "there is no record at nowhere.safetensors"),
        (["open", __file__], "is not a workbench record"),
    ],
)
def test_misuse_is_one_friendly_line_and_status_two(arguments, said, capsys):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "x"], ["run", "92", "--seeds", "0"], ["fly"], ["papers", "--no"]]
)
def test_a_wrong_argument_is_status_two(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_a_setting_the_study_does_not_have_is_named(study, capsys):
    del study
    assert cli.main(["run", "92", "--root", "somewhere"]) == 2
    assert "does not take --root" in capsys.readouterr().err


def test_open_shows_the_table_and_how_much_is_left(similar, capsys):
    assert cli.main(["open", str(similar), "--rows", "3"]) == 0
    printed = capsys.readouterr().out
    assert "cka between 2 layers" in printed
    assert "4 rows in all" in printed


def test_open_draws_a_page(similar, tmp_path, capsys):
    page = tmp_path / "similar.html"
    assert cli.main(["open", str(similar), "--html", str(page)]) == 0
    assert "drawn" in capsys.readouterr().out
    assert "conv1" in page.read_text(encoding="utf-8")


def test_an_inner_error_is_told_apart_from_misuse(study, capsys):
    def broken(**_settings):
        raise RuntimeError("the solver gave up")

    study.run = broken
    assert cli.main(["run", "92"]) == 70
    assert "RuntimeError: the solver gave up" in capsys.readouterr().err
    with pytest.raises(RuntimeError):
        cli.main(["run", "92", "--traceback"])


def test_doctor_reports_every_section(capsys):
    status = cli.main(["doctor", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert {"workbench", "packages", "devices", "widgets", "browser", "problems"} == set(found)
    assert status == (1 if found["problems"] else 0)
    assert found["packages"]["torch"] == torch.__version__


def test_both_widget_halves_carry_one_version():
    from workbench import doctor

    halves = doctor.widget_halves()
    assert halves["python"] == halves["javascript"] != "missing"


def test_help_is_quick_and_loads_no_torch():
    script = (
        "import sys, time; from workbench.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print('torch' in sys.modules, time.process_time(), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    torch, seconds = done.stderr.split()
    assert torch == "False"
    assert float(seconds) < 2  # of a core, which the test may have to share
    assert "run a paper's study" in done.stdout


def test_lab_passes_options_on(monkeypatch):
    started = []
    monkeypatch.setattr(cli.subprocess, "call", lambda command: started.append(command) or 0)
    assert cli.main(["lab", "--no-browser", "--port", "8890"]) == 0
    assert started[0][1:3] == ["-m", "jupyterlab"]
    assert started[0][-3:] == ["--no-browser", "--port", "8890"]
