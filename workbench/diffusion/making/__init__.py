"""What the methods share: runs, networks under training, noise levels, weights of times."""
