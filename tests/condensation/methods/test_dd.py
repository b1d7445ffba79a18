"""Dataset distillation through the steps: exact statements about linear regression, and about what the method does."""

import pytest
import torch
import torch.nn.functional as F

from workbench import records
from workbench.condensation import (
    DD,
    FYI,
    Descent,
    Experts,
    Run,
    condense,
    evaluate,
    export,
    open_images,
    replay,
    unroll,
)
from workbench.condensation.methods.dd import DecayingAdam, inverse_softplus
from workbench.condensation.trajectories.unroll import cross_entropy

CPU = torch.device("cpu")
SMALL = {"network": "mlp", "options": {"width": 5, "depth": 1}}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def regression_step(start, x, y, eta):
    """θ_1 of one step of least squares, ½ mean squared error, through the unroller's own steps."""
    descent = Descent(lambda w, n: (x @ w - y).square().mean() / 2, lambda n: torch.tensor(eta).double(), 1)
    return descent.path(start)[1]


def test_linear_regression_takes_the_step_of_the_closed_form():
    x, y, start = draw(4, 6), draw(4, seed=1), draw(6, seed=2)
    closed = (torch.eye(6) - 0.3 / 4 * x.T @ x) @ start + 0.3 / 4 * x.T @ y
    torch.testing.assert_close(regression_step(start, x, y, 0.3), closed)


def test_as_many_images_as_weights_lead_every_start_to_the_optimum():
    D, eta, best = 5, 0.7, draw(5, seed=3)
    Q, _ = torch.linalg.qr(draw(D, D))
    x = (D / eta) ** 0.5 * Q
    for seed in range(4):
        torch.testing.assert_close(regression_step(draw(D, seed=10 + seed), x, x @ best, eta), best)


def test_with_fewer_images_what_they_do_not_see_stays_wrong():
    x, best, start = draw(3, 5), draw(5, seed=1), draw(5, seed=2)
    after = regression_step(start, x, x @ best, 0.1)
    _, _, V = torch.linalg.svd(x)
    unseen = V[3:]  # the null space of x
    torch.testing.assert_close(unseen @ (after - best), unseen @ (start - best))
    assert (unseen @ (after - best)).norm() > 0.1


def test_for_one_known_start_a_single_image_is_enough():
    best, start, eta = draw(5, seed=1), draw(5, seed=2), 0.3
    x = (best - start)[None]
    torch.testing.assert_close(regression_step(start, x, x @ start + 1 / eta, eta), best)


def test_step_sizes_are_positive_and_tiny_ones_survive():
    eta = torch.logspace(-20, 2, 23, dtype=torch.float64)
    torch.testing.assert_close(F.softplus(inverse_softplus(eta)), eta, rtol=1e-12, atol=0)
    assert (F.softplus(draw(100) * 50) > 0).all()


def begun(tiny, method):
    run = Run(tiny.train, seed=0, device=CPU)
    return run, method.start(run)


