"""Benchmarks: figures are ratios measured in one run, and only right answers are timed."""
