"""Womersley's extremal points of degree 4, and the same for a Gaussian kernel."""

import sphuni

extremal = sphuni.configurations.optimize("maxdet", n=25, rng=0)
print(f"log-determinant {extremal.value:.12f}, gap to the record {extremal.gap:.1e}")
gaussian = sphuni.configurations.optimize("maxdet", n=25, d=4, kernel=sphuni.Gaussian(1.5), rng=0)
print(f"Gaussian kernel: {gaussian.value:.12f}, bound {gaussian.certificate.bound:.6f}")
