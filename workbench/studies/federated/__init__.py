"""Studies of this family, one per paper."""
