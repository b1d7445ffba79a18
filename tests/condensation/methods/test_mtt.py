"""Trajectory matching: what must hold exactly of the loss of a student that follows an expert."""

import pytest
import torch

from workbench.condensation import MTT, Experts, Mirror, Run, Trajectories, TrajectoryError, condense
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.trajectories.flat import FlatNetwork
from workbench.condensation.trajectories.student import Student
from workbench.condensation.trajectories.unroll import Descent, cross_entropy, trajectory_match, unroll
from workbench.training.augment import Shift

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def experts(tiny):
    wanted = Experts(count=2, epochs=4, lr=0.1, batch_size=16, network="mlp", options={"width": 5, "depth": 1})
    return wanted.train(tiny, progress=False, device="cpu")


@pytest.fixture(scope="module")
def smooth(tiny):
    """A student without kinks, two sets of weights for it, and what a step needs."""
    from workbench import models

    network = FlatNetwork(models.build("mlp", tiny, width=5, depth=1, activation="tanh").double())
    return network, *network.fresh([1, 2]).double()


def method(experts, **options):
    return MTT(**{"ipc": 1, "steps": 5, "span": 2, "latest": 2, "step_size": 0.1, "experts": experts} | options)


def begun(tiny, wanted, seed=0):
    run = Run(tiny.train, seed=seed, device=CPU)
    return run, wanted.start(run)


def loss_of(network, start, target, images, labels, alpha, steps):
    rate = torch.as_tensor(alpha, dtype=torch.float64)
    descent = Descent(lambda w, n: cross_entropy(network(w, images), labels), lambda n: rate, steps)
    return unroll(descent, start, trajectory_match(start, target), [images])


def gradient(network, weights, images, labels):
    at = weights.detach().requires_grad_()
    return torch.autograd.grad(cross_entropy(network(at, images), labels), at)[0]


def test_without_steps_the_loss_is_one(tiny, experts):
    wanted = method(experts, steps=0)
    (loss,) = wanted.losses(*begun(tiny, wanted))
    assert loss.item() == 1.0


def test_a_student_that_replays_its_expert_loses_nothing(tiny, smooth):
    network, start, _ = smooth
    images, labels = tiny.train.inputs, tiny.train.labels
    target = start
    for _ in range(7):
        target = target - 0.2 * gradient(network, target, images, labels)
    assert loss_of(network, start, target, images, labels, 0.2, 7).item() < 1e-28


def test_one_step_is_gradient_matching(tiny, smooth):
    network, start, _ = smooth
    g_t = gradient(network, start, tiny.train.inputs, tiny.train.labels)
    images, labels = tiny.test.inputs[:3], tiny.test.labels[:3]
    g_s = gradient(network, start, images, labels)
    loss = loss_of(network, start, start - 0.3 * g_t, images, labels, 0.1, 1)
    torch.testing.assert_close(loss, (0.1 * g_s - 0.3 * g_t).square().sum() / (0.3 * g_t).square().sum())


def test_best_size_of_one_step_leaves_one_minus_cosine_squared(tiny, smooth):
    network, start, target = smooth
    images, labels = tiny.test.inputs[:3], tiny.test.labels[:3]
    g, moved = gradient(network, start, images, labels), start - target
    alpha = g @ moved / g.square().sum()
    loss = loss_of(network, start, target, images, labels, alpha, 1)
    cosine = torch.cosine_similarity(g, moved, dim=0)
    torch.testing.assert_close(loss, 1 - cosine**2)
    for other in (0.9 * alpha, 1.1 * alpha):
        assert loss_of(network, start, target, images, labels, other, 1) > loss


def test_numerator_is_a_square_in_the_sum_of_the_gradients(tiny, smooth):
    network, start, target = smooth
    images, labels = tiny.test.inputs[:3], tiny.test.labels[:3]
    moved, total, weights = start - target, torch.zeros_like(start), start
    for _ in range(4):
        g = gradient(network, weights, images, labels)
        total, weights = total + g, weights - 0.2 * g
    numerator = moved.square().sum() - 2 * 0.2 * total @ moved + 0.04 * total.square().sum()
    loss = loss_of(network, start, target, images, labels, 0.2, 4)
    torch.testing.assert_close(loss * moved.square().sum(), numerator)


