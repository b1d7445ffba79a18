"""OFA-KD: every stage of the student answers for itself, in logits, to a teacher of whatever architecture.

Features of a CNN, a transformer and a mixer are too unlike to be matched. So each stage of the student gets a small
exit branch (for training only), all exits are compared with the teacher's final prediction, and the true class is
strengthened adaptively, which keeps the other architecture's dark knowledge from disturbing:

    ℓ_ε(s, p) = −Σ_c [(p_c + m_c)^ε − m_c] log s_c                                        (`adaptive_target_loss`)
    L = w_gt CE(s_final, y) + w_kd ℓ_ε(s_final, p) + w_ofa Σ_k ℓ_{ε_k}(s_k, p)

with s the student's and p the teacher's softmax at temperature T (no T² factor), m the one-hot label, ε ≥ 1.
Paper 034 (Hao et al. 2023), Eq. 5 to 7; the branches are those of the authors' code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.models import Outputs
from workbench.models.patches import TransformerBlock
from workbench.signals.features import Layers, as_tuple, named
from workbench.signals.signal import Signal, seeded


def target_weights(teacher: Tensor, labels: Tensor, exponent: float = 1.0) -> Tensor:
    """What each class weighs in ℓ_ε: ``w_y = (1 + p_y)^ε − 1`` for the true class, ``w_c = p_c^ε`` elsewhere.

    Parameters
    ----------
    teacher
        The teacher's probabilities p, shape (n, classes).
    labels
        Shape (n,), int64; or mixed labels of shape (n, classes), whose largest entry counts as the true class.
    exponent
        ε ≥ 1. At 1 the weights are p itself; above, the true class gains and the others fade, the more so the surer
        the teacher is.

    Returns
    -------
    Tensor
        Shape (n, classes). The weights do not add up to 1: ε is no renormalised target.

    Example
    -------
    >>> target_weights(torch.tensor([[0.5, 0.5]]), torch.tensor([0]), exponent=2)
    tensor([[1.2500, 0.2500]])
    """
    if not exponent >= 1:
        raise ValueError(f"exponent is {exponent}; it must be at least 1 (1 is plain soft-label distillation)")
    truth = labels.argmax(1) if labels.ndim > 1 else labels
    # torch's one_hot looks at its values, which vmap forbids
    mask = (truth[:, None] == torch.arange(teacher.shape[1], device=truth.device)).to(teacher.dtype)
    return (teacher + mask).pow(exponent) - mask


def ideal_student(teacher: Tensor, labels: Tensor, exponent: float = 1.0) -> Tensor:
    """The probabilities s* = w / Σw that minimise ℓ_ε for a given teacher; shapes as in `target_weights`."""
    weights = target_weights(teacher, labels, exponent)
    return weights / weights.sum(1, keepdim=True)


def adaptive_target_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, exponent: float = 1.0, temperature: float = 1.0
) -> Tensor:
    """ℓ_ε per example: cross-entropy of the student with the teacher's strengthened target.

    Parameters
    ----------
    student, teacher
        Logits, shape (n, classes).
    labels
        Shape (n,) or (n, classes), see `target_weights`.
    exponent, temperature
        ε ≥ 1 and T > 0; T divides both sides' logits, and no T² makes up for it (as in the paper's code).

    Returns
    -------
    Tensor
        Shape (n,). Its gradient with respect to the student's logits is ``[(Σw) s − w] / T``.

    Example
    -------
    >>> logits = torch.tensor([[2.0, 0.0]])
    >>> sure = torch.tensor([[100.0, 0.0]])
    >>> once, twice = (adaptive_target_loss(logits, sure, torch.tensor([0]), e) for e in (1, 2))
    >>> round(float(twice / once), 4)  # a one-hot correct teacher: (2^ε − 1) times the cross-entropy
    3.0
    """
    weights = target_weights((teacher / temperature).softmax(1), labels, exponent)
    return F.cross_entropy(student / temperature, weights, reduction="none")


@dataclass(frozen=True)
class OFA(Signal):
    """OFA-KD's signal: w_kd ℓ_ε(final) + w_ofa Σ_k ℓ_{ε_k}(exit k). The label term w_gt CE is `distill`'s.

    Parameters
    ----------
    stages
        The student's stages that get an exit, from input to output: names or globs (``"stage*"``, ``"blocks.*"``). A
        stage may give maps (n, c, h, w) or tokens (n, tokens, d). Empty: no exits, plain soft-label distillation.
    exponents
        ε_k: one for all exits, or one per exit.
    final_exponent
        ε of the final prediction.
    temperature
        T of teacher, exits and final prediction.
    final_weight, exit_weight
        w_kd and w_ofa.
    class_tokens
        How many leading tokens are no image patches; None reads it off the number of tokens.
    """

    stages: Layers = ()
    exponents: float | tuple[float, ...] = 1.0
    final_exponent: float = 1.0
    temperature: float = 1.0
    final_weight: float = 1.0
    exit_weight: float = 1.0
    class_tokens: int | None = None

    @property
    def student_layers(self) -> tuple[str, ...]:
        return as_tuple(self.stages)

    def bind(self, student: Outputs, teacher: Outputs, labels: Tensor, *, generator: torch.Generator) -> "OFABranches":  # noqa: ARG002
        stages = named(student.features, self.student_layers)
        exponents = self.exponents if isinstance(self.exponents, tuple) else (self.exponents,) * len(stages)
        if len(exponents) != len(stages):
            raise ValueError(f"exponents has {len(exponents)} values; {len(stages)} stages match: {', '.join(stages)}")
        for name, value in zip(("final_exponent", *stages), (self.final_exponent, *exponents), strict=True):
            if not value >= 1:
                raise ValueError(f"the exponent of {name} is {value}; it must be at least 1")
        with seeded(generator):
            branches = {
                name: exit_branch(feature, len(stages) - k, student.logits.shape[1], class_tokens=self.class_tokens)
                for k, (name, feature) in enumerate(stages.items(), start=1)
            }
        module = OFABranches(self, exponents, branches)
        return module.to(device=student.logits.device, dtype=student.logits.dtype)


class OFABranches(nn.Module):
    """`OFA` bound to a student: its exit branches. Called like the signal; dropped after training.

    After each call `logged` holds every exit's accuracy on the batch, which `fit` draws as curves ``"exit <stage>"``.
    """

    def __init__(self, signal: OFA, exponents: tuple[float, ...], branches: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.signal = signal
        self.exponents = exponents
        self.names = tuple(branches)
        self.branches = nn.ModuleList(branches.values())
        self.logged: dict[str, Tensor] = {}

    def exits(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Logits (n, classes) of each exit, by stage name."""
        return {name: branch(features[name]) for name, branch in zip(self.names, self.branches, strict=True)}

    def forward(self, student: Outputs, teacher: Outputs, labels: Tensor) -> Tensor:
        signal = self.signal
        target = teacher.logits.detach()

        def term(logits: Tensor, exponent: float) -> Tensor:
            return adaptive_target_loss(logits, target, labels, exponent, signal.temperature)

        loss = signal.final_weight * term(student.logits, signal.final_exponent)
        if signal.exit_weight:
            truth = labels.argmax(1) if labels.ndim > 1 else labels
            exits = self.exits(student.features)
            self.logged = {f"exit {name}": (z.argmax(1) == truth).to(z.dtype).mean() for name, z in exits.items()}
            for logits, exponent in zip(exits.values(), self.exponents, strict=True):
                loss = loss + signal.exit_weight * term(logits, exponent)
        return loss


