"""Kernels that only the tests of uniformity need."""
