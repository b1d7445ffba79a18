"""How data are parted among clients: by label, by Dirichlet's law, or evenly."""

import torch
from torch import Tensor

from workbench.training import doors


def by_label(labels: Tensor, clients: int, classes: int, *, seed: int = 0) -> list[Tensor]:
    """Each client holds some classes alone or shares them: client c those numbered c, c + 1, … (modulo all).

    Parameters
    ----------
    labels
        Class of each example, (n,).
    clients
        How many.
    classes
        That each of them holds: 1 is as unlike as can be, all of them even.
    seed
        Of who gets which examples of a class.

    Returns
    -------
    list of Tensor
        Rows of each client: every example of a class that somebody holds belongs to one client.

    Raises
    ------
    ValueError
        There are fewer classes than `classes`, or a client would have no example.

    Examples
    --------
    >>> [rows.tolist() for rows in by_label(torch.tensor([0, 1, 0, 1]), clients=2, classes=1)]
    [[0, 2], [1, 3]]
    """
    held = labels.unique().tolist()
    wanted = doors.whole("classes", classes, 1)
    if wanted > len(held):
        raise ValueError(f"classes is {classes}; the data have {len(held)}")
    owners: dict[int, list[int]] = {label: [] for label in held}
    for client in range(doors.whole("clients", clients, 1)):
        for step in range(wanted):
            owners[held[(client + step) % len(held)]].append(client)
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in range(clients)]
    for label, owned in owners.items():
        rows = (labels == label).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        for place, client in enumerate(owned):
            parts[client].append(rows[place :: len(owned)])
    return _whole(parts)


def dirichlet(labels: Tensor, clients: int, alpha: float, *, seed: int = 0) -> list[Tensor]:
    """Shares of each class among clients are drawn from Dirichlet(α, …, α): the smaller α, the more unlike.

    Parameters
    ----------
    labels
        Class of each example, (n,).
    clients
        How many.
    alpha
        α > 0.
    seed
        Of shares and examples.

    Raises
    ------
    ValueError
        α is not positive, or a client got no example: take a larger α or another seed.
    """
    doors.number("alpha", alpha, above=0)
    count = doors.whole("clients", clients, 1)
    generator = torch.Generator().manual_seed(seed)
    parts: list[list[Tensor]] = [[] for _ in range(count)]
    for label in labels.unique().tolist():
        rows = (labels == label).nonzero().flatten()
        rows = rows[torch.randperm(len(rows), generator=generator)]
        concentration = torch.full((count,), float(alpha), dtype=torch.float64)
        shares = torch._sample_dirichlet(concentration, generator=generator)  # noqa: SLF001 - takes a generator
        ends = (shares.cumsum(0) * len(rows)).round().long().tolist()
        ends[-1] = len(rows)
        for client, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            parts[client].append(rows[start:end])
    return _whole(parts)


def _whole(parts: list[list[Tensor]]) -> list[Tensor]:
    found = [torch.cat(part).sort().values if part else torch.empty(0, dtype=torch.long) for part in parts]
    for client, rows in enumerate(found):
        if not len(rows):
            raise ValueError(f"client {client} of {len(found)} gets no example: take fewer clients, or part otherwise")
    return found
