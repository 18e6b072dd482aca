"""Pair sums of the tests, by whatever needs fewest operations."""
