"""The sliders of diffusion targets: how runs are to be sampled again."""
