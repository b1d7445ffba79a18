"""Teachers that are more than a network at hand: those that can only be asked."""
