"""The experts that a study of trajectory matching follows, seed by seed: trained together where memory allows it."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from workbench import models
from workbench.condensation import Experts, FlatNetwork, Trajectories
from workbench.data import Dataset

MOST_BYTES = 2 * 2**30
"""Weights kept in memory at most, over all seeds; beyond it each seed's experts are trained by themselves, and their
trajectories stream from a file that is gone when the next seed's turn comes.
"""


def by_seed(
    experts: Experts, data: Dataset, seeds: Sequence[int], *, device: str = "auto"
) -> Iterator[tuple[int, Trajectories]]:
    """Each seed and the trajectories of its experts; at paper scale those are gigabytes.

    Examples
    --------
    >>> import workbench as wb
    >>> experts = Experts(count=2, epochs=1, network="mlp", options={"width": 8, "depth": 1})
    >>> [seed for seed, found in by_seed(experts, wb.data.load("digits"), [3, 5])]
    [3, 5]
    """
    network = FlatNetwork(models.build(experts.network, data, **experts.options))
    size = data.train.inputs.element_size()
    if len(seeds) * experts.count * (experts.epochs + 1) * network.size * size <= MOST_BYTES:
        yield from experts.train_each(data, seeds, device=device, progress=False).items()
        return
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            yield seed, experts.train(data, seed=seed, device=device, path=Path(folder) / "experts", progress=False)
