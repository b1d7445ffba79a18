"""Clients that know a class or three each: does it help that each speaks only for what is near its own data?

Paper 045, EdgeFD, against no filter (FedMD), a ratio of densities (Selective-FD), one's own donations, learning alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from workbench import federated
from workbench.data import Dataset
from workbench.federated import Channel, Client, EdgeFD, Federation, FedMD, OwnDonations, Proxy, SelectiveFD
from workbench.records import Claim
from workbench.studies.kit.claims import Estimate, asserted, estimate, reported
from workbench.studies.kit.recipes import Network
from workbench.studies.kit.study import Outcome, Setting, study

ALONE, ALL, EDGE, DENSITY, OWN = "alone", "FedMD", "EdgeFD", "Selective-FD", "own donations"
STRONG, WEAK, EVEN, PUBLIC = "one class each", "three classes each", "all classes each", "one class each, public proxy"
LESS = "The card measured larger gains; its learning rate is not known, and no filter is better here than there."
Found = dict[tuple[str, str, int], Federation]


@dataclass(frozen=True)
class Scale:
    """What a budget buys: how many clients, and of which networks in turn; the share they donate, or public points that
    nobody did; rounds and their steps; and the pooled model.
    """

    networks: tuple[Network, ...]
    pooled: Network
    clients: int = 10
    share: float = 0.2
    public: int = 200
    rounds: int = 25
    local_steps: int = 5
    distil_steps: int = 10
    batch: int = 32
    lr: float = 5e-3


@study(
    seeds=(3, 5),
    small=Scale((Network("mlp", {"width": [64]}), Network("mlp", {"width": [48, 48]})),
                Network("mlp", {"width": [64]}, {"epochs": 20})),
    full=Scale((Network("convnet", {"width": 32}), Network("convnet", {"width": 48, "depth": 2})),
               Network("convnet", {"width": 32}, {"epochs": 20}), public=2000, rounds=100, local_steps=50,
               distil_steps=50, batch=64, lr=1e-3),
    data_full="mnist",
    deviates=(
        "small: perceptrons of one and of two hidden layers, on 8×8 digits",
        "k-means on pixels, without a pre-trained feature extractor, so not for natural images",
        "the threshold is a 95 % quantile of held-out distances, stage 1 keeps own donations: read into the paper",
        "without FedAvg: clients have different networks, whose weights have no average",
    ),
    cost="not measured: 100 rounds of 100 steps of ten ConvNets for each of 12 runs and 5 seeds",
)  # fmt: skip
def run(s: Setting[Dataset, Scale]) -> Outcome:
    """Three ways to part the data with donated proxy points, one with public ones; a pooled model as the ceiling."""
    size = s.scale
    ceiling = size.pooled.trained(s.data, seed=1000, device=s.device, name="pooled")
    tried: dict[str, Mapping[str, Any]] = {
        STRONG: {ALONE: None, ALL: FedMD(), EDGE: EdgeFD(), DENSITY: SelectiveFD(), OWN: OwnDonations()},
        WEAK: {ALONE: None, ALL: FedMD(), EDGE: EdgeFD(), OWN: OwnDonations()},
        EVEN: {EDGE: EdgeFD()},
        PUBLIC: {ALL: FedMD(), EDGE: EdgeFD(own=False)},
    }
    found: Found = {}
    for parted, methods in tried.items():
        for name, method in methods.items():
            for seed in s.seeds:
                found[parted, name, seed] = once(s, parted, method, seed)
        s.tell(parted)
    rows = [
        {
            "data of a client": parted, "method": name, "seed": seed,
            "accuracy": float(one.accuracy[-1].mean()), "worst client": float(one.accuracy[-1].min()),
            "coverage": one.coverage, "precision": one.precision,
            "soft labels up, bytes a round": one.channel.bytes(way="up", kind="soft labels") / size.rounds,
            "averages down, bytes a round": one.channel.bytes(way="down", kind="averages") / size.rounds,
            "donated data, bytes": one.channel.bytes(kind="donated data"),
        }
        for (parted, name, seed), one in found.items()
    ]  # fmt: skip
    return Outcome(
        rows, claims=claims(found, s.seeds), records={"pooled": ceiling},
        settings={"clients": size.clients, "rounds": size.rounds, "pooled accuracy": ceiling.accuracy},
    )  # fmt: skip


def once(s: Setting[Dataset, Scale], parted: str, method: Any, seed: int) -> Federation:
    """One run of all clients."""
    size = s.scale
    train, test = s.data.train, s.data.test
    count = len(s.data.classes)
    channel = Channel()
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    public = order[: min(size.public, len(train) // 4)] if parted == PUBLIC else order[:0]
    own = train.take(order[len(public) :])
    held = {STRONG: 1, PUBLIC: 1, WEAK: min(3, count), EVEN: count}[parted]
    clients = [
        Client(size.networks[c % len(size.networks)](s.data, seed=1000 * seed + c), own.take(rows))
        for c, rows in enumerate(_parts(own.labels, size.clients, held, seed))
    ]
    if len(public):
        points = train.take(public)
        proxy = Proxy(points.inputs, torch.full((len(points),), -1), points.labels)
    else:
        proxy = federated.donate(clients, size.share, channel, seed=seed)
    return federated.federate(
        clients, method, proxy, test, rounds=size.rounds, local_steps=size.local_steps, lr=size.lr,
        distil_steps=size.distil_steps, batch=size.batch, channel=channel, seed=seed,
    )  # fmt: skip


def _parts(labels: Tensor, clients: int, held: int, seed: int) -> list[Tensor]:
    return federated.by_label(labels, clients, held, seed=seed)


def claims(found: Found, seeds: list[int]) -> list[Claim]:
    """The card's."""

    def accuracy(parted: str, name: str, seed: int) -> float:
        return float(found[parted, name, seed].accuracy[-1].mean())

    def more(parted: str, one: str, other: str) -> Estimate:
        return estimate([accuracy(parted, one, k) - accuracy(parted, other, k) for k in seeds])

    even = estimate([accuracy(STRONG, EDGE, k) - accuracy(EVEN, EDGE, k) for k in seeds])
    return [
        asserted("EdgeFD beats no filter (FedMD), one class each", more(STRONG, EDGE, ALL), ">", 0.0),
        reported("… by 8 points", more(STRONG, EDGE, ALL), ">=", 0.08, LESS),
        reported("EdgeFD beats no filter by 4 points, three classes each", more(WEAK, EDGE, ALL), ">=", 0.04, LESS),
        asserted("EdgeFD beats learning alone by 50 points, one class each", more(STRONG, EDGE, ALONE), ">=", 0.5),
        asserted("EdgeFD with one class each is within 6 points of EdgeFD with all", even, ">=", -0.06),
        reported("One's own donations alone (stage 1) are at least as good", more(STRONG, OWN, EDGE), ">=", 0.0),
        reported("On a public proxy set, where stage 1 has nothing, centroids beat no filter",
                 more(PUBLIC, EDGE, ALL), ">", 0.0),
        reported("Selective-FD is within 3 points of EdgeFD, one class each",
                 more(STRONG, DENSITY, EDGE), ">=", -0.03),
    ]  # fmt: skip
