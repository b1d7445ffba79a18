"""The study of the determinants of distillation at a tiny scale on other data, and how labels are taken away."""

from dataclasses import replace

import pytest

import workbench as wb
from workbench import records, studies
from workbench.data import UNLABELLED
from workbench.studies.kit.compare import Length
from workbench.studies.survey import p055_kd_determinants as p055
from workbench.studies.survey.kd_determinants_claims import HARD, KD, STANDARD, on_size

SMALL = p055.run.scales["small"]
TINY = replace(
    SMALL, teacher=p055._mlp(8, 6), narrow=p055._mlp(4), assistant=p055._mlp(5), sizes=(p055._mlp(3), p055._mlp(4)),
    student=p055._mlp(4), length=Length(2, 1e-2, {"batch_size": 16}), epochs=1, labels=(20, 60),
    temperatures=(1, 4, 16, float("inf")), few=2, writer=(8, 1), readers=((8, 1),), text_steps=2,
)  # fmt: skip


def test_it_runs_on_other_data_and_survives_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    pairs = wb.data.load("digit-pairs", tens=[1, 2], ones=[3, 4], n_train=80, n_test=40)
    result = studies.run(55, data=pairs, seeds=[7, 8, 9], device="cpu", scale=TINY)
    assert result.settings["data"] == "digit-pairs"
    assert not any(claim.asserted for claim in result.claims)
    assert {claim.seeds for claim in result.claims} == {2, 3}
    table = result.to_frame()
    counts = table.groupby("part").size().to_dict()
    assert counts == {"techniques": 27, "labels": 6, "grid": 24, "capacity": 14, "teachers": 15, "text": 4}
    assert table["accuracy"].between(0, 1).all()
    again = records.open(result.save(tmp_path / "study.safetensors"))
    assert again.summary() == result.summary()
    assert list(again.records)[:2] == ["teacher", HARD]


def test_labels_are_taken_from_all_but_the_same_examples_that_others_learn_from():
    data = wb.data.load("digits")
    some = p055.partly(data, 100, seed=3)
    kept = some.train.labels != UNLABELLED
    subset = data.train.subset(100, seed=3)
    assert some.train.index[kept].tolist() == subset.index.tolist()
    assert some.train.labels[kept].tolist() == subset.labels.tolist()
    assert len(some.train) == 1200
    assert (some.test.labels != UNLABELLED).all()


def test_the_smallest_student_as_good_as_its_teacher_is_found():
    accuracies = {HARD: (0.5, 0.7, 0.896), "soft labels, T=1": (0.5, 0.9, 0.9), KD: (0.895, 0.5, 0.6)}

    class Table:
        rows = ()

        def values(self, name, metric="accuracy", *, student, seed):
            return {0: accuracies[name][int(student)]}

        def paired(self, *_, **__):
            return p055.claims.estimate([0.0, 0.1])

    found = {claim.statement: claim for claim in on_size(Table(), 0.9, ["0", "1", "2"], [1, 2])}
    places = [claim.left for statement, claim in found.items() if "smallest student as good" in statement]
    assert places == [-1.0, -2.0]
    as_good = [claim.holds for statement, claim in found.items() if "does as well" in statement]
    assert as_good == [True, True, False]


@pytest.mark.parametrize("budget", ["small", "full"])
def test_both_budgets_sweep_what_the_card_asks_for(budget):
    scale = p055.run.scales[budget]
    assert scale.temperatures == (1, 2, 4, 8, 16, float("inf"))
    assert scale.student in scale.sizes
    assert scale.alphas[-2] == 0.1
    assert len(scale.labels) == 3


def test_teachers_differ_in_one_thing_each(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    asked = []

    def trained(s, network, epochs, seed=1000):
        asked.append((str(network), epochs))
        return wb.training.fit(network(s.data, seed), s.data, 0, progress=False)

    monkeypatch.setattr(p055, "_trained", trained)
    data = wb.data.load("digits").subset(40)
    setting = p055.Setting(data, replace(TINY, epochs=7), [0], "small", "cpu", True)
    found = p055.teachers(setting)
    assert next(iter(found)) == STANDARD
    assert [epochs for _, epochs in asked] == [7, 1, 21, 7]
    assert asked[0][0] == asked[1][0] == asked[2][0] != asked[3][0]
    assert found["on smoothed labels"].settings["loss"] == "CrossEntropy(smoothing=0.1)"
