"""The reverse recursion gives the gradient of plain autograd and of finite differences, in the memory of one step."""

import weakref

import pytest
import torch
from torch import nn

from workbench import models
from workbench.condensation import Descent, FlatNetwork, unroll
from workbench.condensation.trajectories.unroll import bptt, cross_entropy, trajectory_match

STEPS = 6


class Problem:
    """A student with learned images, soft labels and step size, in float64 and smooth."""

    def __init__(self, students=None, momentum=0.0, steps=STEPS, batch=None):
        g = torch.Generator().manual_seed(0)

        def draw(*shape):
            return torch.randn(*shape, generator=g, dtype=torch.float64)

        self.network = FlatNetwork(models.build("mlp", ((1, 3, 3), 4), width=5, depth=1, activation="tanh").double())
        shape = (self.network.size,) if students is None else (students, self.network.size)
        self.start, self.target = 0.5 * draw(*shape), 0.5 * draw(*shape)
        self.leaves = [x.requires_grad_() for x in (draw(4, 1, 3, 3), draw(4, 4), 0.1 * draw(steps) - 1)]
        self.real = draw(7, 1, 3, 3), torch.arange(7) % 4
        self.descent = Descent(self.loss, lambda n: self.leaves[2][n].exp(), steps, momentum)
        self.batch = batch

    def loss(self, weights, n):
        images, logits, _ = self.leaves
        rows = slice(None) if self.batch is None else [n % 4, (n + 1) % 4][: self.batch]
        return cross_entropy(self.network(weights, images[rows]), logits[rows].softmax(1))

    def terminal(self, name):
        match = trajectory_match(self.start, self.target)
        real = bptt(self.network, *self.real)
        return {"match": match, "bptt": real, "between": {0: match, 3: real, STEPS: match}}[name]

    def gradient(self, terminal, **options):
        loss = unroll(self.descent, self.start, terminal, self.leaves, **options)
        return loss, torch.autograd.grad(loss, self.leaves)


