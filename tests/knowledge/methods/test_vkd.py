"""Every exact line of paper 054's card, in float64."""

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import orthogonal_procrustes

from workbench.knowledge.methods.vkd import (
    PROJECTORS,
    VKD,
    OrthogonalProjector,
    TorchOrthogonalProjector,
    build_projector,
    standardise,
    whiten,
)
from workbench.models import Outputs

seeds = st.integers(0, 2**31 - 1)
sizes = st.tuples(st.integers(1, 6), st.integers(0, 4)).map(lambda s: (s[0], s[0] + s[1]))
ORTHOGONAL = [OrthogonalProjector, TorchOrthogonalProjector]


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", ORTHOGONAL)
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_orthogonality_survives_any_number_of_steps(kind, optimizer):
    """In float32, as in use, with large steps and weight decay."""
    projector = kind(5, 9, generator=generator())
    steps = optimizer(projector.parameters(), lr=0.3, weight_decay=0.1)
    z_s, z_t = normal(1, 32, 5).float(), normal(2, 32, 9).float()
    start = projector.matrix.detach().clone()
    for _ in range(60):
        steps.zero_grad()
        (projector(z_s) - z_t).square().mean().backward()
        steps.step()
        P = projector.matrix.detach()
        torch.testing.assert_close(P.T @ P, torch.eye(5), atol=1e-5, rtol=0)
    assert (P - start).norm() > 0.1


