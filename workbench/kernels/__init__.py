"""The operations on which distillation spends its time: plain PyTorch, and beside it fused for a GPU; the device decides."""

from workbench.kernels import (
    augment,
    characteristic,
    divergence,
    hsic,
    kernel_sums,
    linear_divergence,
    mixture,
)

__all__ = ["augment", "characteristic", "divergence", "hsic", "kernel_sums", "linear_divergence", "mixture"]
