"""What a run of `jleak labels` shows: tables, pictures and page."""
