"""100 electrons on a sphere: energy, gap to the record, certificate, coordinates, pictures."""

import sphuni
from sphuni.configurations import save_points
from sphuni.plots import configuration, interactive

result = sphuni.configurations.optimize("thomson", n=100, rng=0)
proof = result.certificate
print(f"energy {result.value:.12f}, gap to the record {result.gap:.1e}")
print(f"gradient {proof.residual:.1e}, least eigenvalue {proof.smallest_eigenvalue:.3f}")
print(f"bound {proof.bound:.6f}, symmetry order {proof.symmetry_order}")
save_points(result.points, "thomson-100.npz")
configuration(result).savefig("thomson-100.png", dpi=160)
interactive(result, "thomson-100.html")
