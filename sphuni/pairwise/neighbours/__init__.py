"""Nearest neighbours on the sphere."""
