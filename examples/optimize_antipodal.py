"""16 lines in space, pairwise as far apart as possible: a packing of the projective plane."""

import math

import sphuni
from sphuni.plots import contact_graph

result = sphuni.configurations.optimize("tammes", n=16, antipodal=True, rng=0)
proof = result.certificate
print(f"angle {math.degrees(result.value):.12f} degrees, gap to the record {result.gap}")
print(f"{len(proof.active)} contacts, KKT residual {proof.residual:.1e}")
print(f"bound {math.degrees(proof.bound):.6f} degrees, symmetry order {proof.symmetry_order}")
contact_graph(result).savefig("lines-16.png", dpi=160)
