"""`federate`: rounds of federated distillation among clients of different networks.

    each round   1. every client learns from its own data
                 2. it uploads what it says of the proxy points that its filter keeps, m_c(x) = 1
                 3. the server averages, p̄(x) = Σ_c m_c(x) p_c(x) / Σ_c m_c(x), and drops what nobody claimed
                 4. every client distils p̄ on the points that are left

Clients of one architecture are trained as one `workbench.training.Ensemble`; no weights cross the channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from workbench.data import Split
from workbench.federated.making.channel import Channel
from workbench.models import Outputs
from workbench.training import Ensemble, doors


class Filter(Protocol):
    """What a client decides by, once fitted: (proxy points (n, …), which are its own donations (n,)) → m_c (n,)."""

    def __call__(self, proxy: Tensor, own: Tensor) -> Tensor: ...


class Method(Protocol):
    """How clients choose what they speak for. A method with a function ``clear(p̄) -> (n,) bool`` also drops points at
    the server.
    """

    def fit(self, inputs: Tensor, labels: Tensor, *, seed: int) -> Filter:
        """The filter of one client's data."""


@dataclass
class Client:
    """A network and its private data; nobody else sees either."""

    network: nn.Module
    data: Split


@dataclass(frozen=True)
class Proxy:
    """Points that all clients have.

    Attributes
    ----------
    inputs
        (n, …).
    owner
        Client that donated each, (n,); −1: nobody did, the point is public.
    labels
        Classes where they are known, (n,): to judge the filter by, never read by a client.
    """

    inputs: Tensor
    owner: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Federation:
    """What a run leaves.

    Attributes
    ----------
    accuracy
        Of each client on the test split after each round, (rounds, clients), 0..1.
    masks
        m_c of each proxy point, (clients, n) bool; they do not change over rounds.
    coverage, precision
        Share of proxy points that somebody claims; and of all kept (client, point) pairs, where the client is right in
        the last round; NaN where none is kept.
    channel
        What crossed.
    networks
        The clients', trained.
    """

    accuracy: Tensor
    masks: Tensor
    coverage: float
    precision: float
    channel: Channel
    networks: tuple[nn.Module, ...]


def donate(clients: Sequence[Client], share: float, channel: Channel, *, seed: int = 0) -> Proxy:
    """The proxy set of what each client gives away of its raw data, which is a cost to privacy that the channel shows.

    Parameters
    ----------
    clients
        They keep what they donate.
    share
        α of each client's examples, in 0..1 and at least one of them.
    channel
        Counts the donations and the broadcast.

    Raises
    ------
    ValueError
        The share is not in 0..1 (0 excluded).
    """
    if not 0 < doors.number("share", share) <= 1:
        raise ValueError(f"share is {share}; it must be above 0 and at most 1")
    generator = torch.Generator().manual_seed(seed)
    inputs, owner, labels = [], [], []
    for c, client in enumerate(clients):
        n = len(client.data)
        rows = torch.randperm(n, generator=generator)[: max(1, round(share * n))]
        (sent,) = channel.up(0, c, "donated data", [client.data.inputs[rows]])
        inputs.append(sent)
        owner.append(torch.full((len(rows),), c))
        labels.append(client.data.labels[rows])
    proxy = Proxy(torch.cat(inputs), torch.cat(owner), torch.cat(labels))
    for c in range(len(clients)):
        channel.down(0, c, "proxy data", [proxy.inputs])
    return proxy


def average(p: Tensor, m: Tensor) -> tuple[Tensor, Tensor]:
    """p̄ of the points that somebody claims, and their rows.

    Parameters
    ----------
    p
        What each client says, (clients, n, classes).
    m
        For which points it speaks, (clients, n) bool.

    Examples
    --------
    >>> p = torch.tensor([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> mean, rows = average(p, torch.tensor([[True, False], [True, False]]))
    >>> mean.tolist(), rows.tolist()
    ([[0.5, 0.5]], [0])
    """
    speakers = m.sum(0)
    rows = speakers.nonzero().flatten()
    total = torch.where(m[..., None], p, torch.zeros_like(p)).sum(0)
    return total[rows] / speakers[rows, None], rows


