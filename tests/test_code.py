"""What code depends on: lazy names lead to their own file only, and words do not count."""

import pytest

from workbench import code


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A package of a lazy family, an eager one and some modules."""
    files = {
        "workbench/__init__.py": "import lazy_loader",
        "workbench/__init__.pyi": "from . import family as family\nfrom . import eager as eager\n",
        "workbench/family/__init__.py": "import lazy_loader",
        "workbench/family/__init__.pyi": "from .a import A as A\nfrom .b import B as B\n",
        "workbench/family/a.py": '"""Words."""\nA = 1  # a comment\n',
        "workbench/family/b.py": "from workbench.eager import thing\nB = 2\n",
        "workbench/eager/__init__.py": "from workbench.eager.thing import thing\n",
        "workbench/eager/thing.py": "thing = 3\n",
        "workbench/takes_a.py": "from workbench.family import A\n",
        "workbench/takes_b.py": "import workbench as wb\ndef f():\n    return wb.family.B\n",
        "workbench/takes_package.py": "from workbench import family\nx = family.A\n",
        "workbench/typed.py": "if TYPE_CHECKING:\n    from workbench.family import B\n",
        "workbench/late.py": "def f():\n    from workbench.takes_a import A\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(code, "ROOT", tmp_path)
    forget()
    yield tmp_path
    forget()


def forget():
    for cached in (code._tree, code._meaning, code._lazy, code._needed):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("module", "needs"),
    [
        ("workbench.takes_a", {"family.a"}),
        ("workbench.takes_b", {"family.b", "eager", "eager.thing"}),
        ("workbench.takes_package", {"family.a"}),
        ("workbench.typed", set()),
        ("workbench.late", {"takes_a", "family.a"}),
    ],
)
def test_a_closure_holds_what_runs_and_no_more(tree, module, needs):
    found = {name.removeprefix("workbench.") for name in code.closure(module)}
    assert found - {module.removeprefix("workbench.")} == needs


def test_only_what_changes_behaviour_changes_the_fingerprint(tree):
    before = code.fingerprint("workbench.takes_a")
    (tree / "workbench/family/a.py").write_text('"""Other words."""\n\nA = 1\n')
    (tree / "workbench/family/b.py").write_text("B = 99\n")
    forget()
    assert code.fingerprint("workbench.takes_a") == before
    (tree / "workbench/family/a.py").write_text("A = 2\n")
    forget()
    assert code.fingerprint("workbench.takes_a") != before


def test_unknown_modules_are_named():
    with pytest.raises(ValueError, match=r"no module 'workbench\.nowhere'"):
        code.closure("workbench.nowhere")
