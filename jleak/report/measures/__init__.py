"""What a run of `jleak measure` shows."""