def federate(
    clients: Sequence[Client],
    method: Method | None,
    proxy: Proxy,
    test: Split,
    *,
    rounds: int = 25,
    local_steps: int = 5,
    distil_steps: int = 10,
    batch: int = 32,
    lr: float = 3e-3,
    channel: Channel | None = None,
    seed: int = 0,
) -> Federation:
    """Train clients in rounds, in place.

    Parameters
    ----------
    clients
        Of any networks over the same classes.
    method
        `EdgeFD`, `SelectiveFD`, `FedMD`, `OwnDonations`; None: every client learns by itself.
    proxy
        What soft labels are exchanged on.
    test
        What every client is judged on after each round.
    rounds, local_steps, distil_steps, batch, lr
        Of Adam; batches are drawn with replacement.
    channel
        Goes on with one in which `donate` has counted; None: a fresh one.
    seed
        Of batches and filters.

    Raises
    ------
    ValueError
        There is no client, a client has no example, or a number is out of its range.
    """
    if not clients:
        raise ValueError("clients is empty: there is nobody to train")
    doors.whole("rounds", rounds, 1)
    doors.whole("local_steps", local_steps, 0)
    doors.whole("distil_steps", distil_steps, 0)
    channel = Channel() if channel is None else channel
    classes = len(test.classes)
    groups = _groups(clients, lr)
    generator = torch.Generator().manual_seed(seed)
    own = [proxy.owner == c for c in range(len(clients))]
    masks = torch.zeros(len(clients), len(proxy.owner), dtype=torch.bool)
    if method is not None:
        for c, client in enumerate(clients):
            masks[c] = method.fit(client.data.inputs, client.data.labels, seed=seed)(proxy.inputs, own[c])
    hot = [nn.functional.one_hot(client.data.labels, classes).to(client.data.inputs) for client in clients]
    accuracy = []
    said = torch.zeros(len(clients), len(proxy.owner), classes)
    for round_ in range(1, rounds + 1):
        for _ in range(local_steps):
            draws = [torch.randint(len(client.data), (batch,), generator=generator) for client in clients]
            for members, ensemble in groups:
                inputs = torch.stack([clients[c].data.inputs[draws[c]] for c in members])
                _step(ensemble, inputs, torch.stack([hot[c][draws[c]] for c in members]))
        for members, ensemble in groups:
            said[members] = ensemble.outputs(proxy.inputs, per_member=False).logits.softmax(-1).to(said)
        if method is not None:
            mean, rows = _exchange(method, said, masks, channel, round_)
            for _ in range(distil_steps if len(rows) else 0):
                draws = [torch.randint(len(rows), (batch,), generator=generator) for _ in clients]
                for members, ensemble in groups:
                    inputs = torch.stack([proxy.inputs[rows[draws[c]]] for c in members])
                    _step(ensemble, inputs, torch.stack([mean[draws[c]] for c in members]))
        accuracy.append(_judged(groups, test, len(clients)))
    for members, ensemble in groups:
        for place in range(len(members)):
            ensemble.member(place)  # puts the trained weights into the client's network
    right = (said.argmax(-1) == proxy.labels)[masks].double()
    return Federation(
        torch.stack(accuracy),
        masks,
        float(masks.any(0).double().mean()),
        float(right.mean()),
        channel,
        tuple(client.network for client in clients),
    )


def soft_cross_entropy(outputs: Outputs, guide: Outputs | None, labels: Tensor) -> Tensor:  # noqa: ARG001
    """−Σ_k p_k log softmax(s)_k of each example, with the targets p as the guide's logits."""
    assert guide is not None
    return -(guide.logits * outputs.logits.log_softmax(-1)).sum(-1)


def _judged(groups: list[tuple[list[int], Ensemble]], test: Split, clients: int) -> Tensor:
    """Accuracy of each client, (clients,)."""
    scores = torch.zeros(clients)
    for members, ensemble in groups:
        right = ensemble.outputs(test.inputs, per_member=False).logits.argmax(-1) == test.labels
        scores[members] = right.float().mean(1).to(scores)
    return scores


def _step(ensemble: Ensemble, inputs: Tensor, targets: Tensor) -> None:
    ensemble.step(inputs, targets.argmax(-1), Outputs(targets))


def _exchange(method: Method, said: Tensor, masks: Tensor, channel: Channel, round_: int) -> tuple[Tensor, Tensor]:
    """Uploads, the server's average, and what every client gets of it: (p̄, rows)."""
    heard = torch.zeros_like(said)
    for c in range(len(said)):
        rows = masks[c].nonzero().flatten()
        at, p = channel.up(round_, c, "soft labels", [rows.int(), said[c, rows]])
        heard[c, at.long()] = p
    mean, rows = average(heard, masks)
    clear: Any = getattr(method, "clear", None)
    if clear is not None:
        sure = clear(mean)
        mean, rows = mean[sure], rows[sure]
    for c in range(len(said)):
        channel.down(round_, c, "averages", [rows.int(), mean])
    return mean, rows


def _groups(clients: Sequence[Client], lr: float) -> list[tuple[list[int], Ensemble]]:
    """Clients of one architecture together."""
    found: dict[str, list[int]] = {}
    for c, client in enumerate(clients):
        if not len(client.data):
            raise ValueError(f"client {c} has no example")
        shapes = [(name, tuple(value.shape)) for name, value in client.network.state_dict().items()]
        found.setdefault(f"{client.network!r} {shapes}", []).append(c)
    made = []
    for members in found.values():
        ensemble = Ensemble([clients[c].network for c in members])
        ensemble.prepare(loss=soft_cross_entropy, optimizer="adam", lr=doors.number("lr", lr, above=0))
        made.append((members, ensemble))
    return made
