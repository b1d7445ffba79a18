"""Studies of distilling data sets, one per paper."""
