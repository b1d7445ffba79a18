"""The layer rules, and that importing either package is cheap."""

import ast
import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = [
    [name.strip() for name in layer.split("|")]
    for layer in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
]
FREE = {"workbench", "workbench.__init__"}  # the lazy door of the package, which names its rooms


def layer_of(module: str) -> int | None:
    """The height of the layer that holds `module`; 0 is the top."""
    matches = [i for i, names in enumerate(LAYERS) for name in names if f"{module}.".startswith(f"{name}.")]
    return matches[0] if matches else None


def modules() -> list[tuple[str, Path]]:
    files = sorted(path for package in ("workbench", "widgets") for path in (ROOT / package).rglob("*.py"))
    return [(".".join(path.relative_to(ROOT).with_suffix("").parts), path) for path in files]


def imported(module: str, path: Path) -> set[str]:
    """The modules of this project that `path` imports, wherever in the file the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = module.split(".")[: -node.level]
                base = ".".join([*parent, base] if base else parent)
            found |= {f"{base}.{alias.name}" for alias in node.names} | {base}
    return {name for name in found if name.split(".")[0] in {"workbench", "widgets"}}


def test_every_module_belongs_to_a_layer():
    assert not [name for name, _ in modules() if name not in FREE and layer_of(name) is None]


@pytest.mark.parametrize(("name", "path"), modules(), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_down(name, path):
    own = layer_of(name)
    if own is None:
        return
    higher = {other for other in imported(name, path) if (layer := layer_of(other)) is not None and layer < own}
    assert not higher, f"{name} imports from a layer above its own"


def test_the_rule_sees_an_upward_import(tmp_path):
    offender = tmp_path / "offender.py"
    offender.write_text("def late():\n    from workbench import training\n")
    assert layer_of("workbench.training") < layer_of("workbench.models")
    assert "workbench.training" in imported("workbench.models.offender", offender)


def test_importing_loads_neither_torch_nor_plotly_and_is_quick():
    script = (
        "import json, sys, time; started = time.process_time(); import workbench, widgets; "
        "print(json.dumps([time.process_time() - started, [m for m in "
        "('torch', 'plotly', 'pandas', 'sklearn', 'matplotlib') if m in sys.modules]]))"
    )
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", script], text=True, cwd=ROOT)) for _ in range(3)]
    assert runs[0][1] == []
    assert min(seconds for seconds, _ in runs) <= 0.4
