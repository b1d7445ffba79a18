"""What a module's behaviour depends on: the files of the workbench that it imports, and theirs; and one hash of them.

Read from the files; nothing is imported. A name taken from a package that loads lazily leads to the file that defines
it only, by the package's ``__init__.pyi``; so the study of one method does not depend on the files of another.

>>> from workbench import code
>>> "workbench.signals.kl" in code.closure("workbench.studies.knowledge.p092_pld")
True
>>> "workbench.diffusion.methods.sid" in code.closure("workbench.studies.knowledge.p092_pld")
False
"""

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def closure(*modules: str) -> tuple[str, ...]:
    """The modules of the workbench that these need, themselves included, sorted.

    Raises
    ------
    ValueError
        There is no such module.
    """
    for name in modules:
        if _file(name) is None:
            raise ValueError(f"there is no module {name!r} in the workbench")
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _needed(name)
    return tuple(sorted(found))


def fingerprint(*modules: str) -> str:
    """A hash of what these modules and all they need do; comments, docstrings and layout do not count.

    Examples
    --------
    >>> len(fingerprint("workbench.papers"))
    16
    """
    digest = hashlib.sha256()
    for name in closure(*modules):
        digest.update(f"{name} {_meaning(name)}\n".encode())
    return digest.hexdigest()[:16]


def _file(name: str) -> Path | None:
    base = ROOT.joinpath(*name.split("."))
    return next((path for path in (base.with_suffix(".py"), base / "__init__.py") if path.is_file()), None)


@functools.cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def _meaning(name: str) -> str:
    """A hash of the module's syntax tree without docstrings."""
    path = _file(name)
    assert path is not None
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@functools.cache
def _lazy(package: str) -> dict[str, str] | None:
    """Name → module of a package that loads lazily; None of any other module."""
    stub = ROOT.joinpath(*package.split(".")) / "__init__.pyi"
    if not stub.is_file():
        return None
    found: dict[str, str] = {}
    for node in _tree(stub).body:
        if isinstance(node, ast.ImportFrom):
            base = f"{package}.{node.module}" if node.module else package
            for alias in node.names:
                found[alias.name] = base if node.module else f"{package}.{alias.name}"
    return found


@functools.cache
def _needed(name: str) -> tuple[str, ...]:
    """What a module imports, wherever in it; without what is for type checkers only."""
    path = _file(name)
    assert path is not None
    tree = _tree(path)
    found: set[str] = set()
    packages: dict[str, str] = {}
    for node in _running(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "workbench":
                    packages[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else "workbench"
                    found.update(_import(alias.name, ()))
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "workbench":
            names = [alias.name for alias in node.names]
            found.update(_import(node.module, names))
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if _lazy(inner) is not None:
                    packages[alias.asname or alias.name] = inner
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.update(_attribute(node, packages))
    return tuple(found - {name})


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under ``if TYPE_CHECKING``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield child
        yield from _running(child)


def _import(module: str, names: Iterable[str]) -> set[str]:
    """Where ``from module import names`` leads to; those above it on the way run too, lazy ones to no effect."""
    found = set()
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        above = ".".join(parts[:depth])
        if _lazy(above) is None and _file(above) is not None:
            found.add(above)
    lazy = _lazy(module)
    for name in names:
        if _file(f"{module}.{name}") is not None:
            found.update(_import(f"{module}.{name}", ()))
        elif lazy is not None and name in lazy:
            found.update(_import(lazy[name], ()))
            found.update(_import(lazy[name], [name]) if _lazy(lazy[name]) is not None else ())
    if lazy is not None and "*" in names:
        found.update(*(_import(one, ()) for one in lazy.values()))
    return found


def _attribute(node: ast.Attribute, packages: dict[str, str]) -> set[str]:
    """What ``package.name`` leads to, where the package loads lazily: ``wb.knowledge.KL`` to `workbench.signals.kl`."""
    chain = [node.attr]
    inner = node.value
    while isinstance(inner, ast.Attribute):
        chain.append(inner.attr)
        inner = inner.value
    if not isinstance(inner, ast.Name) or inner.id not in packages:
        return set()
    at = packages[inner.id]
    for name in reversed(chain):
        lazy = _lazy(at)
        if lazy is None or name not in lazy:
            break
        at = f"{at}.{name}" if _file(f"{at}.{name}") is not None else lazy[name]
    return _import(at, ()) if at != packages[inner.id] else set()
