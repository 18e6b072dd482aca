"""Special functions of the sphere S^(d-1) in R^d, in numpy float64.

`d` is the ambient dimension everywhere (d = 2 is the circle) and `t` the cosine of an angle.
Nothing here needs torch.
"""

from sphuni.special._gegenbauer import (
    gegenbauer,
    gegenbauer_derivative,
    harmonic_dimension,
)
from sphuni.special._measure import (
    cap_angle,
    cap_measure,
    cosine_cdf,
    cosine_density,
    log_sphere_area,
    sphere_area,
)
from sphuni.special._quadrature import CosineQuadrature, cosine_quadrature, gegenbauer_coefficients
from sphuni.special._spectra import marchenko_pastur

__all__ = [
    "CosineQuadrature",
    "cap_angle",
    "cap_measure",
    "cosine_cdf",
    "cosine_density",
    "cosine_quadrature",
    "gegenbauer",
    "gegenbauer_coefficients",
    "gegenbauer_derivative",
    "harmonic_dimension",
    "log_sphere_area",
    "marchenko_pastur",
    "sphere_area",
]
