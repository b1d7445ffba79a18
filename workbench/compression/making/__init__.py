"""What runs a method of compression: the quantisers, where in a network they stand, and the verb."""
