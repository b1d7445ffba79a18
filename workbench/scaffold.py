"""What `workbench new NUMBER` writes: the files in which a paper of the catalogue is built, and where each stands.

A method, its study and its test, beside one another by name; and the catalogue line that says where the method is. The
files say what is to be written in them and fail until it is.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from workbench import papers
from workbench.papers import Paper

METHOD = '''"""{title}: one sentence of what moves, and how.

    The formula, in the paper's symbols.

Paper {number:03d}, equation or algorithm number. From {source}, through {signal}, into {target}.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class {name}:
    """What it is in a sentence. Hyperparameters are named as the paper names them, with its defaults and ranges."""

    def __call__(self) -> None:
        raise NotImplementedError("the method of paper {number:03d} is not written yet")
'''

STUDY = '''"""What does the paper claim, as a question that numbers can answer?"""

from dataclasses import dataclass

from workbench.data import Dataset
from workbench.studies.kit.study import Outcome, Setting, study


@dataclass(frozen=True)
class Scale:
    """What a budget buys."""

    steps: int


@study(
    seeds=(3, 5),
    small=Scale(steps=100),
    full=Scale(steps=10_000),
    deviates=("what differs from the card, a sentence each",),
    cost="not measured yet",
)
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Which methods are compared, on what."""
    raise NotImplementedError("the study of paper {number:03d} is not written yet")
'''

TEST = '''"""The exact invariants of paper {number:03d} ({short}) in float64; then, that a broken formula is noticed."""

from workbench.{family}.methods.{slug} import {name}


def test_what_must_hold_exactly():
    assert {name}()() is not None
'''

INIT = '''"""{distils}."""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
'''


@dataclass(frozen=True)
class Plan:
    """Files to write, by path from the project's root, and what is to be done by hand."""

    files: dict[str, str]
    catalogue: str
    left: tuple[str, ...]


def plan(number: int, root: Path, slug: str = "") -> Plan:
    """What `new` would write for a paper.

    Parameters
    ----------
    number
        In papers.toml.
    root
        The checkout.
    slug
        The method's file name; empty: the paper's usual short name in lower case.

    Raises
    ------
    ValueError
        The paper is built, or the name is no Python name.
    """
    paper = papers.get(number)
    if paper.built or paper.method:
        raise ValueError(f"paper {number:03d} ({paper.short}) is there already: {paper.study or paper.method}")
    slug = slug or re.sub(r"\W+", "_", paper.short.lower()).strip("_")
    if not slug.isidentifier():
        raise ValueError(f"the file name {slug!r} is no Python name: choose one with --name")
    words = _words(paper, slug)
    family = f"workbench/{paper.family}"
    files = {
        f"{family}/methods/{slug}.py": METHOD.format(**words),
        f"workbench/studies/{paper.family}/p{number:03d}_{slug}.py": STUDY.format(**words),
        f"tests/{paper.family}/methods/test_{slug}.py": TEST.format(**words),
    }
    left = [f"export {words['name']} from {family}/__init__.pyi and add it to the table in {family}/__init__.py"]
    if not (root / family).is_dir():
        files |= {
            f"{family}/__init__.py": INIT.format(**words),
            f"{family}/__init__.pyi": f"from .methods.{slug} import {words['name']} as {words['name']}\n",
        }
        left = [f"add workbench.{paper.family} to the layers in pyproject.toml, and to workbench/__init__.pyi"]
    for folder, says in (
        (f"{family}/methods", "A file per method, under its usual short name."),
        (f"workbench/studies/{paper.family}", "Studies of this family, one per paper."),
    ):
        if not (root / folder / "__init__.py").is_file():
            files[f"{folder}/__init__.py"] = f'"""{says}"""\n'
    return Plan(files, f'method = "workbench.{paper.family}.methods.{slug}"\n', tuple(left))


def write(number: int, root: Path, slug: str = "") -> Plan:
    """Write the files and the catalogue line; nothing that is there is touched.

    Raises
    ------
    ValueError
        As `plan`; or the folder is no checkout.
    FileExistsError
        A file is there already; none is written.
    """
    catalogue = root / "workbench" / "papers.toml"
    if not (catalogue.is_file() and (root / "tests").is_dir()):
        raise ValueError(f"{root} is no checkout of the project: new methods are written there, not into a package")
    made = plan(number, root, slug)
    if there := [path for path in made.files if (root / path).exists()]:
        raise FileExistsError(f"{there[0]} is there already; nothing was written")
    text = catalogue.read_text(encoding="utf-8")
    entry = re.search(rf"^number = {number}\n(?:.+\n)*", text, re.MULTILINE)
    if entry is None:
        raise ValueError(f"papers.toml has no entry number = {number}")
    for path, content in made.files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content, encoding="utf-8")
    catalogue.write_text(text[: entry.end()] + made.catalogue + text[entry.end() :], encoding="utf-8")
    return made


def _words(paper: Paper, slug: str) -> dict[str, object]:
    name = re.sub(r"\W+", "", paper.short)
    return {
        "number": paper.number,
        "short": paper.short,
        "title": paper.title,
        "family": paper.family,
        "source": paper.source,
        "signal": paper.signal,
        "target": paper.target,
        "slug": slug,
        "name": name if name.isidentifier() else "".join(part.title() for part in slug.split("_")),
        "distils": papers.families()[paper.family].capitalize(),
    }
