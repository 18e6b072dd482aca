"""7 light sources that leave no place of the sphere darker than need be."""

import sphuni
from sphuni.plots import potential_map

result = sphuni.configurations.optimize("polarization", n=7, s=1.0, restarts=16, rng=0)
proof = result.certificate
checked = sphuni.polarization(result.points, s=1.0)
print(f"least potential {result.value:.12f}, gap to the record {result.gap:.1e}")
print(f"certified in [{checked.lower:.9f}, {checked.upper:.9f}], KKT residual {proof.residual:.1e}")
print(f"bound {proof.bound:.6f}, symmetry order {proof.symmetry_order}")
potential_map(result).savefig("polarization-7.png", dpi=160)
