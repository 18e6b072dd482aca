"""The densest packing of 24 caps on S^3: the roots of F4, vertices of the 24-cell."""

import math

import sphuni

result = sphuni.configurations.optimize("tammes", n=24, d=4, rng=0)
proof = result.certificate
print(f"angle {math.degrees(result.value):.12f} degrees, gap to the record {result.gap:.1e}")
print(f"{len(proof.active)} contacts, KKT residual {proof.residual:.1e}")
print(f"bound {math.degrees(proof.bound):.6f} degrees, symmetry order {proof.symmetry_order}")
