"""Raising the least of many functions of the points: families of them, and their solvers."""