def exit_branch(feature: Tensor, stages_left: int, classes: int, *, class_tokens: int | None = None) -> nn.Module:
    """The exit for a stage that gives `feature`: a module (n, …) → (n, classes).

    A map (n, c, h, w) with `stages_left` stages after it passes as many depthwise-separable convolutions of stride 2,
    each doubling the channels (after the last stage: a 1×1 convolution), global average pooling and a linear layer.
    Tokens (n, tokens, d) are merged 2×2 until the grid is at most 7×7 and pass max(`stages_left`, 1) transformer
    blocks; then the class token, or else the mean token, and a linear layer.

    Raises
    ------
    ValueError
        `feature` is neither, or its tokens have to be merged and form no square grid.

    Example
    -------
    >>> with torch.random.fork_rng():
    ...     exit_branch(torch.zeros(2, 8, 4, 4), 1, 10)(torch.zeros(2, 8, 4, 4)).shape
    torch.Size([2, 10])
    """
    match feature.ndim:
        case 4:
            channels = feature.shape[1]
            layers: list[nn.Module] = [_separable(channels * 2**i, channels * 2 ** (i + 1)) for i in range(stages_left)]
            body = layers or [nn.Conv2d(channels, channels, 1)]
            return nn.Sequential(*body, _Mean(2, 3), nn.Linear(channels * 2**stages_left, classes))
        case 3:
            tokens, width = feature.shape[1:]
            return _TokenExit(tokens, width, max(stages_left, 1), classes, class_tokens)
    raise ValueError(
        f"an exit needs maps (n, channels, h, w) or tokens (n, tokens, d), and this stage gives "
        f"{tuple(feature.shape)}: name another layer in stages of OFA"
    )