@pytest.mark.parametrize("terminal", ["match", "bptt", "between"])
@pytest.mark.parametrize(
    "options", [{}, {"students": 3}, {"momentum": 0.9}, {"students": 2, "momentum": 0.5}, {"batch": 2}], ids=str
)
def test_recursion_is_autograd_through_the_whole_path(options, terminal):
    problem = Problem(**options)
    loss, gradient = problem.gradient(problem.terminal(terminal))
    whole, expected = problem.gradient(problem.terminal(terminal), recompute=False)
    torch.testing.assert_close(loss, whole, rtol=1e-12, atol=0)
    for got, wanted in zip(gradient, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("terminal", ["match", "bptt", "between"])
@pytest.mark.parametrize("options", [{}, {"students": 2, "momentum": 0.9}], ids=str)
def test_recursion_is_finite_differences(options, terminal):
    problem = Problem(**options)
    end = problem.terminal(terminal)
    _, gradient = problem.gradient(end)
    h = 1e-6
    for leaf, slope in zip(problem.leaves, gradient, strict=True):
        for position in range(0, leaf.numel(), max(1, leaf.numel() // 6)):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    leaf.view(-1)[position] += sign * h
                    values.append(unroll(problem.descent, problem.start, end, problem.leaves).item())
                    leaf.view(-1)[position] -= sign * h
            assert (values[0] - values[1]) / (2 * h) == pytest.approx(
                slope.view(-1)[position].item(), rel=1e-5, abs=1e-8
            )


def test_students_side_by_side_are_students_one_by_one():
    problem = Problem(students=3)
    loss, gradient = problem.gradient(bptt(problem.network, *problem.real))
    parts = []
    for start in problem.start:
        one = unroll(problem.descent, start, bptt(problem.network, *problem.real), problem.leaves)
        parts.append((one, torch.autograd.grad(one, problem.leaves)))
    torch.testing.assert_close(loss, torch.stack([one for one, _ in parts]).mean())
    for k, got in enumerate(gradient):
        torch.testing.assert_close(got, torch.stack([slopes[k] for _, slopes in parts]).mean(0))


def test_without_steps_nothing_moves_and_nothing_is_learned():
    problem = Problem(steps=0)
    loss = unroll(problem.descent, problem.start, trajectory_match(problem.start, problem.target), problem.leaves)
    assert loss.item() == 1.0
    loss = unroll(problem.descent, problem.start, bptt(problem.network, *problem.real), problem.leaves)
    assert torch.autograd.grad(loss, problem.leaves, allow_unused=True) == (None, None, None)


def test_slope_of_one_step_size_is_minus_the_product_of_the_gradients():
    """∂L/∂η = −⟨∇L(θ_1), ∇ℓ(θ_0)⟩."""
    problem = Problem(steps=1)
    terminal = bptt(problem.network, *problem.real)
    _, (_, _, slope) = problem.gradient(terminal)

    def gradient(loss, at):
        at = at.detach().requires_grad_()
        return torch.autograd.grad(loss(at), at)[0]

    after = problem.descent.path(problem.start)[1]
    step = problem.leaves[2][0].exp()
    expected = -gradient(terminal, after) @ gradient(lambda w: problem.loss(w, 0), problem.start) * step
    torch.testing.assert_close(slope[0], expected.detach(), rtol=1e-10, atol=0)


def test_path_is_gradient_descent_with_an_optimizer():
    problem = Problem(momentum=0.9)
    path = problem.descent.path(problem.start)
    weights = nn.Parameter(problem.start.clone())
    momentum = torch.zeros_like(weights)
    for n in range(STEPS):
        (g,) = torch.autograd.grad(problem.loss(weights, n), weights)
        momentum = 0.9 * momentum + g
        weights = nn.Parameter((weights - problem.leaves[2][n].exp() * momentum).detach())
    torch.testing.assert_close(path[-1], weights.detach(), rtol=1e-12, atol=1e-14)
    assert torch.equal(path[0], problem.start)
    assert not path.requires_grad


def test_value_alone_keeps_no_graph():
    problem = Problem()
    with torch.no_grad():
        loss = unroll(problem.descent, problem.start, problem.terminal("between"), problem.leaves)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, problem.gradient(problem.terminal("between"))[0].detach())


def test_saved_memory_at_20_steps_is_less_than_half():
    def peak(**options):
        problem = Problem(steps=20)
        alive, most = 0, 0

        class Kept:
            def __init__(self, tensor):
                nonlocal alive, most
                self.tensor = tensor
                alive += tensor.nbytes
                most = max(most, alive)
                weakref.finalize(self, freed, tensor.nbytes)

        def freed(size):
            nonlocal alive
            alive -= size

        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            problem.gradient(trajectory_match(problem.start, problem.target), **options)
        return most

    assert peak() < 0.15 * peak(recompute=False)


def test_bad_input_is_refused_at_the_door():
    problem = Problem()
    with pytest.raises(ValueError, match="after step 9, but the student makes 6 steps"):
        unroll(problem.descent, problem.start, {9: lambda w: w.sum()}, problem.leaves)
    with pytest.raises(ValueError, match="did not move"):
        trajectory_match(problem.start, problem.start)
    with pytest.raises(ValueError, match=r"shape \(3,\); this network needs"):
        problem.network(torch.zeros(3, dtype=torch.float64), problem.real[0])
    with pytest.raises(ValueError, match="norm='instance'"):
        FlatNetwork(models.build("convnet", ((1, 4, 4), 2), width=4, depth=1, norm="batch"))


def test_flat_network_is_the_network():
    network = models.build("convnet", ((1, 4, 4), 3), width=4, depth=1)
    flat = FlatNetwork(network)
    images = torch.randn(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    vector = flat.vector(network)
    torch.testing.assert_close(flat(vector, images), network(images))
    state = flat.state(vector)
    assert list(state) == list(network.state_dict())
    assert all(torch.equal(state[name], value) for name, value in network.state_dict().items())
    many = flat.fresh([3, 4])
    each = torch.stack([models.build("convnet", ((1, 4, 4), 3), width=4, depth=1, seed=s)(images) for s in (3, 4)])
    torch.testing.assert_close(flat(many, images), each)
    torch.testing.assert_close(flat.each(many, images.expand(2, *images.shape)), each)
    with pytest.raises(ValueError, match=r"'head.bias' is missing; this network needs shape \(3,\)"):
        flat.vector({name: value for name, value in state.items() if name != "head.bias"})
