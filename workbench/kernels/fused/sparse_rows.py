"""log-sum-exp of a row's logits without a few listed classes, in one reading.

Taking the listed terms away from the sum of all would lose every digit where they are nearly all of it, so a tile that
holds listed classes masks them; the others, nearly all, are read as they are.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS = 4096


@triton.jit
def _rest(
    student, ids, out, student_row, student_column, ids_row, ids_column, classes, k, scale,
    C: tl.constexpr, K: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, C)
    each = tl.arange(0, K).to(tl.int64)
    listed = tl.load(ids + row * ids_row + each * ids_column, mask=each < k, other=-1)
    m = -float("inf")
    total = 0.0
    for start in range(0, classes, C):
        at = start + column
        x = tl.load(
            student + row * student_row + at.to(tl.int64) * student_column, mask=at < classes, other=-float("inf")
        )
        x = x.to(tl.float32) * scale
        here = tl.sum(((listed >= start) & (listed < start + C)).to(tl.int32), 0)
        if here > 0:
            for which in range(k):
                x = tl.where(
                    at == tl.load(ids + row * ids_row + tl.full([], which, tl.int64) * ids_column), -float("inf"), x
                )
        larger = tl.maximum(m, tl.max(x, 0))
        base = tl.where(larger == -float("inf"), 0.0, larger)
        total = tl.where(total == 0, 0.0, total * tl.exp(m - base)) + tl.sum(tl.exp(x - base), 0)
        m = larger
    base = tl.where(m == -float("inf"), 0.0, m)
    tl.store(out + row, base + tl.log(total))


def rest(student: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """(n, classes) logits, (n, k) classes → (n,) float32."""
    n, classes = student.shape
    out = torch.empty(n, dtype=torch.float32, device=student.device)
    if n:
        k = ids.shape[1]
        columns = min(COLUMNS, triton.next_power_of_2(classes))
        _rest[(n,)](
            student, ids, out, *student.stride(), *ids.stride(), classes, k, 1 / temperature,
            C=columns, K=triton.next_power_of_2(max(1, k)), num_warps=max(1, min(8, columns // 512)),
        )  # fmt: skip
    return out
