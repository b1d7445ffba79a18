"""Target-driven distillation: train only the jumps that a few-step sampler will ask for.

T = {0} ∪ the times that samplers of K = 4 … 8 steps visit, without the top one. For a step t → t′ of the grid,

    τ* = max{τ ∈ T: τ ≤ t′},   τ ~ U(T ∩ [τ* − w, τ*]),   s = (1 − η U) τ,
    L = d( f_θ(x_t, t, s),  sg f_θ(x_{t′}, t′, s) ),

with the *same* s on both sides and the same weights, no moving average, in the target. The pull η towards 0 makes room
for γ-sampling, which lands below the next time and diffuses back up to it. Guidance is decoupled: a share of the
classes is not told, and the scale can be set when the student is used. Paper 071: Wang et al., “Target-Driven
Distillation”, AAAI 2025; the choice of s as in the authors' training code for SDXL.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from workbench.diffusion.making.target_rules import TargetRule
from workbench.diffusion.methods.consistency import Consistency


@dataclass(frozen=True, kw_only=True)
class TDD(Consistency):
    """Consistency distillation to selected targets.

    `rule` is the choice of s; `guidance` is of the teacher's step, in our convention: the paper's w = 3.5 is 4.5 here.
    `gamma` is the η of its sampler. Clipping and Huber's c are those of the code; other numbers suit points, see
    `Consistency`.

    Examples
    --------
    >>> from workbench.diffusion import distill, regress, ring
    >>> start = regress(ring(), steps=5, batch=32, progress=False)
    >>> student = distill(ring(), TDD(use=4, batch=32), network=start, steps=5, progress=False)
    >>> student.method, student.steps
    ('TDD', 4)
    """

    short: ClassVar[str] = "TDD"

    rule: TargetRule = field(default_factory=TargetRule.tdd)
    clip: float | None = 1.0
