"""50 points of least Riesz energy on S^3, exponent 2.5, and how close a bound comes."""

import sphuni

result = sphuni.configurations.optimize("riesz", n=50, d=4, s=2.5, rng=0)
proof = result.certificate
print(f"energy {result.value:.12f}, gap to the record {result.gap}, hits {result.hits}")
print(f"gradient {proof.residual:.1e}, least eigenvalue {proof.smallest_eigenvalue:.3f}")
print(f"bound {proof.bound:.6f}: the energy is {result.value / proof.bound - 1:.2%} above it")
