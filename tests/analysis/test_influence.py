"""Influence functions: against retraining, in closed form, and however H is inverted."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from workbench.analysis.influence import Inverse, influences

D, C, N, M = 4, 3, 30, 12
DAMPING = 0.05


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cross_entropy(logits, targets):
    """Of soft targets (n, C) or class labels (n,)."""
    return functional.cross_entropy(logits, targets, reduction="none")


@pytest.fixture(scope="module")
def problem():
    x, x_v = normal(N, D), normal(M, D, seed=1)
    true = normal(D, C, seed=2)
    targets = (x @ true + normal(N, C, seed=3)).softmax(1)
    return (x, targets), (x_v, (x_v @ true).argmax(1))


def trained(problem, weights=None, damping=DAMPING):
    """Logistic regression with an L2 penalty, to its optimum by Newton's method."""
    (x, targets), _ = problem
    w = torch.ones(len(x), dtype=torch.float64) if weights is None else weights
    network = nn.Linear(D, C).double()
    theta = torch.zeros(C * (D + 1), dtype=torch.float64)

    def loss(theta):
        W, b = theta[: C * D].view(C, D), theta[C * D :]
        return (w * cross_entropy(x @ W.T + b, targets)).sum() / N + damping / 2 * theta.square().sum()

    for _ in range(30):
        theta = theta - torch.linalg.solve(torch.func.hessian(loss)(theta), torch.func.grad(loss)(theta))
    assert torch.func.grad(loss)(theta).norm() < 1e-12
    with torch.no_grad():
        network.weight.copy_(theta[: C * D].view(C, D))
        network.bias.copy_(theta[C * D :])
    return network


def trusted_loss(network, problem):
    x_v, y_v = problem[1]
    with torch.no_grad():
        return float(cross_entropy(network(x_v), y_v).mean())


def found(network, problem, **options):
    return influences(network, cross_entropy, *problem, inverse=Inverse(damping=DAMPING, **options))


def test_it_is_the_derivative_by_an_example_s_weight(problem):
    harm = found(trained(problem), problem)
    for i in range(0, N, 4):
        losses = []
        for sign in (1, -1):
            weights = torch.ones(N, dtype=torch.float64)
            weights[i] += sign * N * 1e-5
            losses.append(trusted_loss(trained(problem, weights), problem))
        assert abs((losses[0] - losses[1]) / 2e-5 - float(harm[i])) < 1e-5 * float(harm.abs().max())


def test_it_foretells_what_leaving_one_out_does(problem):
    network = trained(problem)
    harm, whole, changes = found(network, problem), trusted_loss(network, problem), []
    for i in range(N):
        weights = torch.ones(N, dtype=torch.float64)
        weights[i] = 0
        changes.append(trusted_loss(trained(problem, weights), problem) - whole)
    both = torch.stack([torch.tensor(changes).double(), -harm / N])
    assert float(torch.corrcoef(both)[0, 1]) > 0.95


def test_squared_errors_are_closed_form():
    """Ridge regression: leaving i out by 1 / (1 − h_ii) is retraining, and the influence is sᵀ x_i r_i."""
    x, y = normal(N, D), normal(N, seed=1)
    x_v, y_v = normal(M, D, seed=2), normal(M, seed=3)
    A = x.T @ x / N + DAMPING * torch.eye(D).double()
    theta = torch.linalg.solve(A, x.T @ y / N)
    network = nn.Linear(D, 1, bias=False).double()
    with torch.no_grad():
        network.weight.copy_(theta[None])

    def half(out, target):
        return (out[:, 0] - target).square() / 2

    harm = influences(network, half, (x, y), (x_v, y_v), trusted_loss=half, inverse=Inverse(damping=DAMPING))
    s = torch.linalg.solve(A, x_v.T @ (x_v @ theta - y_v) / M)
    residual = x @ theta - y
    torch.testing.assert_close(harm, -(x @ s) * residual)
    leverage = (x @ torch.linalg.inv(A) * x).sum(1) / N
    for i in range(5):
        left = torch.arange(N) != i
        again = torch.linalg.solve(x[left].T @ x[left] / N + DAMPING * torch.eye(D).double(), x[left].T @ y[left] / N)
        by_leverage = theta + torch.linalg.inv(A) @ x[i] * residual[i] / (1 - leverage[i]) / N
        torch.testing.assert_close(again, by_leverage, atol=1e-8, rtol=0)


