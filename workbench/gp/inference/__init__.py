"""Engines that condition on rows: exact, iterative, inducing, Laplace, variational; and their kernels."""
