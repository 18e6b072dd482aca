"""Exact point sets by name."""
