"""Students whose teachers differ by seed, and live no longer than their training, are each judged against their own."""

import gc

import torch

import workbench as wb
from workbench.knowledge import KL
from workbench.studies.kit.compare import Length
from workbench.studies.kit.runs import Runs


def test_each_student_is_judged_against_its_own_teacher():
    data = wb.data.load("digits").subset(40)
    runs = Runs(data.test, [0, 1], device="cpu")
    expected = []
    for k in range(6):
        teachers = [wb.models.build("mlp", data, width=4, seed=10 * k + seed) for seed in runs.seeds]
        students = [wb.models.build("mlp", data, width=4, seed=seed) for seed in runs.seeds]
        trained = runs.train(f"method {k}", teachers, students, data.train, KL(4), Length(1, 1e-2))
        with torch.no_grad():
            pairs = [
                [network.eval()(data.test.inputs).argmax(1) for network in (teacher, record.model)]
                for teacher, record in zip(teachers, trained, strict=True)
            ]
        expected += [float((a == b).float().mean()) for a, b in pairs]
        del teachers
        gc.collect()
    assert [row["agreement"] for row in runs.rows] == expected
    assert [(row["method"], row["seed"]) for row in runs.rows][:2] == [("method 0", 0), ("method 0", 1)]
