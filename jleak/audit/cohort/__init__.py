"""Many models of one setting: what label attacks and measures of leakage are sampled over."""
