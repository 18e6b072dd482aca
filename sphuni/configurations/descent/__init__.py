"""Smooth objectives, their minimisation from many starts, and Newton's method at the end."""
