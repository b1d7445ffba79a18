"""EdgeFD and its baselines (paper 045): what must hold exactly, in float64."""

import math

import pytest
import torch

import workbench as wb
from workbench.federated import (
    Centroids,
    Channel,
    Client,
    EdgeFD,
    FedMD,
    OwnDonations,
    SelectiveFD,
    average,
    by_label,
    dirichlet,
    donate,
    federate,
)
from workbench.federated.methods.edgefd import distance
from workbench.federated.methods.selective_fd import coefficients, gram


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def data():
    return wb.data.load("digits").subset(120, seed=0)


def clients_of(data, count=3):
    parts = by_label(data.train.labels, count, 2)
    widths = ([8], [6, 6])
    return [
        Client(wb.models.build("mlp", data, width=widths[c % 2], seed=c), data.train.take(rows))
        for c, rows in enumerate(parts)
    ]


def run(data, method, seed=0, **options):
    clients = clients_of(data)
    channel = Channel()
    proxy = donate(clients, 0.3, channel, seed=seed)
    settings = {"rounds": 2, "local_steps": 2, "distil_steps": 2, "batch": 8} | options
    return proxy, federate(clients, method, proxy, data.test, channel=channel, seed=seed, **settings)


def test_no_threshold_is_fedmd_and_a_threshold_of_nothing_the_donations(data):
    _, all_kept = run(data, EdgeFD(tau=math.inf))
    _, fedmd = run(data, FedMD())
    assert all_kept.masks.all()
    for a, b in zip(all_kept.networks, fedmd.networks, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))
    proxy, none = run(data, EdgeFD(tau=0.0))
    _, own = run(data, OwnDonations())
    assert torch.equal(none.masks, own.masks)
    assert torch.equal(own.masks.float().argmax(0), proxy.owner)
    assert torch.equal(none.accuracy, own.accuracy)


def test_masks_grow_with_the_threshold_and_do_not_know_the_axes():
    K, x, own = draw(4, 3), draw(50, 3, seed=1), torch.zeros(50, dtype=torch.bool)
    d = distance(x, K)
    torch.testing.assert_close(d, (x[:, None] - K).square().sum(-1).sqrt().min(1).values)
    before = own
    for tau in (0.0, 0.5, 1.0, 2.0, 9.0):
        mask = Centroids(K, tau)(x, own)
        assert (before <= mask).all()
        assert torch.equal(mask, d <= tau)
        before = mask
    turn, _ = torch.linalg.qr(draw(3, 3, seed=2))
    same = Centroids(K[[2, 0, 3, 1]] @ turn + 5, 1.0)(x @ turn + 5, own)
    assert torch.equal(same, Centroids(K, 1.0)(x, own))
    mine = torch.arange(50) < 5
    assert torch.equal(Centroids(K, 0.0)(x, mine), mine)
    assert not Centroids(K, 0.0, own=False)(x, mine).any()


def test_as_many_centroids_as_points_are_the_points():
    x, labels = draw(10, 3), torch.arange(10)
    found = EdgeFD(centroids=1, held_out=0.01).fit(x, labels)
    assert len(found.K) == 9
    near = distance(x, found.K)
    assert (near < 1e-12).sum() == 9
    assert found.tau == pytest.approx(near.max().item())  # of the one point that k-means has not seen


def test_the_threshold_is_a_quantile_of_distances_that_k_means_has_not_seen():
    x, labels = draw(100, 3), torch.zeros(100, dtype=torch.long)
    found = EdgeFD(centroids=5, quantile=0.9, held_out=0.2).fit(x, labels, seed=3)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(3))
    assert found.tau == pytest.approx(distance(x[order[:20]], found.K).quantile(0.9).item())
    assert len(found.K) == 5
    assert found.floats == 15


def test_averages_lie_on_the_simplex_and_one_speaker_is_heard():
    p = draw(4, 20, 3).softmax(-1)
    m = torch.rand(4, 20, generator=torch.Generator().manual_seed(0)) < 0.4
    m[:, 0] = False
    m[:, 1] = torch.tensor([False, True, False, False])
    mean, rows = average(p, m)
    assert rows.tolist() == m.any(0).nonzero().flatten().tolist()
    assert 0 not in rows
    torch.testing.assert_close(mean.sum(1), torch.ones(len(rows), dtype=torch.float64))
    assert torch.equal(mean[rows == 1][0], p[1, 1])
    for place, row in enumerate(rows.tolist()):
        torch.testing.assert_close(mean[place], p[m[:, row], row].mean(0))
    nobody, none = average(p, torch.zeros(4, 20, dtype=torch.bool))
    assert len(none) == len(nobody) == 0


def test_what_a_client_has_not_claimed_may_be_anything():
    p = torch.tensor([[[0.5, 0.5]], [[math.nan, math.nan]]])
    mean, _ = average(p, torch.tensor([[True], [False]]))
    assert mean.tolist() == [[0.5, 0.5]]


