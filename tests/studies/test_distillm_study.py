"""The study of DistiLLM at a tiny scale on a text of one's own, and what it refuses."""

from dataclasses import replace

import pytest

import workbench as wb
from workbench import records, studies
from workbench.studies.language import p094_distillm

TINY = replace(
    p094_distillm.run.scales["small"],
    teacher={"width": 16, "depth": 1}, reader={"width": 8, "depth": 1}, student={"width": 8, "depth": 1},
    teacher_steps=3, scratch_steps=2, tuning_steps=2, steps=4, examples=32, batch=8, capacity=16, mixed=True,
)  # fmt: skip


@pytest.fixture
def book(tmp_path):
    file = tmp_path / "book.txt"
    file.write_text("It was a bright cold day in April, and the clocks were striking. " * 40)
    return wb.data.load(file, prompt=4, response=8)


def test_it_runs_on_a_text_of_ones_own_and_survives_a_file(book, tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    result = studies.run(94, data=book, seeds=[7, 8], device="cpu", scale=TINY)
    assert result.settings["data"] == "book"
    assert not any(claim.asserted for claim in result.claims)
    assert all(claim.seeds == 2 for claim in result.claims)
    table = result.to_frame()
    assert table.groupby("part")["student"].nunique().to_dict() == {"after fine-tuning": 5, "from scratch": 4}
    assert table["overlap"].between(0, 1).all()
    students = table[table["part"] == "after fine-tuning"].set_index("student")["tokens written"]
    assert (students[p094_distillm.DATA] == 0).all()
    assert (students[p094_distillm.OWN] > 0).all()
    assert all(isinstance(record, records.TrainingRecord) for record in result.records.values())
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert list(again.records) == list(result.records)


def test_a_students_examples_and_those_it_is_validated_on_are_others(book):
    own = p094_distillm.examples_of(book, 50, seed=3)
    assert not set(own.train.index.tolist()) & set(own.test.index.tolist())
    assert not set(own.train.index.tolist()) & set(book.test.index.tolist())
    assert own.train.index.tolist() != p094_distillm.examples_of(book, 50, seed=4).train.index.tolist()


@pytest.mark.parametrize("budget", ["small", "full"])
def test_both_budgets_have_their_texts(budget):
    found = p094_distillm.texts(p094_distillm.DEFAULT, None, budget)
    assert found.name == p094_distillm.DEFAULT
    scale = p094_distillm.run.scales[budget]
    assert scale.examples + p094_distillm.HELD <= len(found.questions.train)
    assert scale.capacity >= scale.batch


def test_data_that_is_no_text_is_refused():
    with pytest.raises(ValueError, match="'digits' is no text"):
        studies.run(94, data="digits", seeds=1)
