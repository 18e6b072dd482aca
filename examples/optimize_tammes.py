"""The densest packing of 24 caps on S^3: kissing configuration of the 24-cell."""

import math

import sphuni

result = sphuni.configurations.optimize("tammes", n=24, d=4, rng=0)
certificate = result.certificate
print(f"angle {math.degrees(result.value):.12f} degrees, {len(certificate.active)} contacts")
print(f"KKT residual {certificate.residual:.1e}, symmetry order {certificate.symmetry_order}")