@pytest.mark.parametrize("kind", ORTHOGONAL)
@given(seed=seeds, size=sizes)
@settings(max_examples=25, deadline=None)
def test_every_relation_among_student_features_is_kept(kind, seed, size):
    d_s, d_t = size
    P = kind(d_s, d_t, generator=generator(seed)).double().matrix.detach()
    if kind is TorchOrthogonalProjector:  # drawn in float32: make it exact for this test
        P = torch.linalg.qr(P).Q
    torch.testing.assert_close(P.T @ P, torch.eye(d_s, dtype=torch.float64))
    z = normal(seed, 7, d_s)
    moved = z @ P.T
    torch.testing.assert_close(torch.cdist(moved, moved), torch.cdist(z, z), atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(moved @ moved.T, z @ z.T)

    def cosine(x):
        x = torch.nn.functional.normalize(x)
        return x @ x.T

    def distances(x):  # RKD: distances over their mean
        d = torch.pdist(x)
        return d / d.mean()

    def similarity(x):  # SP: rows of the Gram matrix, normalised
        return torch.nn.functional.normalize(x @ x.T)

    def angles(x):  # RKD-A
        e = torch.nn.functional.normalize(x[None] - x[:, None], dim=2)
        return e @ e.transpose(1, 2)

    for relation in (cosine, distances, similarity, angles):
        torch.testing.assert_close(relation(moved), relation(z), atol=1e-7, rtol=1e-7)

    y = normal(seed + 1, 7, 4)

    def linear_cka(a, b):
        a, b = a - a.mean(0), b - b.mean(0)
        return (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())

    torch.testing.assert_close(linear_cka(moved, y), linear_cka(z, y))


@given(seeds, st.integers(1, 7))
@settings(max_examples=25, deadline=None)
def test_exponential_is_a_rotation_and_zero_is_the_identity_block(seed, d):
    projector = OrthogonalProjector(d, d, generator=generator(seed)).double()
    P = projector.matrix.detach()
    torch.testing.assert_close(P @ P.T, torch.eye(d, dtype=torch.float64))
    torch.testing.assert_close(torch.linalg.det(P), torch.tensor(1.0, dtype=torch.float64))
    block = OrthogonalProjector(d, d + 2).double().matrix.detach()
    torch.testing.assert_close(block, torch.eye(d + 2, dtype=torch.float64)[:, :d])


@pytest.mark.parametrize(("d_s", "d_t"), [(3, 6), (4, 4)])
def test_gradient_descent_on_the_skew_matrix_reaches_procrustes(d_s, d_t):
    z_s, z_t = normal(0, 40, d_s), normal(1, 40, d_t)
    z_t = z_t + z_s @ normal(2, d_s, d_t)
    R, _ = orthogonal_procrustes(z_s.numpy(), z_t.numpy()) if d_s == d_t else (None, None)
    u, _, vt = torch.linalg.svd(z_t.T @ z_s, full_matrices=False)
    if d_s == d_t:
        torch.testing.assert_close(u @ vt, torch.from_numpy(R.T))
        if torch.linalg.det(u @ vt) < 0:  # the exponential reaches rotations only: best of that class
            u = u.clone()
            u[:, -1] *= -1
    best = (z_s @ (u @ vt).T - z_t).square().sum()
    projector = OrthogonalProjector(d_s, d_t, generator=generator(3)).double()
    optimizer = torch.optim.LBFGS(projector.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def objective():
        optimizer.zero_grad()
        loss = (projector(z_s) - z_t).square().sum()
        loss.backward()
        return loss

    reached = optimizer.step(objective)
    reached = objective()
    assert reached >= best - 1e-9
    torch.testing.assert_close(reached, best, rtol=1e-5, atol=1e-5)


@given(seeds, st.floats(0.1, 50), st.floats(-20, 20))
@settings(max_examples=30, deadline=None)
def test_standardised_targets(seed, a, b):
    z = normal(seed, 6, 12)
    done = standardise(z)
    torch.testing.assert_close(done.mean(1), torch.zeros(6, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(done.var(1, unbiased=False), torch.ones(6, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(standardise(a * z + b), done, atol=1e-4, rtol=1e-4)


@given(seeds)
@settings(max_examples=30, deadline=None)
def test_whitened_targets(seed):
    z = normal(seed, 40, 5) @ normal(seed + 1, 5, 5) + 3
    done = whiten(z)
    torch.testing.assert_close(done.mean(0), torch.zeros(5, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(done.T @ done / 40, torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0)
    change = torch.linalg.qr(normal(seed + 2, 5, 5)).Q * torch.linspace(0.5, 2, 5, dtype=torch.float64)
    other = whiten(z @ change)
    torch.testing.assert_close(other @ other.T, done @ done.T, atol=1e-6, rtol=1e-6)  # equal up to a rotation


def test_loss_after_whitening_is_unmoved_by_a_linear_change_up_to_a_rotation():
    """The best orthogonal fit, which absorbs rotations, is equally good."""
    z_s, z_t = normal(0, 50, 3), normal(1, 50, 6)
    change = normal(2, 6, 6)

    def best(target):
        u, _, vt = torch.linalg.svd(target.T @ z_s, full_matrices=False)
        return (z_s @ (u @ vt).T - target).square().mean()

    torch.testing.assert_close(best(whiten(z_t @ change)), best(whiten(z_t)), rtol=1e-6, atol=1e-6)
    assert (best(z_t @ change) - best(z_t)).abs() > 0.1


def test_whitening_a_deficient_batch_is_exact_where_it_varies_and_zero_elsewhere():
    z = torch.cat([normal(0, 30, 3), torch.ones(30, 2, dtype=torch.float64)], 1)
    done = whiten(z)
    expected = torch.diag(torch.tensor([1.0, 1, 1, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(done.T @ done / 30, expected, atol=1e-8, rtol=0)
    with pytest.raises(ValueError, match="cannot whiten"):
        whiten(normal(0, 5, 5))
    assert whiten(normal(0, 5, 8), shrinkage=0.1).isfinite().all()
    assert torch.equal(whiten(torch.ones(9, 2)), torch.zeros(9, 2))


@pytest.mark.parametrize("kind", ORTHOGONAL)
def test_a_wider_student_gets_orthonormal_rows_and_a_warning(kind):
    with pytest.warns(UserWarning, match="no isometry"):
        projector = kind(7, 4, generator=generator())
    P = projector.matrix.detach()
    torch.testing.assert_close(P @ P.T, torch.eye(4), atol=1e-5, rtol=0)
    assert (P.T @ P - torch.eye(7)).norm() > 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kind(4, 4, generator=generator())


def pair(seed=0, n=24, d_s=5, d_t=8):
    student = Outputs(normal(seed, n, 3), {"blocks.1": normal(seed + 1, n, 4, d_s)})
    teacher = Outputs(normal(seed + 2, n, 3), {"stage3": normal(seed + 3, n, d_t, 2, 2)})
    return student, teacher, torch.zeros(n, dtype=torch.long)


@pytest.mark.parametrize("normalise", ["none", "standardise", "whiten"])
@pytest.mark.parametrize("kind", PROJECTORS)
def test_loss_is_smooth_l1_of_projected_means_and_normalised_teacher(kind, normalise):
    student, teacher, labels = pair()
    bound = VKD("blocks.1", "stage3", projector=kind, normalise=normalise).bind(
        student, teacher, labels, generator=generator()
    )
    z_s, z_t = student.features["blocks.1"].mean(1), teacher.features["stage3"].mean((2, 3))
    target = {"none": lambda z: z, "standardise": standardise, "whiten": whiten}[normalise](z_t)
    expected = torch.nn.functional.smooth_l1_loss(bound.projectors[0](z_s), target, reduction="none").mean(1)
    torch.testing.assert_close(bound(student, teacher, labels), expected)
    assert bound.projectors[0](z_s).shape == z_t.shape


def test_no_gradient_reaches_the_teacher_and_no_bias_hides_in_the_projector():
    student, teacher, labels = pair()
    for features in (student.features, teacher.features):
        for value in features.values():
            value.requires_grad_()
    bound = VKD("blocks.1", "stage3").bind(student, teacher, labels, generator=generator())
    bound(student, teacher, labels).sum().backward()
    assert student.features["blocks.1"].grad.abs().sum() > 0
    assert teacher.features["stage3"].grad is None
    zero = torch.zeros(2, 5, dtype=torch.float64)
    for kind in ("orthogonal", "orthogonal (torch)", "linear", "none"):
        assert not build_projector(kind, 5, 8, generator=generator()).double()(zero).any()


def test_affine_starts_as_no_change():
    student, teacher, labels = pair()
    plain, affine = (
        VKD("blocks.1", "stage3", affine=a).bind(student, teacher, labels, generator=generator()) for a in (False, True)
    )
    torch.testing.assert_close(plain(student, teacher, labels), affine(student, teacher, labels))
    assert len(list(affine.parameters())) == len(list(plain.parameters())) + 2


def test_binding_is_reproducible_and_leaves_the_global_generator_alone():
    before = torch.random.get_rng_state()
    for kind in PROJECTORS:
        a, b = (build_projector(kind, 3, 5, generator=generator(1)).state_dict() for _ in range(2))
        assert all(torch.equal(a[name], b[name]) for name in a)
    assert torch.equal(before, torch.random.get_rng_state())


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="orthogonal"):
        VKD("a", "b", projector="quadratic")
    with pytest.raises(ValueError, match="standardise"):
        VKD("a", "b", normalise="both")
    with pytest.raises(ValueError, match="fewer to more"):
        build_projector("none", 5, 3, generator=generator())


@pytest.mark.filterwarnings("ignore:There is a performance drop")
@pytest.mark.parametrize("kind", PROJECTORS)
def test_many_projectors_train_as_one(kind):
    many = [pair(seed=10 * s) for s in range(3)]
    signal = VKD("blocks.1", "stage3", projector=kind, normalise="whiten")
    bound = [signal.bind(*p, generator=generator(s)) for s, p in enumerate(many)]
    params, buffers = torch.func.stack_module_state(bound)
    z_s = torch.stack([p[0].features["blocks.1"] for p in many])
    z_t = torch.stack([p[1].features["stage3"] for p in many])

    def loss(params, buffers, z_s, z_t):
        args = (Outputs(z_s, {"blocks.1": z_s}), Outputs(z_t, {"stage3": z_t}), None)
        return torch.func.functional_call(bound[0], (params, buffers), args).mean()

    grads, losses = torch.vmap(torch.func.grad_and_value(loss))(params, buffers, z_s, z_t)
    for i, module in enumerate(bound):
        alone = module(*many[i]).mean()
        torch.testing.assert_close(losses[i], alone)
        named = dict(module.named_parameters())
        if named:
            for name, grad in zip(named, torch.autograd.grad(alone, list(named.values())), strict=True):
                torch.testing.assert_close(grads[name][i], grad)