@pytest.mark.parametrize("weights", ["fixed", "random"])
def test_gradient_of_the_method_is_plain_autograd_and_finite_differences(tiny, weights):
    gradients = []
    for recompute in (True, False):
        options = {"weights": weights, "students": 2, "recompute": recompute, "real_batch": 20} | SMALL
        method = DD(ipc=2, steps=2, passes=2, step_size=0.3, **options)
        run, synthetic = begun(tiny, method)
        (loss,) = method.losses(run, synthetic)
        gradients.append(torch.autograd.grad(loss, list(synthetic.leaves.values())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-13)
    h = 1e-6
    for leaf, slope in zip(synthetic.leaves.values(), gradients[0], strict=True):
        for position in range(0, leaf.numel(), max(1, leaf.numel() // 4)):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    leaf.view(-1)[position] += sign * h
                    values += [one.item() for one in method.losses(run, synthetic)]
                    leaf.view(-1)[position] -= sign * h
            assert (values[0] - values[1]) / (2 * h) == pytest.approx(
                slope.view(-1)[position].item(), rel=1e-5, abs=1e-8
            )


def test_without_passes_nothing_is_learned(tiny):
    method = DD(passes=0, **SMALL)
    made = condense(tiny, method, iterations=2, progress=False)
    assert torch.equal(made.images, condense(tiny, method, iterations=0, progress=False).images)


def test_each_step_sees_its_own_images_of_each_class(tiny):
    method = DD(ipc=4, steps=2, passes=2, **SMALL)
    rows = [method.rows(n, 3).tolist() for n in range(4)]
    assert rows[0] == rows[2] == [0, 1, 4, 5, 8, 9]
    assert rows[1] == rows[3] == [2, 3, 6, 7, 10, 11]
    assert DD(ipc=1, **SMALL).rows(0, 3) is None


def test_first_iteration_is_adam_down_the_loss_after_the_steps(tiny):
    """One iteration written out: one step from the record's own start, cross-entropy on real data, Adam."""
    method = DD(passes=1, real_batch=46, lr=0.05, step_size=0.2, initial="real", **SMALL)
    before, after = (condense(tiny, method, iterations=n, progress=False, device="cpu") for n in (0, 1))
    assert all(torch.equal(before.start[name], after.start[name]) for name in before.start)
    run, _ = begun(tiny, method)
    network = run.made["network"]
    images = before.images.double().requires_grad_()
    theta = network.vector(before.start).requires_grad_()
    inner = cross_entropy(network(theta, images), before.labels)
    moved = theta - 0.2 * torch.autograd.grad(inner, theta, create_graph=True)[0]
    outer = cross_entropy(network(moved, tiny.train.inputs), tiny.train.labels)
    assert after.loss.item() == pytest.approx(outer.item(), rel=1e-6)
    (slope,) = torch.autograd.grad(outer, images)
    torch.testing.assert_close(after.images.double(), images.detach() - 0.05 * slope / (slope.abs() + 1e-8))


@pytest.mark.parametrize("steps", [1, 2])
def test_record_says_how_to_take_its_steps_again(tiny, steps):
    method = DD(ipc=2, steps=steps, passes=2, real_batch=46, step_size=0.3, lr=0.05, **SMALL)
    made = condense(tiny, method, iterations=5, progress=False, device="cpu")
    assert made.step_size.shape == (2 * steps,)
    assert (made.step_size > 0).all()
    again = replay(made)
    assert again.path.shape == (2 * steps + 1, 1, again.network.size)
    run, synthetic = begun(tiny, method)
    synthetic.load(made.checkpoint["synthetic"])
    run.iteration = 5
    with torch.no_grad():
        (loss,) = method.losses(run, synthetic)
    reached = cross_entropy(again.network(again.path[-1, 0], tiny.train.inputs), tiny.train.labels)
    assert reached.item() == pytest.approx(loss.item(), rel=1e-6)
    frame = again.to_frame(tiny.test)
    assert frame["step size"].tolist()[1:] == made.step_size.tolist()
    assert again.confusion(tiny.test).sum() == 30
    assert again.accuracy(tiny.test)[0, -1] == pytest.approx(again.confusion(tiny.test).diag().sum() / 30)


@pytest.mark.parametrize("form", ["in memory", "saved", "npz", "folder", "mirrored"])
def test_evaluation_and_replay_see_the_batches_that_were_learned(tiny, tmp_path, form):
    method = DD(ipc=4, steps=2, passes=2, weights="random", students=1, real_batch=20, step_size=0.3, **SMALL)
    host = FYI(method) if form == "mirrored" else method
    made = condense(tiny, host, iterations=2, progress=False, device="cpu")
    first, second = [0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]
    assert [rows.nonzero().flatten().tolist() for rows in made.step_images] == [first, second] * 2
    back = made
    if form == "saved":
        back = records.open(made.save(tmp_path / "set.safetensors"))
    elif form in ("npz", "folder"):
        back = open_images(export(made, tmp_path / ("set.npz" if form == "npz" else "set")))
        made = made.replace(images=back.images)  # pictures are rounded to bytes
    assert back.step_images.tolist() == made.step_images.tolist()
    test = tiny.test.to(dtype=made.images.dtype)
    path = replay(made, [5, 6]).accuracy(test)
    whole = replay(made.replace(step_images=None), [5, 6]).accuracy(test)
    score = {"seeds": [5, 6], "step_size": True, "references": False, "progress": False, "points": 4}
    found = evaluate(back, tiny, "mlp", options={"mlp": SMALL["options"]}, **score)
    torch.testing.assert_close(found.curves["distilled"][0], path[:, 1:])
    assert not torch.equal(path, whole)


def test_replay_asks_for_what_a_record_does_not_say(tiny):
    made = condense(tiny, DD(passes=2, weights="random", **SMALL), iterations=1, progress=False)
    with pytest.raises(ValueError, match="was made for any start"):
        replay(made)
    assert replay(made, starts=[7, 8]).path.shape[:2] == (3, 2)
    with pytest.raises(ValueError, match="a step size for each of its 2 steps"):
        replay(made, starts=[7], steps=5)
    assert replay(made, starts=[7], steps=5, step_size=0.1).step_size.tolist() == pytest.approx([0.1] * 5)
    with pytest.raises(ValueError, match="has no step size"):
        replay(made.replace(step_size=None), starts=[7])
    with pytest.raises(ValueError, match="does not say what network"):
        replay(made.replace(spec=None))


def test_poison_counts_one_class_as_another_and_leaves_the_rest(tiny):
    method = DD(poison=(0, 2), **SMALL)
    assert method.outer_labels(torch.tensor([0, 1, 2, 0])).tolist() == [2, 1, 2, 2]
    with pytest.raises(ValueError, match=r"poison is \(0, 3\); class numbers are 0..2"):
        condense(tiny, DD(poison=(0, 3), **SMALL), progress=False)


def test_poison_turns_trained_networks_and_starts_are_theirs(tiny):
    experts = Experts(count=3, epochs=20, lr=0.3, batch_size=16, **SMALL).train(tiny, progress=False, device="cpu")
    method = DD(passes=2, weights=experts, poison=(0, 2), real_batch=46, step_size=0.3, lr=0.05)
    made = condense(tiny, method, iterations=80, progress=False, device="cpu")
    assert not made.start
    trained = torch.stack([experts.at(k, 20) for k in range(3)])
    after = replay(made, trained)
    assert torch.equal(after.path[0], trained.to(made.images.dtype))
    confusion = [after.confusion(tiny.test, step) for step in (0, -1)]
    assert confusion[0][0, 0] > 0.8 * confusion[0][0].sum()
    assert confusion[1][0, 2] > 0.8 * confusion[1][0].sum()
    assert confusion[1][1, 1] > 0.7 * confusion[1][1].sum()


def test_rate_falls_and_a_resumed_run_has_the_same_bits(tiny):
    leaf = torch.zeros(1, requires_grad=True)
    adam = DecayingAdam([leaf], 1.0, betas=(0.5, 0.999), decay=0.5, every=2)
    rates = []
    for _ in range(5):
        leaf.grad = torch.ones(1)
        adam.step()
        rates.append(adam.param_groups[0]["lr"])
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25]
    method = DD(passes=2, weights="random", lr_every=2, **SMALL)
    whole = condense(tiny, method, iterations=5, progress=False, device="cpu")
    part = condense(tiny, method, iterations=3, progress=False, device="cpu")
    rest = condense(tiny, method, iterations=5, resume=part, progress=False, device="cpu")
    assert torch.equal(whole.images, rest.images)
    assert torch.equal(whole.step_size, rest.step_size)


def test_students_are_fresh_in_each_iteration_unless_fixed(tiny):
    method = DD(weights="random", students=2, **SMALL)
    run, _ = begun(tiny, method)
    first = method.starts(run)
    run.iteration = 1
    assert first.shape[0] == 2
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, method.starts(run))
    fixed = DD(**SMALL)
    run, _ = begun(tiny, fixed)
    first = fixed.starts(run)
    run.iteration = 1
    assert torch.equal(first, fixed.starts(run))


def test_bad_input_is_refused_at_the_door():
    with pytest.raises(ValueError, match="ipc is 3 and steps is 2"):
        DD(ipc=3, steps=2)
    with pytest.raises(ValueError, match="weights is 'trained'"):
        DD(weights="trained")
    with pytest.raises(ValueError, match="step_size is 0"):
        DD(step_size=0)
    with pytest.raises(ValueError, match="passes is -1"):
        DD(passes=-1)


def test_unroll_of_a_linear_network_learns_towards_the_optimum():
    """Meta-gradient descent on one image finds the closed form's zero loss for a known start."""
    best, start, eta = draw(4, seed=1), draw(4, seed=2), torch.tensor(0.3).double()
    x, y = draw(1, 4, seed=4).requires_grad_(), draw(1, seed=5).requires_grad_()
    adam = torch.optim.Adam([x, y], 0.05)
    descent = Descent(lambda w, n: (x @ w - y).square().mean() / 2, lambda n: eta, 1)
    for _ in range(400):
        loss = unroll(descent, start, lambda w: (w - best).square().sum(), [x, y])
        x.grad, y.grad = torch.autograd.grad(loss, [x, y])
        adam.step()
    assert loss.item() < 1e-6
