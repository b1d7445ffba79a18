"""`workbench new` writes files that stand where they belong, fail until they are written, and touch nothing else."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from workbench import papers, scaffold
from workbench.cli import main

ROOT = Path(__file__).resolve().parent.parent
UNBUILT = next(paper for paper in papers.load() if not paper.built and not paper.method)
OF_A_FAMILY = next(
    paper for paper in papers.load() if not paper.built and not paper.method and paper.family == "condensation"
)


@pytest.fixture
def checkout(tmp_path):
    """A copy of what `new` looks at."""
    shutil.copytree(ROOT / "workbench", tmp_path / "workbench", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tests").mkdir()
    return tmp_path


def test_the_files_stand_where_one_looks_for_them(checkout):
    number = OF_A_FAMILY.number
    made = scaffold.write(number, checkout)
    stems = {Path(path).stem for path in made.files}
    slug = next(stem for stem in stems if stem.startswith("p"))[5:]
    assert stems == {slug, f"p{number:03d}_{slug}", f"test_{slug}"}
    assert all((checkout / path).read_text() == text for path, text in made.files.items())
    (entry,) = (
        one
        for one in tomllib.loads((checkout / "workbench/papers.toml").read_text())["paper"]
        if one["number"] == number
    )
    assert entry["method"] == f"workbench.condensation.methods.{slug}"
    assert entry["title"] == OF_A_FAMILY.title


def test_a_skeleton_imports_and_its_test_fails(checkout):
    made = scaffold.write(OF_A_FAMILY.number, checkout)
    (test,) = (path for path in made.files if path.startswith("tests/"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test],
        cwd=checkout,
        env={"PYTHONPATH": str(checkout), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "is not written yet" in done.stdout


def test_nothing_is_overwritten(checkout):
    scaffold.write(UNBUILT.number, checkout)
    with pytest.raises(FileExistsError, match="nothing was written"):
        scaffold.write(UNBUILT.number, checkout)


@pytest.mark.parametrize(("arguments", "message"), [(["92"], "is there already"), (["3000"], "3000")])
def test_the_command_names_what_is_wrong(arguments, message, capsys):
    assert main(["new", *arguments]) == 2
    assert message in capsys.readouterr().err
