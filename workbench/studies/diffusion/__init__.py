"""Studies of distilling samplers, one per paper."""
