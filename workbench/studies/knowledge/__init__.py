"""Studies of distilling networks into networks, one per paper."""
