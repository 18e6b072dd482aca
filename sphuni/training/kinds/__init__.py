"""Runs of another sort than the classification of samples: each module has a function `run`."""
