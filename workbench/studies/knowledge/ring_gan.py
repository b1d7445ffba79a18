"""A GAN on a ring of eight Gaussians, whose discriminator follows a teacher's features: how many modes does it cover?

The small stand-in for the generation experiments of paper 054. The teacher classifies points by mode; the discriminator
learns, beside its own task, to match the teacher's hidden features through an orthogonal projector:

    L_D = −log σ(D(x)) − log σ(−D(G(z))) + SmoothL1(P h_D(x), z̄_t(x)),     L_G = −log σ(D(G(z)))

All seeds and all normalisations z̄_t train as one.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, smooth_l1_loss

from workbench.knowledge.methods.vkd import Normalisation, standardise, whiten

Draw = Callable[..., Tensor]
MODES, RADIUS, WIDTH = 8, 2.0, 0.1
TEACHER_WIDTH, DISCRIMINATOR_WIDTH = 32, 32


def modes_covered(
    normalisations: Sequence[Normalisation], seeds: Sequence[int], *, steps: int = 1000, examples: int = 512
) -> dict[Normalisation, list[int]]:
    """Train one GAN per normalisation and seed, and count the modes that its samples reach.

    Parameters
    ----------
    normalisations
        Of the teacher's features: ``"none"``, ``"standardise"`` or ``"whiten"``.
    seeds
        Each draws its own training points, initial weights and noise, the same for every normalisation.
    steps
        Of discriminator and generator in turn.
    examples
        Training points.

    Returns
    -------
    dict
        Normalisation → modes covered (0..8), one per seed. A mode is covered when at least 1 % of 2,000 samples lie
        within three widths of its centre.

    Examples
    --------
    >>> modes_covered(("whiten",), seeds=[0], steps=2)["whiten"][0] <= 8
    True
    """
    arms, count = len(normalisations), len(seeds)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def drawn(*shape: int) -> Tensor:
        """Normal draws (arms · seeds, *shape), the same in each arm."""
        return torch.stack([torch.randn(*shape, generator=g) for g in generators]).repeat(arms, *[1] * len(shape))

    modes = torch.stack([torch.randint(MODES, (examples,), generator=g) for g in generators]).repeat(arms, 1)
    points = _centres()[modes] + WIDTH * drawn(examples, 2)
    teacher = _teacher(points[:count], modes[:count], drawn)
    real_features = teacher.hidden(points[:count]).detach().repeat(arms, 1, 1)
    targets = torch.cat([
        _normalised(kind, part) for kind, part in zip(normalisations, real_features.chunk(arms), strict=True)
    ])  # fmt: skip
    D, G = Perceptrons(drawn, (2, 64, DISCRIMINATOR_WIDTH, 1)), Perceptrons(drawn, (2, 64, 64, 2))
    A = nn.Parameter(drawn(TEACHER_WIDTH, TEACHER_WIDTH) * TEACHER_WIDTH**-0.5)
    for_D = torch.optim.Adam([*D.parameters(), A], lr=1e-3, betas=(0.5, 0.999))
    for_G = torch.optim.Adam(G.parameters(), lr=1e-3, betas=(0.5, 0.999))
    for _ in range(steps):
        rows = torch.stack([torch.randint(examples, (64,), generator=g) for g in generators]).repeat(arms, 1)
        members = torch.arange(arms * count)[:, None]
        x, target = points[members, rows], targets[members, rows]
        fake = G(drawn(64, 2))
        P = torch.linalg.matrix_exp(A - A.mT)[:, :, :DISCRIMINATOR_WIDTH]
        h = D.hidden(x)
        followed = smooth_l1_loss(h @ P.mT, target, reduction="none").mean((1, 2))
        loss = -logsigmoid(D.last(h)).mean((1, 2)) - logsigmoid(-D(fake.detach())).mean((1, 2)) + followed
        for_D.zero_grad()
        loss.sum().backward()
        for_D.step()
        for_G.zero_grad()
        (-logsigmoid(D(fake)).mean((1, 2))).sum().backward()
        for_G.step()
    with torch.no_grad():
        reached = torch.cdist(G(drawn(2000, 2)), _centres()) < 3 * WIDTH
    covered = (reached.float().mean(1) >= 0.01).sum(1).reshape(arms, count)
    return {kind: [int(value) for value in row] for kind, row in zip(normalisations, covered, strict=True)}


class Perceptrons(nn.Module):
    """Many perceptrons of one shape as one: (members, n, inputs) → (members, n, outputs), ReLU between layers.

    Parameters
    ----------
    drawn
        Gives normal draws (members, *shape).
    sizes
        Units per layer, inputs and outputs included.
    """

    def __init__(self, drawn: Draw, sizes: Sequence[int]) -> None:
        super().__init__()
        self.weights = nn.ParameterList([
            nn.Parameter(drawn(a, b) * (2 / a) ** 0.5) for a, b in pairwise(sizes)
        ])  # fmt: skip
        self.biases = nn.ParameterList([nn.Parameter(torch.zeros(len(w), 1, w.shape[2])) for w in self.weights])

    def hidden(self, x: Tensor) -> Tensor:
        """Features of the last hidden layer, (members, n, width)."""
        for weight, bias in zip(list(self.weights)[:-1], self.biases, strict=False):
            x = torch.baddbmm(bias, x, weight).relu()
        return x

    def last(self, h: Tensor) -> Tensor:
        """Outputs from the last hidden layer."""
        return torch.baddbmm(self.biases[-1], h, self.weights[-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.hidden(x))


def _teacher(points: Tensor, modes: Tensor, drawn: Draw) -> Perceptrons:
    """Classifiers of the mode, one per seed."""
    teacher = Perceptrons(lambda *shape: drawn(*shape)[: len(points)], (2, 64, TEACHER_WIDTH, MODES))
    optimizer = torch.optim.Adam(teacher.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(teacher(points).flatten(0, 1), modes.flatten(), reduction="sum")
        (loss / points.shape[1]).backward()
        optimizer.step()
    return teacher


def _normalised(kind: Normalisation, features: Tensor) -> Tensor:
    """The teacher's features (seeds, n, width); whitening is over each seed's training points."""
    match kind:
        case "standardise":
            return standardise(features)
        case "whiten":
            return torch.stack([whiten(part) for part in features])
    return features


def _centres() -> Tensor:
    angle = 2 * torch.pi * torch.arange(MODES) / MODES
    return RADIUS * torch.stack([angle.cos(), angle.sin()], 1)
