"""Studies of language models distilled into language models."""
