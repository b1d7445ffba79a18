"""Studies that compare what surveys lay side by side, one per paper."""
