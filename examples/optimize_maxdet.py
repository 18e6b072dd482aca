"""Womersley's extremal points of degree 4, and the same for a Gaussian kernel."""

import sphuni
from sphuni.plots import quadrature_weights

result = sphuni.configurations.optimize("maxdet", n=25, rng=0)
proof = result.certificate
print(f"log-determinant {result.value:.12f}, gap to the record {result.gap:.1e}")
print(f"gradient {proof.residual:.1e}, least eigenvalue {proof.smallest_eigenvalue:.3f}")
print(f"bound {proof.bound:.6f}, symmetry order {proof.symmetry_order}")
quadrature_weights(result).savefig("maxdet-25.png", dpi=160)
gaussian = sphuni.configurations.optimize("maxdet", n=25, d=4, kernel=sphuni.Gaussian(1.5), rng=0)
print(f"Gaussian kernel: {gaussian.value:.12f}, bound {gaussian.certificate.bound:.6f}")
