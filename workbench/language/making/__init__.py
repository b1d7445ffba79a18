"""The run that the methods share: sequences, losses over their tokens, what a student writes, the loop."""
