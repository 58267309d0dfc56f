"""What a sweep shows: its course (`progress`), and what its records answer (`show`)."""

from jleak.report.sweep.showing import show

__all__ = ["show"]