class _Mean(nn.Module):
    """Mean over the named dimensions."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(self.dims)


def _separable(channels: int, out: int) -> nn.Sequential:
    """Two depthwise-separable convolutions, the first of stride 2. Batch statistics are never accumulated: a branch
    only lives during training, and without a running state many students can be trained as one.
    """

    def half(width: int, stride: int) -> list[nn.Module]:
        return [
            nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
            nn.Conv2d(channels, width, 1, bias=False),
            nn.BatchNorm2d(width, track_running_stats=False),
            nn.ReLU(),
        ]

    return nn.Sequential(*half(channels, 2), *half(out, 1))


class _TokenExit(nn.Module):
    """Exit of a stage that gives tokens; leading class tokens are carried past the merging."""

    def __init__(self, tokens: int, width: int, blocks: int, classes: int, class_tokens: int | None) -> None:
        super().__init__()
        square = isqrt(tokens) ** 2 == tokens
        lone = isqrt(tokens - 1) ** 2 == tokens - 1  # a square beside one class token
        extra = class_tokens if class_tokens is not None else int(lone and not square)
        grid = isqrt(tokens - extra)
        must = tokens - extra > 49 or class_tokens is not None  # fewer are not merged, whatever their grid
        if grid == 0 or (must and grid * grid != tokens - extra):
            raise ValueError(
                f"{tokens} tokens, {extra} of them class tokens, form no square grid: set class_tokens of OFA"
            )
        self.extra = extra
        self.mergers = nn.ModuleList()
        while grid > 7:
            self.mergers.append(_PatchMerging(grid, width))
            grid = (grid + 1) // 2
        heads = next(heads for heads in (4, 2, 1) if width % heads == 0)
        self.blocks = nn.Sequential(*[TransformerBlock(width, heads) for _ in range(blocks)])
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        extra, patches = x[:, : self.extra], x[:, self.extra :]
        for merge in self.mergers:
            patches = merge(patches)
        x = self.blocks(torch.cat([extra, patches], 1))
        return self.head(x[:, 0] if self.extra else x.mean(1))


class _PatchMerging(nn.Module):
    """Four neighbouring tokens become one; an odd grid is padded."""

    def __init__(self, grid: int, width: int) -> None:
        super().__init__()
        self.grid = grid
        self.norm = nn.LayerNorm(4 * width)
        self.reduce = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        odd = self.grid % 2
        x = nn.functional.pad(x.unflatten(1, (self.grid, self.grid)), (0, 0, 0, odd, 0, odd))
        x = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).transpose(2, 3)  # (n, g/2, g/2, 2, 2, d)
        return self.reduce(self.norm(x.flatten(3).flatten(1, 2)))