def test_gradient_of_the_method_is_finite_differences_and_plain_autograd(tiny, experts):
    options = {"augment": Shift(), "batch": 2}
    gradients = []
    for recompute in (True, False):
        wanted = method(experts, recompute=recompute, **options)
        run, synthetic = begun(tiny, wanted)
        (loss,) = wanted.losses(run, synthetic)
        gradients.append(torch.autograd.grad(loss, list(synthetic.leaves.values())))
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-12)
    h = 1e-6
    for leaf, slope in zip(synthetic.leaves.values(), gradients[0], strict=True):
        for position in range(0, leaf.numel(), max(1, leaf.numel() // 5)):
            values = []
            for sign in (1, -1):
                with torch.no_grad():
                    leaf.view(-1)[position] += sign * h
                    values += [loss.item() for loss in wanted.losses(run, synthetic)]
                    leaf.view(-1)[position] -= sign * h
            assert (values[0] - values[1]) / (2 * h) == pytest.approx(
                slope.view(-1)[position].item(), rel=1e-5, abs=1e-8
            )


def test_order_of_images_and_names_of_hidden_units_do_not_matter(tiny, smooth):
    network, start, target = smooth
    images, labels = tiny.test.inputs[:6], tiny.test.labels[:6]
    loss = loss_of(network, start, target, images, labels, 0.2, 4)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(loss, loss_of(network, start, target, images[order], labels[order], 0.2, 4))

    def relabelled(weights):
        state, units = network.state(weights), torch.tensor([4, 2, 0, 1, 3])
        state["hidden.0.0.weight"], state["hidden.0.0.bias"] = (
            state["hidden.0.0.weight"][units],
            state["hidden.0.0.bias"][units],
        )
        state["head.weight"] = state["head.weight"][:, units]
        return network.vector(state)

    moved = loss_of(network, relabelled(start), relabelled(target), images, labels, 0.2, 4)
    torch.testing.assert_close(loss, moved)


def test_a_step_sees_its_share_of_a_fresh_order_of_the_images(tiny, experts):
    wanted = method(experts, ipc=2, batch=4)
    run, synthetic = begun(tiny, wanted)
    student = Student(run, synthetic, run.made["network"], batch=4)
    rows = [student.rows(n) for n in range(4)]
    assert [len(r) for r in rows] == [4, 2, 4, 2]
    assert sorted(torch.cat(rows[:2]).tolist()) == sorted(torch.cat(rows[2:]).tolist()) == list(range(6))
    assert torch.cat(rows[:2]).tolist() != torch.cat(rows[2:]).tolist()
    assert torch.equal(student.rows(3), rows[3])
    run.iteration = 1
    assert torch.cat([student.rows(0), student.rows(1)]).tolist() != torch.cat(rows[:2]).tolist()


def test_views_share_their_gradient_and_halve_the_stored_batch(tiny, smooth):
    """The mirrored copies send their gradient, mirrored back, to the stored images."""
    network, start, target = smooth
    run = Run(tiny.train, seed=0, device=CPU)
    stored, labels = tiny.test.inputs[:3], tiny.test.labels[:3]
    synthetic = Synthetic(stored, labels, 3, views=(Mirror(),))
    student = Student(run, synthetic, network)
    assert Student(run, synthetic, network, batch=2).size == 1
    descent = Descent(student, lambda n: torch.tensor(0.1), 3)
    loss = unroll(descent, start, trajectory_match(start, target), [synthetic.pixels])
    (shared,) = torch.autograd.grad(loss, synthetic.pixels)
    both = torch.cat([stored, stored.flip(-1)]).requires_grad_()
    apart = loss_of(network, start, target, both, torch.cat([labels, labels]), 0.1, 3)
    first, second = torch.autograd.grad(apart, both)[0].split(3)
    torch.testing.assert_close(loss, apart)
    torch.testing.assert_close(shared, first + second.flip(-1))


def test_segments_stay_inside_the_trajectory_and_the_first_epochs(tiny, experts):
    from workbench.condensation.methods.mtt import segment

    run = Run(tiny.train, seed=0, device=CPU)
    run.made["experts"] = experts
    seen = set()
    for run.iteration in range(60):
        before, after, epoch = segment(run, latest=3, span=2)
        expert = next(k for k in range(2) if torch.equal(experts.at(k, epoch), before))
        assert torch.equal(experts.at(expert, epoch + 2), after)
        seen.add((expert, epoch))
    assert seen == {(k, t) for k in range(2) for t in range(3)}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_loss_falls_and_the_step_size_stays_positive(tiny, experts, optimizer):
    rates = {"lr_images": 0.05, "lr_step": 0.05} if optimizer == "adam" else {"lr_images": 1.0, "lr_step": 0.1}
    made = condense(tiny, method(experts, optimizer=optimizer, **rates), iterations=40, progress=False)
    assert made.loss[-8:].mean() < 0.8 * made.loss[:8].mean()
    assert (made.curves["step_size"] > 0).all()
    assert made.step_size > 0
    assert made.spec == experts.spec
    assert set(made.curves["epoch"].tolist()) == {0.0, 1.0}


def test_a_resumed_run_has_the_same_bits_and_trains_the_same_experts(tiny):
    wanted = method(Experts(count=2, epochs=3, lr=0.1, network="mlp", options={"width": 4}), lr_images=1.0, decay=0.9)
    whole = condense(tiny, wanted, iterations=4, progress=False, device="cpu")
    half = condense(tiny, wanted, iterations=2, progress=False, device="cpu")
    rest = condense(tiny, wanted, iterations=4, resume=half, progress=False, device="cpu")
    assert torch.equal(whole.images, rest.images)
    assert torch.equal(whole.step_size, rest.step_size)
    assert torch.equal(whole.loss, rest.loss)


def test_bad_input_is_refused_at_the_door(tiny, experts):
    with pytest.raises(ValueError, match="segments from epoch 3 over 2 epochs end after the experts' 4 epochs"):
        method(experts, latest=4)
    with pytest.raises(ValueError, match="step_size is -1"):
        method(experts, step_size=-1)
    with pytest.raises(ValueError, match="optimizer is 'adagrad'"):
        method(experts, optimizer="adagrad")
    with pytest.raises(ValueError, match="span is 0"):
        method(experts, span=0)
    other = Trajectories(torch.zeros(1, 5, 1), {"w": (1,)}, spec=experts.spec | {"classes": 7})
    with pytest.raises(TrajectoryError, match=r"7 classes, the data has \(1, 6, 6\) and 3"):
        method(other).start(Run(tiny.train, seed=0, device=CPU))
