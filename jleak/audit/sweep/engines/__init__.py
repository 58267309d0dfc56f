"""Who runs which batch: this process and its devices, or the workers of a Ray cluster."""