@pytest.mark.parametrize(
    "options",
    [
        {"solver": "cg", "tolerance": 1e-10, "iterations": C * (D + 1) + 2},
        {"solver": "lissa", "iterations": 20_000, "tolerance": 1e-12, "scale": 3.0},
        {"curvature": "gauss-newton"},
        {"solver": "cg", "curvature": "gauss-newton", "tolerance": 1e-10},
    ],
)
def test_every_way_to_invert_agrees_where_logits_are_linear(problem, options):
    network = trained(problem)
    torch.testing.assert_close(found(network, problem, **options), found(network, problem), rtol=1e-4, atol=1e-7)


def test_the_sum_is_the_penalty_s(problem):
    """At the optimum Σ_i ∇ℓ_i = −n δ θ, so that Σ_i I_i = n δ sᵀθ."""
    network = trained(problem)
    (x, targets), (x_v, y_v) = problem
    theta = torch.cat([p.detach().flatten() for p in network.parameters()])

    def on_trusted(theta):
        return cross_entropy(x_v @ theta[: C * D].view(C, D).T + theta[C * D :], y_v).mean()

    def mean(theta):
        return cross_entropy(x @ theta[: C * D].view(C, D).T + theta[C * D :], targets).mean()

    H = torch.func.hessian(mean)(theta) + DAMPING * torch.eye(len(theta)).double()
    s = torch.linalg.solve(H, torch.func.grad(on_trusted)(theta))
    torch.testing.assert_close(found(network, problem).sum(), N * DAMPING * (s @ theta))


def test_weights_of_the_training_count_in_the_curvature(problem):
    weights = torch.linspace(0.1, 1.9, N, dtype=torch.float64)
    network = trained(problem, weights)
    options = {"inverse": Inverse(damping=DAMPING), "weights": weights}
    harm = influences(network, cross_entropy, *problem, **options)
    i, losses = 7, []
    for sign in (1, -1):
        changed = weights.clone()
        changed[i] += sign * N * 1e-5
        losses.append(trusted_loss(trained(problem, changed), problem))
    assert abs((losses[0] - losses[1]) / 2e-5 - float(harm[i])) < 1e-5 * float(harm.abs().max())
    newton = influences(
        network, cross_entropy, *problem, inverse=Inverse(damping=DAMPING, curvature="gauss-newton"), weights=weights
    )
    torch.testing.assert_close(newton, harm)


def test_the_head_alone_is_a_linear_network_on_its_features(problem):
    (x, targets), (x_v, y_v) = problem
    torch.manual_seed(0)
    body, head = nn.Sequential(nn.Linear(D, 6), nn.Tanh(), nn.Dropout(0.5)), nn.Linear(6, C)
    network = nn.Sequential(body, head).double()
    mine = influences(network, cross_entropy, (x, targets), (x_v, y_v), head_only=True)
    assert body[2].training
    network.eval()
    with torch.no_grad():
        features = body(x), body(x_v)
    expected = influences(head, cross_entropy, (features[0], targets), (features[1], y_v))
    torch.testing.assert_close(mine, expected)
    with pytest.raises(ValueError, match="has no linear layer"):
        influences(nn.Flatten(), cross_entropy, *problem, head_only=True)


def test_what_cannot_work_is_refused(problem):
    with pytest.raises(ValueError, match="solver is 'lu'"):
        Inverse(solver="lu")
    with pytest.raises(ValueError, match="curvature is 'fisher'"):
        Inverse(curvature="fisher")
    with pytest.raises(ValueError, match="damping is -1"):
        Inverse(damping=-1)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, C)).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(6)
    with pytest.raises(ValueError, match="H is not positive"):
        influences(network, cross_entropy, *problem, inverse=Inverse(damping=0.0, solver="cg"))
    with pytest.raises(ValueError, match="the recursion grows without end"):
        found(trained(problem), problem, solver="lissa", scale=0.02, iterations=5000)
    wide = nn.Linear(2000, C).double()
    with pytest.raises(ValueError, match="solver is 'exact' for 6,003 parameters"):
        influences(wide, cross_entropy, (normal(3, 2000), problem[0][1][:3]), (normal(2, 2000), problem[1][1][:2]))
