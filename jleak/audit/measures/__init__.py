"""Leakage measured without an attack, layer by layer; beside it, if asked, what attacks recover."""
