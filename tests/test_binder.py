"""What of the Binder launch can be checked without Binder."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BINDER = ROOT / "binder"


@pytest.mark.parametrize("name", ["postBuild", "start"])
def test_scripts_parse_and_may_run(name):
    script = BINDER / name
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_start_hands_over_with_few_threads():
    command = [str(BINDER / "start"), "sh", "-c", "echo $OMP_NUM_THREADS"]
    plain = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    assert subprocess.check_output(command, text=True, env=plain).strip() == "2"


def test_postbuild_installs_by_the_constraints_and_leaves_torch_alone():
    script = (BINDER / "postBuild").read_text()
    assert "grep -v '^torch==' constraints.txt" in script
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert sum(line.startswith("torch==") for line in pins) == 1


def test_torch_is_a_cpu_build_of_a_supported_version():
    yaml = pytest.importorskip("yaml")
    wanted = yaml.safe_load((BINDER / "environment.yml").read_text())["dependencies"]
    (torch,) = [entry for entry in wanted if entry.startswith("pytorch")]
    (pinned,) = re.findall(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert torch == f"pytorch>=2.6,<={pinned}=cpu_generic*"


def test_overrides_save_widgets():
    settings = json.loads((BINDER / "overrides.json").read_text())
    assert settings["@jupyter-widgets/jupyterlab-manager:plugin"]["saveState"] is True


def test_the_readme_launches_start_in_lab():
    readme = (ROOT / "README.md").read_text()
    (path,) = set(re.findall(r"urlpath=lab/tree/([\w./-]+)", readme))
    assert (ROOT / path).is_file()
