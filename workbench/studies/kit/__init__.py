"""What studies are made of: settings, comparisons, estimates, claims."""
