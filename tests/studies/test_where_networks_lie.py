"""A network on a GPU is asked about data on the CPU: what asks moves the data there and the answer back."""

import pytest
import torch

import workbench as wb
from tests.pretend_gpu import PretendGPU
from workbench.analysis import cka
from workbench.kernels import dispatch
from workbench.knowledge import CRD, KL, Committee, Hint, RKDDistance
from workbench.studies.kit.balance import balanced
from workbench.studies.kit.judge import StudentMetrics
from workbench.studies.knowledge.p092_pld import kendall
from workbench.training.evaluating import logits_of


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    """Kernels would look for the GPU itself."""
    monkeypatch.setattr(dispatch, "available", lambda: False)


@pytest.fixture
def data():
    return wb.data.load("digits").subset(120)


def network(data, seed=0):
    return wb.models.build("mlp", data, seed=seed, width=[16, 8])


def test_the_pretended_gpu_is_as_strict_as_a_real_one(data):
    with PretendGPU():
        model = network(data).to("cuda")
        assert next(model.parameters()).device == torch.device("cuda:0")
        assert model(data.test.inputs[:2].to("cuda")).device.type == "cuda"
        assert torch.zeros(2, device="cuda").cpu().device.type == "cpu"
        with pytest.raises(RuntimeError, match="same device"):
            model(data.test.inputs[:2])
        with pytest.raises(RuntimeError, match="same device"):
            torch.ones(3, device="cuda") * torch.ones(3)
        with pytest.raises(TypeError, match="numpy"):
            torch.zeros(2, device="cuda").numpy()


def test_logits_lie_where_the_inputs_do(data):
    inputs = data.test.inputs
    expected = logits_of(network(data), inputs)
    with PretendGPU():
        model = network(data).to("cuda")
        found = logits_of(model, inputs)
        assert found.device.type == "cpu"
        assert logits_of(model, inputs.to("cuda")).device.type == "cuda"
        assert next(model.parameters()).device.type == "cuda"
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("where", [("cuda", "cpu"), ("cuda", "cuda"), ("cpu", "cuda")])
@pytest.mark.parametrize(
    "signal",
    [KL(4.0), Hint("hidden.1", "hidden.1"), RKDDistance("hidden.1", "hidden.1"), CRD("hidden.1", "hidden.1")],
    ids=lambda signal: type(signal).__name__,
)
def test_signals_are_weighted_with_the_teacher_and_the_student_anywhere(data, signal, where):
    def weight(teacher, student):
        return balanced(signal, teacher, student, data).terms[1].weight

    expected = weight(network(data, 1), network(data))
    with PretendGPU():
        found = weight(network(data, 1).to(where[0]), network(data).to(where[1]))
    assert found == pytest.approx(expected)


def test_a_judge_measures_a_student_against_a_teacher_that_came_back_to_the_gpu(data):
    with PretendGPU():
        judge = StudentMetrics(data.test, {"kendall": kendall, "CKA": lambda *given: cka(*given).values.max().item()})
        teacher = network(data, 1).to("cuda")
        first = judge(network(data), teacher)
        teacher.to("cuda")
        assert judge(network(data), teacher) == first


def test_members_of_a_committee_may_lie_apart(data):
    members = [network(data, seed) for seed in range(3)]
    expected = Committee(members)(data.test.inputs)
    with PretendGPU():
        members[1].to("cuda")
        torch.testing.assert_close(Committee(members)(data.test.inputs), expected)
        assert Committee(members)(data.test.inputs.to("cuda")).device.type == "cuda"
