"""What one look at all pairs can tell: counts, neighbours, sums of many kernels at once."""
