"""The catalogue is whole, says the same kind of thing of every paper, and knows what is built without being told."""

import importlib
from pathlib import Path

import pytest

from workbench import papers, studies

ALL = papers.load()
STUDIES = Path(studies.__file__).parent


def test_all_119_papers_are_there_once():
    assert [paper.number for paper in ALL] == list(range(1, 120))
    assert len({paper.title for paper in ALL}) == 119
    assert len({paper.short for paper in ALL}) == 119


def test_families_are_a_fixed_list_and_all_in_use():
    assert list(papers.families()) == [
        "gp",
        "knowledge",
        "condensation",
        "diffusion",
        "language",
        "federated",
        "perception",
        "compression",
        "survey",
    ]
    assert {paper.family for paper in ALL} == set(papers.families())


@pytest.mark.parametrize("paper", ALL, ids=lambda paper: f"{paper.number:03d}")
def test_an_entry_is_filled_in(paper):
    assert 2015 <= paper.year <= 2026
    for text in (paper.short, paper.title, paper.source, paper.signal, paper.target):
        assert text
        assert text == text.strip()
        assert not text.endswith(".")
    assert max(map(len, (paper.source, paper.signal, paper.target))) <= 80


@pytest.mark.parametrize("paper", [p for p in ALL if p.method or p.study], ids=lambda paper: f"{paper.number:03d}")
def test_what_is_called_built_can_be_imported(paper):
    if paper.method:
        importlib.import_module(paper.method)
    if paper.study:
        assert callable(importlib.import_module(paper.study).run)


def test_a_built_paper_names_its_method():
    assert [paper.number for paper in ALL if paper.study and not paper.method] == []


def test_a_study_is_found_by_its_file_name():
    files = {(file.parent.name, file.stem) for file in STUDIES.glob("*/p[0-9][0-9][0-9]_*.py")}
    assert {tuple(paper.study.split(".")[-2:]) for paper in ALL if paper.built} == files
    assert all(paper.study.split(".")[-2] == paper.family for paper in ALL if paper.built)


def test_find_combines_conditions():
    assert [paper.short for paper in papers.find(text="TRAJECTORIES distillation", family="condensation")]
    assert papers.find(text="no paper says this") == []
    built, rest = papers.find(built=True), papers.find(built=False)
    assert len(built) + len(rest) == 119


def test_errors_name_what_there_is():
    with pytest.raises(ValueError, match=r"no paper 120; .* 1 to 119"):
        papers.get(120)
    with pytest.raises(ValueError, match="there are gp, knowledge"):
        papers.find(family="alchemy")
