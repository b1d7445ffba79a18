"""What distillation spends its time on: in plain PyTorch, and beside it fused for a GPU. The device decides which."""

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
