"""The catalogue of papers: what each one distils, from what, through what, and whether the workbench has built it.

>>> from workbench import papers
>>> papers.load()[18].short
'MTT'
>>> [paper.number for paper in papers.find(family="gp")]
[1]

Needs no torch. The facts are in ``papers.toml`` beside this file; whether a study exists is looked up, never typed.
"""

import functools
import re
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True)
class Paper:
    """One paper, read as distillation: what a source knows moves through a signal into a target.

    Attributes
    ----------
    number
        1 to 119; written with three digits in file names.
    short, title
        The name it goes by, and its full title.
    year
        When it first appeared.
    family
        A key of `families`; `topic` narrows it where the family is wide.
    source, signal, target
        What knows, how it is said, and what learns.
    method
        The module that holds the method, as ``workbench.knowledge.methods.pld``; empty while it is not built.
    study
        The module that runs the paper's comparison, as ``workbench.studies.knowledge.p092_pld``; empty while it is not
        built.
    """

    number: int
    short: str
    title: str
    year: int
    family: str
    source: str
    signal: str
    target: str
    topic: str = ""
    method: str = ""
    study: str = ""

    @property
    def built(self) -> bool:
        """There is a study to run."""
        return bool(self.study)

    @property
    def status(self) -> str:
        """``"built"``, ``"method only"`` or ``"not built yet"``."""
        return "built" if self.study else "method only" if self.method else "not built yet"

    def as_dict(self) -> dict[str, Any]:
        """The fields and the status as plain values."""
        return asdict(self) | {"status": self.status}


def load() -> tuple[Paper, ...]:
    """All papers, in the order of their numbers."""
    studies = _studies()
    return tuple(Paper(**entry, study=studies.get(entry["number"], "")) for entry in _document()["paper"])


def families() -> dict[str, str]:
    """The families and what each one distils into what."""
    return dict(_document()["families"])


def get(number: int) -> Paper:
    """The paper with this number.

    Raises
    ------
    ValueError
        There is no such paper; the message says which numbers there are.
    """
    papers = load()
    for paper in papers:
        if paper.number == number:
            return paper
    raise ValueError(f"there is no paper {number}; the catalogue holds {papers[0].number} to {papers[-1].number}")


def find(*, family: str | None = None, text: str | None = None, built: bool | None = None) -> list[Paper]:
    """The papers that meet every condition given.

    Parameters
    ----------
    family
        A key of `families`.
    text
        Words that must all occur somewhere in the entry, in any case.
    built
        True: only those with a study; False: only those without.

    Raises
    ------
    ValueError
        The family does not exist.
    """
    if family is not None and family not in families():
        raise ValueError(f"there is no family {family!r}; there are {', '.join(families())}")
    words: Sequence[str] = (text or "").lower().split()
    return [
        paper
        for paper in load()
        if (family is None or paper.family == family)
        and (built is None or paper.built == built)
        and all(word in " ".join(map(str, paper.as_dict().values())).lower() for word in words)
    ]


@functools.cache
def _document() -> dict[str, Any]:
    return tomllib.loads((resources.files("workbench") / "papers.toml").read_text(encoding="utf-8"))


@functools.cache
def _studies() -> dict[int, str]:
    """Paper number → study module, by the names of the files: ``studies/FAMILY/pNNN_SHORT.py``."""
    found: dict[int, str] = {}
    for family in sorted((resources.files("workbench") / "studies").iterdir(), key=lambda entry: entry.name):
        for name in sorted(entry.name for entry in family.iterdir()) if family.is_dir() else []:
            if match := re.fullmatch(r"(p(\d{3})_\w+)\.py", name):
                found[int(match[2])] = f"workbench.studies.{family.name}.{match[1]}"
    return dict(sorted(found.items()))
