"""KD³: a teacher whose training data are gone, and only pictures crawled from the web to distil on, which are shifted.

1. Selection by teacher and student together, anew at every epoch: p̄(x) = η p_T(x) + (1 − η) p_S(x), of each predicted
   class the share `keep` of the largest max_c p̄_c; η falls from 1 (the student knows nothing) to ½.
2. The student S = W_T ∘ g ∘ φ_S ends in the teacher's classifier, frozen, behind an adapter g, and its features follow
   the teacher's where both are confident: L_feat = Σ_i w_i ‖g(φ_S(x_i)) − φ_T(x_i)‖² / (n d), w ∝ max_c p̄_c, mean 1.
3. MixDistribution: the image with the channel statistics μ, σ mixed with another's,
       x̃ = (λ σ + (1 − λ) σ') (x − μ) / σ + λ μ + (1 − λ) μ',
   must be known again among the batch's: L_con = InfoNCE(g φ_S(x), g φ_S(x̃)).

    L = τ² KL(p_T^τ ‖ p_S^τ) + a L_feat + b L_con

Paper 026 (ICCV 2023). From a network and images crawled from the web, through chosen images, weighted features and
contrast with shifted copies, into a smaller network. Weights, η and the form of x̃ are inferred.
"""

import copy
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from workbench.data import Dataset, Split
from workbench.kernels import divergence
from workbench.models import observe
from workbench.records import TrainingRecord
from workbench.signals.crd import contrast
from workbench.signals.numbers import at_least_zero, number, positive, share
from workbench.signals.signal import seeded
from workbench.training import distributed, evaluate, fit
from workbench.training.evaluating import logits_of

Selection = Literal["none", "teacher", "dynamic"]


@dataclass(frozen=True)
class KD3:
    """The loss and its switches; the defaults are the whole method.

    Attributes
    ----------
    temperature
        τ > 0, of the soft labels.
    a, b
        Weights ≥ 0 of alignment and contrast; 0 leaves it out.
    selection
        ``"dynamic"``: by teacher and student; ``"teacher"``: by the teacher alone, η = 1; ``"none"``: all images.
    keep
        Share of each predicted class that is kept, in (0, 1].
    shared
        The student ends in the teacher's classifier; False: in its own.
    weighted
        Whether confidence weighs the alignment; False: w = 1.
    contrast_temperature
        > 0, of InfoNCE.
    """

    temperature: float = 4.0
    a: float = 1.0
    b: float = 1.0
    selection: Selection = "dynamic"
    keep: float = 0.6
    shared: bool = True
    weighted: bool = True
    contrast_temperature: float = 0.2

    def __post_init__(self) -> None:
        positive(temperature=self.temperature, contrast_temperature=self.contrast_temperature)
        at_least_zero(a=self.a, b=self.b)
        number("keep", self.keep, lambda x: 0 < x <= 1, "a share above 0 and up to 1")
        if self.selection not in ("none", "teacher", "dynamic"):
            raise ValueError(f"selection is {self.selection!r}; it can be none, teacher or dynamic")

    def losses(self, z_S: Tensor, z_T: Tensor, f_S: Tensor, f_T: Tensor, f_mixed: Tensor | None, w: Tensor) -> Tensor:
        """L per example, (n,): logits (n, classes), adapted and teacher's features (n, d), those of x̃, weights (n,)."""
        tau = self.temperature
        loss = tau**2 * divergence.forward_kl(z_S, z_T.detach(), student_temperature=tau, teacher_temperature=tau)
        if self.a:
            loss = loss + self.a * (w if self.weighted else 1.0) * (f_S - f_T.detach()).square().mean(1)
        if self.b and f_mixed is not None:
            one, other = (nn.functional.normalize(f, dim=1) for f in (f_S, f_mixed))
            loss = loss + self.b * contrast(one, other, self.contrast_temperature)
        return loss


def combined(z_T: Tensor, z_S: Tensor, eta: float) -> Tensor:
    """p̄ = η p_T + (1 − η) p_S, shape (n, classes)."""
    share(eta=eta)
    return eta * z_T.softmax(1) + (1 - eta) * z_S.softmax(1)


def select(p: Tensor, keep: float) -> Tensor:
    """Rows of the most confident share `keep` of each predicted class, at least one, ascending; p (n, classes).

    Examples
    --------
    >>> select(torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.7, 0.3]]), keep=0.5)
    tensor([0, 2, 3])
    """
    confidence, predicted = p.max(1)
    chosen = []
    for c in predicted.unique():
        rows = (predicted == c).nonzero()[:, 0]
        count = max(1, round(keep * len(rows) + 1e-9))
        chosen.append(rows[confidence[rows].argsort(descending=True, stable=True)[:count]])
    return torch.cat(chosen).sort().values


def statistics(x: Tensor) -> tuple[Tensor, Tensor]:
    """μ and σ of each image and channel, (n, c, 1, 1); of a row of a table over its features, (n, 1)."""
    axes = tuple(range(2, x.ndim)) or (1,)
    return x.mean(axes, keepdim=True), x.std(axes, keepdim=True, correction=0)


def mix_distribution(x: Tensor, mu: Tensor, sigma: Tensor, lam: Tensor | float) -> Tensor:
    """x̃: the content of x under the mixture of its statistics, of share λ, with μ' and σ'.

    A channel without contrast has no content; it becomes the mixed mean.
    """
    own_mu, own_sigma = statistics(x)
    content = (x - own_mu) / torch.where(own_sigma > 0, own_sigma, 1.0)
    return (lam * own_sigma + (1 - lam) * sigma) * content + lam * own_mu + (1 - lam) * mu


