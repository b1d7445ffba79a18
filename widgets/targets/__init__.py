"""The explorer of diffusion targets: what each model believes the final image to be, step by step."""

from widgets.targets.explorer import TargetTrajectoryExplorer

__all__ = ["TargetTrajectoryExplorer"]
