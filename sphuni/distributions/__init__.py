"""Random points on the sphere: the uniform law and its alternatives."""

from sphuni.distributions.mixtures import angular_central_gaussian as angular_central_gaussian
from sphuni.distributions.mixtures import clusters as clusters
from sphuni.distributions.rotational import small_circle as small_circle
from sphuni.distributions.rotational import spherical_cauchy as spherical_cauchy
from sphuni.distributions.rotational import uniform_cap as uniform_cap
from sphuni.distributions.rotational import von_mises_fisher as von_mises_fisher
from sphuni.distributions.rotational import watson as watson
from sphuni.distributions.uniform import haar_blocks as haar_blocks
from sphuni.distributions.uniform import random_points as random_points
from sphuni.distributions.uniform import spherical_ensemble as spherical_ensemble
