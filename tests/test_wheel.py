"""The wheel holds both packages whole, and works in an environment that has never seen the checkout."""

import json
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*build, "--wheel-dir", str(folder), str(ROOT)], check=True, capture_output=True, text=True)
    (made,) = folder.glob("*.whl")
    return made


def sources(suffix):
    return {
        path.relative_to(ROOT).as_posix()
        for package in ("workbench", "widgets")
        for path in (ROOT / package).rglob(f"*{suffix}")
    }


@pytest.mark.parametrize("suffix", [".py", ".js", ".css", ".toml"])
def test_every_source_file_is_inside(wheel, suffix):
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(suffix)}
    assert inside == sources(suffix)


def test_nothing_else_is_inside(wheel):
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"workbench", "widgets"}


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of an environment with the wheel in it; the dependencies are lent by this environment.

    Lending them through a .pth file keeps the test quick and offline. The checkout itself is not lent: an editable
    install puts it on the path by a .pth file of its own, and those are not read in a folder that a .pth file adds.
    """
    home = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    ask = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.check_output(ask, text=True).strip())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True, text=True)
    (site / "lent.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}) + "\n")
    return python


def run(python, script, folder):
    done = subprocess.run([str(python), "-I", "-c", script], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_both_packages_import_from_the_wheel(installed, tmp_path):
    script = "import json, workbench, widgets; print(json.dumps([workbench.__file__, widgets.__file__]))"
    for path in run(installed, script, tmp_path):
        assert Path(path).is_relative_to(installed.parents[1])
        assert not Path(path).is_relative_to(ROOT)


def test_the_catalogue_the_data_and_the_explorer_come_along(installed, tmp_path):
    script = """
import json, torch
import workbench as wb, widgets
from workbench import papers
similar = wb.records.SimilarityMap(values=torch.eye(2), layers_a=("a", "b"), layers_b=("c", "d"), measure="cka", n=9)
page = widgets.explore(similar).to_html("page.html")
print(json.dumps([len(papers.load()), len(wb.data.load("digits").train), open("page.html").read()]))
"""
    catalogue, digits, page = run(installed, script, tmp_path)
    assert catalogue == 119
    assert digits > 1000
    assert "CKA" in page