def test_kulsif_minimises_its_objective():
    x, u, ridge, width = draw(12, 2), draw(8, 2, seed=1), 0.1, 1.5
    m, n = len(x), len(u)
    points = torch.cat([u, x])
    beta = torch.full((m,), 1 / (m * ridge), dtype=torch.float64)
    weights = torch.cat([coefficients(x, u, ridge, width), beta]).requires_grad_()
    K = gram(points, points, width)
    r = K @ weights
    objective = r[:n].square().mean() / 2 - r[n:].mean() + ridge / 2 * weights @ K @ weights
    (gradient,) = torch.autograd.grad(objective, weights)
    assert gradient.norm() < 1e-8


def test_equal_densities_have_a_nearly_constant_ratio():
    x = torch.rand(300, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = SelectiveFD(auxiliary=300, ridge=0.05).fit(x, torch.zeros(300))
    ratio = found.ratio(torch.linspace(0.2, 0.8, 50, dtype=torch.float64)[:, None])
    assert ratio.std() / ratio.mean() < 0.15
    assert found.floats == 600
    far = found(torch.full((1, 1), 40.0, dtype=torch.float64), torch.tensor([True]))
    assert not far.any()


def test_the_server_of_selective_fd_drops_what_is_ambiguous():
    assert SelectiveFD(ambiguous=0.6).clear(torch.tensor([[0.5, 0.5], [0.9, 0.1]])).tolist() == [False, True]


def test_bytes_are_counted_both_ways_in_every_round(data):
    proxy, found = run(data, EdgeFD())
    n, pixels = len(proxy.owner), 64
    assert found.channel.bytes(way="up", kind="donated data") == n * pixels * 4
    assert found.channel.bytes(way="down", kind="proxy data") == 3 * n * pixels * 4
    rows = 4 + 10 * 4  # an index and ten probabilities
    for at in (1, 2):
        assert found.channel.bytes(way="up", round=at) == int(found.masks.sum()) * rows
        assert found.channel.bytes(way="down", round=at) == 3 * int(found.masks.any(0).sum()) * rows
    assert len(found.channel.to_frame()) == 3 * 2 + 2 * 3 * 2
    _, alone = run(data, None)
    assert alone.channel.bytes(round=1) == 0


def test_clients_alone_learn_nothing_of_others(data):
    _, alone = run(data, None, rounds=20, local_steps=5, lr=0.01)
    assert alone.accuracy.shape == (20, 3)
    assert alone.accuracy[-1].max() < 0.35  # of two classes each
    assert math.isnan(alone.precision)
    _, together = run(data, OwnDonations(), rounds=20, local_steps=5, lr=0.01)
    assert together.accuracy[-1].mean() > alone.accuracy[-1].mean()


def test_networks_are_trained_and_judged_as_they_are_returned(data):
    _, found = run(data, EdgeFD())
    for c, network in enumerate(found.networks):
        assert wb.training.evaluate(network, data.test)["accuracy"] == pytest.approx(found.accuracy[-1, c].item())


@pytest.mark.parametrize("parts", [lambda y: by_label(y, 10, 3), lambda y: dirichlet(y, 5, 0.5, seed=1)])
def test_every_example_belongs_to_one_client(parts, data):
    rows = torch.cat(parts(data.train.labels))
    assert sorted(rows.tolist()) == list(range(len(data.train)))


def test_by_label_holds_as_many_classes_as_asked(data):
    for classes in (1, 3):
        for rows in by_label(data.train.labels, 10, classes):
            assert len(data.train.labels[rows].unique()) == classes


def test_dirichlet_is_more_unlike_for_small_alpha():
    labels = torch.arange(2000) % 10

    def spread(alpha):
        counts = [labels[rows].bincount(minlength=10) / len(rows) for rows in dirichlet(labels, 5, alpha)]
        return torch.stack(counts).std(0).mean()

    assert spread(0.3) > 3 * spread(100.0)


def test_private_data_do_not_cross(data):
    clients = clients_of(data)
    proxy = donate(clients, 0.3, Channel())
    assert proxy.inputs.data_ptr() != clients[0].data.inputs.data_ptr()
    assert len(proxy.owner) == sum(max(1, round(0.3 * len(client.data))) for client in clients)
    for c, client in enumerate(clients):
        given = proxy.inputs[proxy.owner == c].flatten(1)
        assert torch.cdist(given, client.data.inputs.flatten(1)).min(1).values.max() < 1e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda data: EdgeFD(tau=-1), "tau is -1"),
        (lambda data: EdgeFD(quantile=2), "quantile is 2"),
        (lambda data: EdgeFD(held_out=1), "held_out is 1"),
        (lambda data: EdgeFD().fit(torch.zeros(1, 2), torch.zeros(1)), "need 2"),
        (lambda data: SelectiveFD(ridge=0), "ridge is 0"),
        (lambda data: by_label(data.train.labels, 3, 11), "classes is 11"),
        (lambda data: dirichlet(data.train.labels, 3, 0), "alpha"),
        (lambda data: dirichlet(torch.zeros(2, dtype=torch.long), 9, 1.0), "gets no example"),
        (lambda data: donate(clients_of(data), 0, Channel()), "share is 0"),
        (lambda data: federate([], None, None, data.test), "clients is empty"),
        (lambda data: run(data, None, rounds=0), "rounds"),
        (lambda data: run(data, None, lr=0), "lr"),
    ],
)
def test_errors_at_the_door(call, message, data):
    with pytest.raises(ValueError, match=message):
        call(data)
