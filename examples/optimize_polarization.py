"""7 light sources that leave no place of the sphere darker than need be."""

import sphuni

result = sphuni.configurations.optimize("polarization", n=7, s=1.0, restarts=16, rng=0)
checked = sphuni.polarization(result.points, s=1.0)
print(f"least potential {result.value:.12f}, certified in [{checked.lower}, {checked.upper}]")
