"""An oracle counts, refuses, and shows nothing: a method that works on it cannot have looked at the network."""

import copy
import gc
import pickle
import weakref
from types import FunctionType, MethodType, ModuleType

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.knowledge import KL, BudgetError, Hint, Oracle, distill
from workbench.models import LayerNameError, Outputs


@pytest.fixture
def data():
    return wb.data.load("digits").subset(60)


@pytest.fixture
def network(data):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 10))


def reachable(start, most=100_000):
    """Everything that attributes, items, closures and bound methods lead to; not the globals of modules."""
    seen, todo = {}, [start]
    while todo and len(seen) < most:
        thing = todo.pop()
        if id(thing) in seen or isinstance(thing, ModuleType | type):
            continue
        seen[id(thing)] = thing
        if isinstance(thing, str | bytes | int | float | bool | torch.dtype | torch.device | type(None)):
            continue
        if isinstance(thing, dict):
            todo += [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset):
            todo += list(thing)
        elif isinstance(thing, FunctionType):
            todo += [cell.cell_contents for cell in thing.__closure__ or ()] + list(thing.__defaults__ or ())
        elif isinstance(thing, MethodType):
            todo += [thing.__func__, thing.__self__]
        elif not isinstance(thing, torch.Tensor):
            for name in dir(thing):
                try:
                    todo.append(getattr(thing, name))
                except (AttributeError, RuntimeError, TypeError, NotImplementedError):
                    continue
    return list(seen.values())


def test_no_attribute_leads_to_the_network(network, data):
    oracle = Oracle(network)
    oracle.ask(data.train.inputs[:5])
    mine = {id(part) for part in network.modules()} | {
        id(tensor) for tensor in network.state_dict(keep_vars=True).values()
    }
    storages = {tensor.data_ptr() for tensor in network.state_dict().values()}
    found = reachable(oracle)
    assert not [thing for thing in found if id(thing) in mine]
    assert not [thing for thing in found if isinstance(thing, torch.Tensor) and thing.data_ptr() in storages]
    assert list(oracle.parameters()) == list(oracle.buffers()) == list(oracle.children()) == []
    assert not oracle.state_dict()
    held = nn.Module()
    held.inside = network
    assert [thing for thing in reachable(held) if id(thing) in mine]  # the search would have found it


def test_answers_are_those_of_the_network_in_eval_mode_and_carry_no_graph(network, data):
    x = data.train.inputs[:20]
    network.train()
    answers = {kind: Oracle(network, kind).ask(x) for kind in ("logits", "probabilities", "top-1")}
    assert network.training
    expected = network.eval()(x)
    torch.testing.assert_close(answers["logits"], expected.detach())
    torch.testing.assert_close(answers["probabilities"], expected.softmax(1).detach())
    assert torch.equal(answers["top-1"], nn.functional.one_hot(expected.argmax(1), 10).float())
    for answer in answers.values():
        assert not answer.requires_grad
        assert answer.grad_fn is None


@pytest.mark.parametrize("kind", ["logits", "probabilities", "top-1"])
def test_as_a_network_its_softmax_is_the_answer_at_any_temperature(network, data, kind):
    x, oracle = data.train.inputs[:20], Oracle(network, kind)
    expected = oracle.ask(x).softmax(1) if kind == "logits" else oracle.ask(x)
    torch.testing.assert_close(oracle(x).softmax(1), expected)
    if kind == "top-1":
        assert torch.equal((oracle(x) / 20).softmax(1), expected)
        assert KL(4)(Outputs(torch.zeros(20, 10)), Outputs(oracle(x)), data.train.labels[:20]).isfinite().all()


def test_it_counts_different_inputs_and_refuses_beyond_its_budget(network, data):
    oracle, x = Oracle(network, budget=30), data.train.inputs
    first = oracle.ask(x[:20])
    assert (oracle.asked, oracle.left) == (20, 10)
    assert torch.equal(oracle.ask(x[:20]), first)
    assert torch.equal(oracle.ask(x[[3, 3, 3]]), first[[3, 3, 3]])
    assert oracle.asked == 20
    with pytest.raises(BudgetError, match="11 new questions, but the oracle's budget of 30 has 10 left"):
        oracle.ask(x[15:31])
    assert oracle.asked == 20
    assert not oracle.was_asked(x[20:]).any()
    oracle.ask(x[20:30])
    assert oracle.left == 0
    assert oracle.was_asked(x).sum() == 30
    oracle.ask(x[:30])
    with pytest.raises(BudgetError):
        copy.deepcopy(oracle).ask(x[30:31])
    with pytest.raises(AttributeError):
        oracle.asked = 0
    with pytest.raises(AttributeError):
        oracle.budget = 99


def test_autograd_does_not_reach_it(network, data):
    x = data.train.inputs[:3].clone().requires_grad_()
    with pytest.raises(ValueError, match="gives no gradients"):
        Oracle(network).ask(x)
    with pytest.raises(ValueError, match="gives no gradients"):
        Oracle(network)(2 * x)


def test_students_learn_from_it_and_hints_do_not(network, data):
    oracle = Oracle(network, budget=60)
    student = wb.models.build("mlp", data, width=8)
    distill(oracle, student, data, KL(4), steps=3, progress=False, device="cpu")
    assert oracle.asked == 60
    with pytest.raises(LayerNameError):
        distill(oracle, student, data, Hint("hidden.0", "1"), steps=3, progress=False)


def test_it_is_not_carried_away(network, data):
    oracle = Oracle(network)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(oracle)
    assert copy.copy(oracle) is oracle
    gone = weakref.ref(oracle)
    del oracle
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": 3}, "model is 3"),
        ({"answers": "top-5"}, "answers is 'top-5'; it can be logits"),
        ({"budget": -1}, "budget is -1"),
        ({"budget": True}, "budget is True"),
    ],
)
def test_bad_arguments_are_named(network, arguments, message):
    with pytest.raises(ValueError, match=message):
        Oracle(**{"model": network} | arguments)
