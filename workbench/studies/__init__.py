"""One small module per paper: its comparison run end to end, with its claims checked.

`discover` finds them by file name (``p092_pld.py`` is paper 92) without importing any; `run` runs one.
"""

import importlib
from types import ModuleType
from typing import Any

from workbench import papers
from workbench.records import StudyResult

__all__ = ["discover", "run", "study"]


def discover() -> dict[int, str]:
    """Paper number → name of the module that studies it, in order; nothing is imported.

    Examples
    --------
    >>> discover()[92]
    'workbench.studies.knowledge.p092_pld'
    """
    return {paper.number: paper.study for paper in papers.load() if paper.study}


def study(paper: int) -> ModuleType:
    """The module that studies a paper.

    Raises
    ------
    ValueError
        No study of that paper is built.
    """
    built = discover()
    if paper not in built:
        raise ValueError(f"paper {paper} has no study yet; there are {', '.join(map(str, built))}")
    return importlib.import_module(built[paper])


def run(paper: int, **options: Any) -> StudyResult:
    """Run a paper's study.

    Parameters
    ----------
    paper
        Its number in papers.toml.
    options
        ``data`` (a name, a path or a `Dataset`), ``root`` (where data files lie), ``seeds`` (how many), ``budget``
        (``"small"`` or ``"full"``), ``device``.
    """
    result: StudyResult = study(paper).run(**options)
    return result
