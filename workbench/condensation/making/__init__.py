"""What the methods share: runs, synthetic images, batches of real ones, networks to compare in."""
