"""Studies of networks that see and hear, one per paper."""
