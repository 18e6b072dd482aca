"""100 electrons on a sphere: energy, gap to the record, certificate, coordinates, picture."""

import sphuni
from sphuni.configurations import save_points
from sphuni.plots.configurations import configuration

result = sphuni.configurations.optimize("thomson", n=100, rng=0)
print(f"energy {result.value:.12f}, gap to the record {result.gap}")
print(f"gradient {result.certificate.residual:.1e}, hits {result.hits} of {result.tried}")
save_points(result.points, "thomson-100.npz")
configuration(result).savefig("thomson-100.png", dpi=160)
