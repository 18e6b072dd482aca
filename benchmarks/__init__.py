"""Benchmarks of sphuni: figures are ratios measured in one run, and only right answers are timed."""
