"""The command: what it prints, what it returns, and that it never shows a traceback unasked."""

import json
import re
import subprocess
import sys
import types

import pytest
import torch

from workbench import cli, papers, records
from workbench.records import Claim, SimilarityMap, StudyResult
from workbench.training import sources


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


def many(paper=92):
    rows = tuple(
        {"method": method, "examples": n, "seed": seed, "accuracy": base + 0.01 * seed, "notes": f"run {seed}"}
        for method, base in (("KL", 0.5), ("CE", 0.25))
        for n in (60, 600)
        for seed in range(5)
    )
    return StudyResult(paper=paper, title="Is more more?", table=rows)


def test_a_study_is_summarised_over_its_seeds(study, capsys):
    study.run = lambda **_: many()
    assert cli.main(["run", "92"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["method", "examples", "seeds", "accuracy"]
    assert lines[3].split() == ["KL", "60", "5", "0.52", "±", "0.02"]
    assert len([line for line in lines if "±" in line]) == 5
    assert "20 rows in all (--rows shows them)" in "\n".join(lines)
    assert cli.main(["run", "92", "--rows"]) == 0
    assert capsys.readouterr().out.count("run ") == 20
    assert cli.main(["run", "92", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["table"]) == 20


def test_a_list_of_seeds(study, capsys):
    assert cli.main(["run", "92", "--seeds", "7,8,9"]) == 0
    assert study.called["seeds"] == [7, 8, 9]
    assert cli.main(["run", "92", "--seeds", "7,"]) == 0
    assert study.called["seeds"] == [7]
    for wrong in ("7,7", "a,b", "-1,2", ","):
        with pytest.raises(SystemExit) as stop:
            cli.main(["run", "92", f"--seeds={wrong}"])
        assert stop.value.code == 2
        assert "is no list of seeds: whole numbers, none twice, such as 7,8,9" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_refused_before_the_study_runs(study, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert cli.main(["run", "92", "--save", str(tmp_path / "file" / "result")]) == 2
    assert study.called == {}
    told = capsys.readouterr()
    assert told.out == ""
    assert "--save is '" in told.err
    assert "where nothing can be written (" in told.err


@pytest.mark.parametrize("how", [[], ["--json"]])
def test_a_result_that_cannot_be_saved_in_the_end_is_kept_elsewhere(study, tmp_path, monkeypatch, capsys, how):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    wanted = tmp_path / "gone" / "result.safetensors"
    once = StudyResult.save

    def save(self, path):
        if path == wanted:
            raise OSError("no space left on device")
        return once(self, path)

    monkeypatch.setattr(StudyResult, "save", save)
    assert cli.main(["run", "92", "--save", str(wanted), *how]) == 70
    told = capsys.readouterr()
    assert f"{wanted} cannot be written (no space left on device)" in told.err
    (kept,) = here.iterdir()
    assert f"saved: {kept}" in told.err
    assert records.open(kept).title == "Is more more?"
    if how:
        assert json.loads(told.out)["title"] == "Is more more?"


def test_a_long_study_says_where_it_is_at_once_also_into_a_file(tmp_path):
    """The line is in the file while the study still runs."""
    script = (
        "import logging, sys, time, types\nfrom pathlib import Path\nfrom workbench import cli, papers\n"
        "from workbench.records import StudyResult\n"
        "def run(**_):\n"
        "    logging.getLogger('workbench.studies').info('%5.0f s  %s', 3, '2 of 9 students')\n"
        "    print(Path(sys.argv[1]).read_text(), flush=True)\n"
        "    return StudyResult(paper=92, title='?')\n"
        "module = types.ModuleType('stand_in'); module.run = run; sys.modules['stand_in'] = module\n"
        "papers.get = lambda _: papers.Paper(92, 'PLD', 't', 2025, 'knowledge', 'a', 'b', 'c', study='stand_in')\n"
        "sys.exit(cli.main(['run', '92']))\n"
    )
    log = tmp_path / "log"
    with log.open("w") as file:
        done = subprocess.run([sys.executable, "-c", script, log], stdout=subprocess.PIPE, stderr=file, check=True)
    assert re.match(rb"\d\d:\d\d:\d\d     3 s  2 of 9 students\n", done.stdout)


def test_the_cache_of_trained_sources_is_listed_and_cleared(tmp_path, monkeypatch, capsys, similar):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    assert cli.main(["cache"]) == 0
    assert "0 trained sources, 0 B, in " in capsys.readouterr().out
    kept = records.open(similar).save(sources.folder() / "resnet20-0123456789abcdef.safetensors")
    assert sources.folder().is_relative_to(tmp_path)
    assert cli.main(["cache"]) == 0
    printed = capsys.readouterr().out
    assert "resnet20" in printed
    assert "1 trained sources" in printed
    assert cli.main(["cache", "--older-than", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert cli.main(["cache", "--clear", "--older-than", "1"]) == 0
    assert kept.is_file()
    assert cli.main(["cache", "--clear"]) == 0
    assert not kept.exists()
    assert "freed" in capsys.readouterr().out
