"""Numerical kernels: each a plain PyTorch reference, beside which a fused GPU version may stand."""

from workbench.kernels import divergence, hsic

__all__ = ["divergence", "hsic"]
