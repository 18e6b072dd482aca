"""Tiles of the pair matrix: products, kernels over them, gradients, and who works on which."""
