"""13 equal caps that cover the sphere, as small as possible."""

import math

import sphuni
from sphuni.plots.configurations import configuration

result = sphuni.configurations.optimize("covering", n=13, rng=0)
print(f"radius {math.degrees(result.value):.12f} degrees, gap to the record {result.gap}")
configuration(result).savefig("covering-13.png", dpi=160)
