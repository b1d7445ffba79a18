"""Studies of distilling posteriors, one per paper."""
