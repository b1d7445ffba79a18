"""The stage of diffusion targets: the plane and what lies under its points, and the strip."""
