"""The inspector of diffusion targets: one seed, and launches beside it."""
