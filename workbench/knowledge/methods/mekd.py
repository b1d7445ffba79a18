"""MEKD: a teacher that can only be asked is inverted by a generator, and two answers are compared as its two images.

Step 1, deprivatization (`emulate`): a generator G takes an answer y, a point of the simplex, to an input that the
teacher answers so. It is a GAN on local unlabelled inputs x, and what it is asked to draw must be recognised; a
surrogate head C on the discriminator, fitted to the teacher's answers, passes on the gradient that the teacher has not:

    L_D = −log σ(D(x)) − log σ(−D(G(z))) + CE(y_T, C(x_T))                pairs (x_T, y_T) asked of the teacher
    L_G = −log σ(D(G(z))) + α L_IM + η ‖G(y) − x‖₁ / n,                   L_IM = −(1/m) Σ z · log C(G(z)),  z ~ p

Step 2, distillation (`MEKD`, a signal): x' = G(z) is what is sent to the teacher, once, and only the student learns:

    L = (1/m) Σ [ ‖G(S(x')/τ) − G(y_T/τ)‖₁ / n + β KL(y_T ‖ S(x')) ],     S(x')/τ: softmax of the logits divided by τ

Paper 082 (Ma et al. 2024). From an `Oracle`, through its answers seen as images, into a smaller network. The L1 norm is
a mean over the n pixels, so that β does not depend on their number; how G gets past the teacher is our reading.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.data import Dataset, Split
from workbench.kernels import divergence
from workbench.knowledge.teachers.oracle import Oracle
from workbench.models import Outputs
from workbench.signals.numbers import at_least_zero, positive
from workbench.signals.signal import Signal, seeded
from workbench.training import distributed
from workbench.training.guide import train_split


@dataclass(frozen=True)
class MEKD(Signal):
    """Step 2: the student's and the teacher's answer, brought together as images of the frozen generator.

    Attributes
    ----------
    generator
        G: answers (n, classes), points of the simplex, to inputs (n, ...); made by `emulate`. It is not trained.
    temperature
        τ > 0, of both answers before G.
    beta
        β ≥ 0: weight of the divergence of the answers themselves; 0 compares images alone.

    Examples
    --------
    >>> import torch
    >>> from workbench.models import Outputs
    >>> same = Outputs(torch.tensor([[2.0, 0.0, 1.0]]))
    >>> MEKD(torch.nn.Linear(3, 5))(same, same, torch.tensor([0])).tolist()
    [0.0]
    """

    generator: nn.Module = field(repr=False)
    temperature: float = 1.0
    beta: float = 1.0
    complete: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not isinstance(self.generator, nn.Module):
            raise ValueError(f"generator is {self.generator!r}; it must be a network of answers, as emulate makes one")  # noqa: TRY004
        positive(temperature=self.temperature)
        at_least_zero(beta=self.beta)

    def __call__(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002
        """Per-example loss, shape (n,); gradients flow through G into the student alone."""
        z_S, z_T = student.logits, teacher.logits.detach()
        of_student, of_teacher = (self._image((z / self.temperature).softmax(1)) for z in (z_S, z_T))
        apart = (of_student - of_teacher.detach()).abs().flatten(1).mean(1)
        return apart + self.beta * divergence.forward_kl(z_S, z_T) if self.beta else apart

    def _image(self, y: Tensor) -> Tensor:
        own = next(self.generator.parameters(), y)
        if own.device != y.device:
            self.generator.to(y.device)
        image: Tensor = self.generator(y)
        return image


class Emulator(nn.Module):
    """G: answers (n, classes) to inputs (n, *shape) between bounds; two hidden layers, and no normalisation whose
    statistics would change between its training and its use.
    """

    def __init__(self, classes: int, low: Tensor, high: Tensor, width: int = 128) -> None:
        super().__init__()
        self.classes, self.shape = classes, tuple(low.shape)
        self.layers = nn.Sequential(
            nn.Linear(classes, width // 2), nn.LeakyReLU(0.2),
            nn.Linear(width // 2, width), nn.LeakyReLU(0.2),
            nn.Linear(width, low.numel()), nn.Sigmoid(),
        )  # fmt: skip
        self.low: Tensor
        self.span: Tensor
        self.register_buffer("low", low.clone())
        self.register_buffer("span", (high - low).clone())

    def forward(self, y: Tensor) -> Tensor:
        """Inputs, shape (n, *shape)."""
        made: Tensor = self.low + self.span * self.layers(y).unflatten(1, self.shape)
        return made

    def lipschitz(self) -> float:
        """An upper bound of ‖G(a) − G(b)‖₁ / ‖a − b‖₁ from the layers' norms: ReLUs 1, sigmoid ¼ of its span."""
        norms = [
            float(layer.weight.detach().abs().sum(0).max()) for layer in self.layers if isinstance(layer, nn.Linear)
        ]
        return torch.tensor(norms, dtype=torch.float64).prod().item() * float(self.span.max()) / 4