class WebStudent(nn.Module):
    """S: the student's layers, an adapter g to the teacher's features, and a classifier, the teacher's or its own.

    Parameters
    ----------
    student, teacher
        Networks with `penultimate`, the layer that their last linear layer reads; the teacher is not changed.
    inputs
        A batch, for the shapes.
    shared
        The teacher's classifier, frozen; False: the student's own.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, inputs: Tensor, *, shared: bool, seed: int = 0) -> None:
        super().__init__()
        self.encoder, self.layer = student, str(student.penultimate)
        narrow, wide = features(student, inputs)[1].shape[1], features(teacher, inputs)[1].shape[1]
        with seeded(torch.Generator().manual_seed(seed)):
            self.adapter = nn.Linear(narrow, wide)
        self.classifier = copy.deepcopy(head_of(teacher)).requires_grad_(False) if shared else None

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and g(φ_S(x))."""
        seen = observe(self.encoder, self.layer)(x)
        f: Tensor = self.adapter(seen.features[self.layer].flatten(1))
        return (seen.logits if self.classifier is None else self.classifier(f)), f

    def forward(self, x: Tensor) -> Tensor:
        return self.both(x)[0]


@torch.no_grad()
def features(network: nn.Module, x: Tensor, batch_size: int = 512) -> tuple[Tensor, Tensor]:
    """Logits and what the last linear layer reads, (n, d), without gradient."""
    layer = str(network.penultimate)
    seen = [observe(network, layer)(some) for some in x.split(batch_size)]
    return torch.cat([one.logits for one in seen]), torch.cat([one.features[layer].flatten(1) for one in seen])


def head_of(network: nn.Module) -> nn.Linear:
    """The last linear layer, which scores the classes."""
    linear = [module for module in network.modules() if isinstance(module, nn.Linear)]
    if not linear or not hasattr(network, "penultimate"):
        raise ValueError(f"teacher is a {type(network).__name__}; it must have penultimate and a linear head")
    return linear[-1]


@dataclass(frozen=True, eq=False)
class FromWeb:
    """What `distil_from_web` leaves: the student, its test accuracy in 0..1, and what epochs kept, bool (epochs, n)."""

    record: TrainingRecord
    accuracy: float
    kept: Tensor


def distil_from_web(
    teacher: nn.Module | TrainingRecord,
    student: nn.Module,
    pool: Split,
    settings: KD3 | None = None,
    *,
    test: Split,
    steps: int = 600,
    batch_size: int = 128,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "auto",
    name: str = "",
) -> FromWeb:
    """Train a student on what a teacher says about a pool of unlabelled, shifted images.

    Parameters
    ----------
    teacher, student
        Networks with `penultimate`; the student becomes part of what is returned.
    pool
        Unlabelled images; labels are not read.
    settings
        See `KD3`.
    test
        Judges the student at the end.
    steps, batch_size, lr, seed
        Of training by Adam; an epoch is a pass over what is kept, with a new selection before each.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits").subset(100)
    >>> teacher, small = (wb.models.build("convnet", data, width=width) for width in (8, 4))
    >>> pool = wb.data.web_pool(data, 60).split
    >>> found = distil_from_web(teacher, small, pool, test=data.test, steps=3, batch_size=32)
    >>> found.kept.shape, 0.5 < found.kept.float().mean() < 0.75
    (torch.Size([3, 60]), tensor(True))
    """
    wanted = settings or KD3()
    positive(steps=steps, batch_size=batch_size, lr=lr)
    place = distributed.pick(device)
    network = (teacher.model if isinstance(teacher, TrainingRecord) else teacher).to(place).eval()
    inputs = pool.inputs.to(place)
    draws = torch.Generator().manual_seed(seed)
    S = WebStudent(student.to(place), network, inputs[:2], shared=wanted.shared, seed=seed).to(place).train()
    z_T, f_T = features(network, inputs)
    optimizer = torch.optim.Adam([p for p in S.parameters() if p.requires_grad], lr)
    per_epoch = max(1, int((wanted.keep if wanted.selection != "none" else 1) * len(inputs)) // batch_size)
    kept: list[Tensor] = []
    epochs, done = -(-steps // per_epoch), 0
    while done < steps:
        eta = 1 - 0.5 * len(kept) / max(1, epochs - 1) if wanted.selection == "dynamic" else 1.0
        p = combined(z_T, logits_of(S, inputs), max(eta, 0.5))
        rows = torch.arange(len(inputs)) if wanted.selection == "none" else select(p, wanted.keep).cpu()
        kept.append(torch.zeros(len(inputs), dtype=torch.bool).index_fill(0, rows, True))
        w = p.amax(1)
        order = rows[torch.randperm(len(rows), generator=draws)]
        for some in order.split(batch_size)[: min(max(1, len(rows) // batch_size), steps - done)]:
            x = inputs[some]
            z_S, f_S = S.both(x)
            f_mixed = None
            if wanted.b:
                partner = inputs[some[torch.randperm(len(some), generator=draws)]]
                lam = torch.rand(len(some), *[1] * (x.ndim - 1), generator=draws).to(place)
                f_mixed = S.both(mix_distribution(x, *statistics(partner), lam))[1]
            weight = w[some] / w[some].mean()
            loss = wanted.losses(z_S, z_T[some], f_S, f_T[some], f_mixed, weight).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            done += 1
    record = fit(S, Dataset("web", pool, test), steps=0, progress=False, device=device, name=name)
    return FromWeb(record, evaluate(S, test)["accuracy"], torch.stack(kept))
