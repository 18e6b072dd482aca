"""13 equal caps that cover the sphere, as small as possible."""

import math

import sphuni
from sphuni.plots import deepest_holes

result = sphuni.configurations.optimize("covering", n=13, rng=0)
proof = result.certificate
print(f"radius {math.degrees(result.value):.12f} degrees, gap to the record {result.gap:.1e}")
print(f"{len(proof.active)} deepest facets, KKT residual {proof.residual:.1e}")
print(f"bound {math.degrees(proof.bound):.6f} degrees, symmetry order {proof.symmetry_order}")
deepest_holes(result).savefig("covering-13.png", dpi=160)
