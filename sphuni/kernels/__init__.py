"""Zonal kernels: functions of the angle between two points of the sphere."""

from sphuni.kernels._base import Antipodal as Antipodal
from sphuni.kernels._base import Kernel as Kernel
from sphuni.kernels._base import OfBase as OfBase
from sphuni.kernels._base import check_kernel as check_kernel
from sphuni.kernels.riesz import Riesz as Riesz
from sphuni.kernels.series import Dirichlet as Dirichlet
from sphuni.kernels.series import GegenbauerSeries as GegenbauerSeries
from sphuni.kernels.smooth import Gaussian as Gaussian
from sphuni.kernels.smooth import Laplace as Laplace
from sphuni.kernels.smooth import Poisson as Poisson
