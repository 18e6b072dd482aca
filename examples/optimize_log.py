"""Smale's 7th problem at n = 32: points of least logarithmic energy."""

import sphuni

result = sphuni.configurations.optimize("log", n=32, rng=0)
proof = result.certificate
print(f"energy {result.value:.12f}, gap to the record {result.gap:.1e}")
print(f"gradient {proof.residual:.1e}, least eigenvalue {proof.smallest_eigenvalue:.3f}")
print(f"bound {proof.bound:.6f}, symmetry order {proof.symmetry_order}")
