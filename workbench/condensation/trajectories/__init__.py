"""Expert trajectories: made, kept, followed, and drawn."""