class Discriminator(nn.Module):
    """D and, on the same features, the surrogate head C of the teacher's answers."""

    def __init__(self, classes: int, size: int, width: int = 128) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Flatten(), nn.Linear(size, width), nn.LeakyReLU(0.2), nn.Linear(width, width // 2), nn.LeakyReLU(0.2)
        )
        self.real, self.answer = nn.Linear(width // 2, 1), nn.Linear(width // 2, classes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logit of being real (n,), logits of the teacher's answer (n, classes)."""
        h = self.trunk(x)
        return self.real(h)[:, 0], self.answer(h)


def losses_of_discriminator(discriminator: Discriminator, real: Tensor, made: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """L_D: real inputs, those that G made, and pairs (x_T, y_T)."""
    adversarial = F.softplus(-discriminator(real)[0]).mean() + F.softplus(discriminator(made.detach())[0]).mean()
    return adversarial + F.cross_entropy(discriminator(x)[1], y)


def losses_of_generator(
    G: nn.Module, discriminator: Discriminator, z: Tensor, x: Tensor, y: Tensor, *, alpha: float, inverse: float
) -> Tensor:
    """L_G for drawn answers z, and local inputs x with their answers y."""
    real, answer = discriminator(G(z))
    informative = F.cross_entropy(answer, z)
    regression = (G(y) - x).abs().flatten(1).mean(1).mean()
    return F.softplus(-real).mean() + alpha * informative + inverse * regression


def draw_answers(
    n: int, classes: int, generator: torch.Generator, *, sharpness: float = 5.0, spread: float = 1.5
) -> tuple[Tensor, Tensor]:
    """The prior p(z): softmax(κ e_c + σ ε) with c uniform, shape (n, classes), and the classes c asked for, (n,).

    Examples
    --------
    >>> z, c = draw_answers(4, 3, torch.Generator().manual_seed(0), sharpness=50)
    >>> torch.equal(z.argmax(1), c), z.sum(1)
    (True, tensor([1., 1., 1., 1.]))
    """
    c = torch.randint(classes, (n,), generator=generator)
    noise = torch.randn(n, classes, generator=generator)
    return (sharpness * F.one_hot(c, classes) + spread * noise).softmax(1), c


def emulate(
    oracle: Oracle,
    edge: Dataset | Split,
    *,
    queries: int = 300,
    private: bool = False,
    alpha: float = 1.0,
    inverse: float = 30.0,
    steps: int = 600,
    batch_size: int = 64,
    lr: float = 1e-3,
    sharpness: float = 5.0,
    spread: float = 1.5,
    width: int = 128,
    seed: int = 0,
    device: str = "auto",
) -> Emulator:
    """Step 1: a generator that inverts the teacher, from local unlabelled inputs and some questions.

    Parameters
    ----------
    oracle
        The teacher.
    edge
        Local inputs; their labels are not read.
    queries
        Inputs that the teacher is asked about: local ones, at most all of them (in private: in each of five portions).
    private
        True: no local input is sent. The first quarter of the steps trains C and G to hand inputs through the simplex,
        G(C(x)) ≈ x, without the teacher; it is then asked about such renderings, in five portions. The inverse is far
        weaker, and what is sent may still tell of the inputs that it renders.
    alpha, inverse
        α and η ≥ 0: weights of the information term and of the inverse regression.
    steps, batch_size, lr, width
        Of the two networks and their Adams (β₁ = 0.5).
    sharpness, spread
        κ and σ of `draw_answers`.
    seed
        Of weights, batches and draws.

    Returns
    -------
    Emulator
        Frozen, in eval mode.

    Raises
    ------
    ValueError
        The oracle has fewer questions left than `queries`, or a number is out of range; nothing was asked.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(100)
    >>> oracle = Oracle(wb.models.build("mlp", data), answers="probabilities", budget=50)
    >>> G = emulate(oracle, data, queries=40, private=True, steps=10, device="cpu")
    >>> G(torch.eye(10)).shape, oracle.asked, bool(oracle.was_asked(data.train.inputs).any())
    (torch.Size([10, 1, 8, 8]), 40, False)
    """
    at_least_zero(alpha=alpha, inverse=inverse, spread=spread, sharpness=sharpness)
    positive(queries=queries, steps=steps, batch_size=batch_size, lr=lr)
    if oracle.left is not None and oracle.left < queries:
        raise ValueError(f"queries is {queries}, but the oracle has {oracle.left} left: give it a larger budget")
    place = distributed.pick(device)
    split = train_split(edge)
    inputs, classes = split.inputs.to(place), len(split.classes)
    draws = torch.Generator().manual_seed(seed)
    axes = (0, *range(2, inputs.ndim))
    low, high = (f(inputs, dim=axes, keepdim=True)[0].expand(inputs.shape[1:]) for f in (torch.amin, torch.amax))
    with seeded(draws):
        G, discriminator = (
            Emulator(classes, low.cpu(), high.cpu(), width),
            Discriminator(classes, inputs[0].numel(), width),
        )
    G, discriminator = G.to(place), discriminator.to(place)
    by_G, by_D = (torch.optim.Adam(each.parameters(), lr, betas=(0.5, 0.999)) for each in (G, discriminator))

    def some(x: Tensor) -> Tensor:
        return torch.randint(len(x), (batch_size,), generator=draws)

    warm = steps // 4 if private else 0
    for _ in range(warm):  # C learns to hand inputs through the simplex before any answer says which corner is which
        real = inputs[some(inputs)]
        by_G.zero_grad()
        by_D.zero_grad()
        (G(discriminator(real)[1].softmax(1)) - real).abs().mean().backward()
        by_G.step()
        by_D.step()
    portions = _portions(queries, steps - warm) if private else {0: min(queries, len(inputs))}
    x_T, y_T = inputs[:0], torch.zeros(0, classes, device=place)
    for step in range(steps - warm):
        if step in portions:
            x = inputs[torch.randperm(len(inputs), generator=draws)[: portions[step]]]
            if private:
                with torch.no_grad():
                    x = G(discriminator(x)[1].softmax(1))
            x_T, y_T = torch.cat([x_T, x]), torch.cat([y_T, oracle(x).softmax(1)])
        z = draw_answers(batch_size, classes, draws, sharpness=sharpness, spread=spread)[0].to(place)
        real, pairs = inputs[some(inputs)], some(x_T)
        by_D.zero_grad()
        losses_of_discriminator(discriminator, real, G(z), x_T[pairs], y_T[pairs]).backward()
        by_D.step()
        x, y = (real, discriminator(real)[1].softmax(1).detach()) if private else (x_T[pairs], y_T[pairs])
        by_G.zero_grad()
        losses_of_generator(G, discriminator, z, x, y, alpha=alpha, inverse=inverse).backward()
        by_G.step()
    by_G.zero_grad()
    return G.eval().requires_grad_(False)


def _portions(queries: int, steps: int, rounds: int = 5) -> dict[int, int]:
    """Step → how many questions then: five times, from the first step on."""
    rounds = min(rounds, queries, steps)
    return {k * steps // rounds: queries // rounds + (k < queries % rounds) for k in range(rounds)}


def questions(
    generator: Emulator, oracle: Oracle, like: Dataset | Split, *, queries: int, seed: int = 0, **prior: float
) -> Split:
    """What the student learns on: `queries` inputs x' = G(z), with the teacher's top class as their label; asked once.

    Parameters
    ----------
    generator, oracle
        Of step 1, and the teacher.
    like
        A split whose classes and normalisation the inputs share.
    queries
        How many.
    seed, prior
        Of the draws; `sharpness` and `spread` as for `draw_answers`.
    """
    split = train_split(like)
    z, _ = draw_answers(queries, len(split.classes), torch.Generator().manual_seed(seed), **prior)
    x = generator(z.to(generator.low.device)).detach().to(split.device)
    return Split(x, oracle(x).argmax(1), split.classes, split.mean, split.std, features=split.features)


def wasserstein_1d(a: Tensor, b: Tensor) -> Tensor:
    """W₁ of samples (n, ...) of one line each, of equal number: the mean distance of sorted pairs, shape (...).

    Averaged over classes it reports how far S#μ is from T#μ: 0 where student and teacher are equivalent on μ.

    Examples
    --------
    >>> wasserstein_1d(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 1.0]))
    tensor(1.5000)
    """
    if a.shape != b.shape:
        raise ValueError(f"a and b have shapes {tuple(a.shape)} and {tuple(b.shape)}; they must be equal")
    return (a.sort(0).values - b.sort(0).values).abs().mean(0)
