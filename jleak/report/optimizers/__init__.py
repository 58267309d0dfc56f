"""What a run of `jleak bench-optimizers` shows."""
