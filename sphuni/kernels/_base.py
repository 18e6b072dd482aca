"""What a zonal kernel is, and the kernel of the doubled set {x, -x}."""

import abc
import dataclasses
import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni._transforms import has_values
from sphuni.kernels import _moments

__all__ = ["Antipodal", "Kernel", "OfBase", "check_kernel"]


@dataclasses.dataclass(frozen=True)
class Kernel(abc.ABC):
    """A function of the angle between two points of the sphere.

    Kernels are evaluated from `p = |x - y|^2` and `q = |x + y|^2 = 4 - p`, never from the cosine
    `t = (q - p) / 4` alone: near t = 1 the cosine has lost the digits of p, and near t = -1 those
    of q. The engines supply whichever of the two is small by differences of coordinates.

    Calling a kernel evaluates it at cosines, for arrays of either library.
    """

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """A short name for tables and messages."""

    @abc.abstractmethod
    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""

    @abc.abstractmethod
    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""

    @abc.abstractmethod
    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""

    def log_value(self, p: Tensor, q: Tensor) -> Tensor | None:
        """Log K of a positive kernel, also where K over- or underflows; None for the others."""
        return None

    def value_and_derivative(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """K and dK/dt together, for kernels where the two share their costly part."""
        return self.value(p, q), self.derivative(p, q)

    @property
    @abc.abstractmethod
    def at_one(self) -> float:
        """K of two coincident points; inf where it diverges."""

    @property
    def at_minus_one(self) -> float:
        """K of two antipodal points."""
        return _cached_value(self, 4.0, 0.0)

    @property
    def order_at_one(self) -> float:
        """The kernel is bounded by a constant times theta^-order near theta = 0."""
        return 0.0

    @property
    def order_at_minus_one(self) -> float:
        """The kernel is bounded by a constant times (pi - theta)^-order near theta = pi."""
        return 0.0

    @property
    def singular(self) -> bool:
        """Whether the value or a derivative of K diverges at coincident points."""
        return False

    @property
    def singular_opposite(self) -> bool:
        """Whether the value or a derivative of K diverges at antipodal points."""
        return False

    @property
    def reads_q(self) -> bool:
        """Whether `value` and its derivatives use q; those of the plain chord do not."""
        return True

    @property
    def apart(self) -> "Kernel":
        """An equal function, where there is a simpler one, of p and q that are 2^-6 or more."""
        return self

    @property
    def absolutely_monotone(self) -> bool:
        """Whether K and all its derivatives in t are non-negative on [-1, 1), up to a constant.

        The universal lower bound on energy holds for exactly these kernels.
        """
        return False

    def antipodal(self) -> "Kernel":
        """Return the kernel K(t) + K(-t) of points taken as lines."""
        return Antipodal(self)

    def mean(self, d: int) -> float:
        """E K(<x, y>) for independent uniform x, y on S^(d-1); inf where it diverges."""
        return _cached_mean(self, _moments.check_dimension(d))

    def variance(self, d: int) -> float:
        """Var K(<x, y>) for independent uniform x, y on S^(d-1); inf where it diverges.

        Its root carries an absolute error of about 1e-16 E|K|: that of a kernel which hardly
        varies, such as `Gaussian(1e-3).antipodal()`, has few digits.
        """
        return _cached_variance(self, _moments.check_dimension(d))

    def gegenbauer(self, d: int, degree_max: int) -> np.ndarray:
        """Coefficients a_0 .. a_L of K(t) = sum_l a_l P_l(t), P_l(1) = 1, in R^d.

        a_0 is the mean of the kernel, and K is positive definite on S^(d-1) when all are >= 0.
        Where there is no closed form a_l carries an absolute error of about 1e-16 dim_l max|K|
        (E|K| for steep kernels), dim_l the number of harmonics of degree l, so high degrees in high
        dimension are noise; they are refused where dim_l is beyond float64.
        """
        d, degree_max = _moments.check_dimension(d), _moments.check_degree(degree_max)
        return _moments.coefficients(self, d, degree_max)

    def __call__(self, t: Any) -> Any:
        """Evaluate K at cosines `t` in [-1, 1]; the answer is in the library of `t`.

        Cosines that pass +-1 by roundings, as on the diagonal of a Gram matrix, count as +-1.
        """
        if isinstance(t, Tensor):
            return self._at_cosines(t if t.is_floating_point() else t.double())
        cosines = torch.as_tensor(np.asarray(t, dtype=np.float64), device="cpu")
        values = self._at_cosines(cosines).numpy()
        return values[()] if values.ndim == 0 else values

    def _at_cosines(self, t: Tensor) -> Tensor:
        """K at cosines, those of a Gram matrix included, whose roundings pass 1."""
        _check_cosines(t)
        return self.value((2 - 2 * t).clamp(min=0.0), (2 + 2 * t).clamp(min=0.0))


@dataclasses.dataclass(frozen=True)
class Antipodal(Kernel):
    """K(t) + K(-t): the kernel `base` summed over a point and its antipode."""

    base: Kernel

    @property
    def label(self) -> str:
        """A short name for tables and messages."""
        return f"{self.base.label}, antipodal"

    def value(self, p: Tensor, q: Tensor) -> Tensor:
        """K at squared distance `p` to the point and `q` to its antipode."""
        return self.base.value(p, q) + self.base.value(q, p)

    def derivative(self, p: Tensor, q: Tensor) -> Tensor:
        """dK/dt, the derivative with respect to the cosine."""
        return self.base.derivative(p, q) - self.base.derivative(q, p)

    def second(self, p: Tensor, q: Tensor) -> Tensor:
        """d^2K/dt^2, the second derivative with respect to the cosine."""
        return self.base.second(p, q) + self.base.second(q, p)

    def log_value(self, p: Tensor, q: Tensor) -> Tensor | None:
        """Log K where the base kernel is positive."""
        near, far = self.base.log_value(p, q), self.base.log_value(q, p)
        return None if near is None or far is None else torch.logaddexp(near, far)

    def value_and_derivative(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        """K and dK/dt together."""
        near, near_slope = self.base.value_and_derivative(p, q)
        far, far_slope = self.base.value_and_derivative(q, p)
        return near + far, near_slope - far_slope

    @property
    def at_one(self) -> float:
        """K of two coincident points; inf where it diverges."""
        return self.base.at_one + self.base.at_minus_one

    @property
    def at_minus_one(self) -> float:
        """K of two antipodal points, which equals K of two coincident ones."""
        return self.at_one

    @property
    def order_at_one(self) -> float:
        """The kernel is bounded by a constant times theta^-order near theta = 0."""
        return max(self.base.order_at_one, self.base.order_at_minus_one)

    @property
    def order_at_minus_one(self) -> float:
        """The kernel is bounded by a constant times (pi - theta)^-order near theta = pi."""
        return self.order_at_one

    @property
    def singular(self) -> bool:
        """Whether the value or a derivative of K diverges at coincident points."""
        return self.base.singular or self.base.singular_opposite

    @property
    def singular_opposite(self) -> bool:
        """Whether the value or a derivative of K diverges at antipodal points."""
        return self.singular

    @property
    def apart(self) -> Kernel:
        """An equal function, where there is a simpler one, of p and q that are 2^-6 or more."""
        return Antipodal(self.base.apart)

    def antipodal(self) -> Kernel:
        """Refuse: the kernel is antipodal already."""
        raise ValueError(f"{self.label} is antipodal already")

    def gegenbauer(self, d: int, degree_max: int) -> np.ndarray:
        """Coefficients of the base kernel, doubled at even and zero at odd degrees."""
        coefficients = 2 * self.base.gegenbauer(d, degree_max)
        coefficients[1::2] = 0.0
        return coefficients


@functools.lru_cache(maxsize=4096)
def _cached_value(kernel: Kernel, p: float, q: float) -> float:
    return float(kernel.value(*torch.tensor([p, q], dtype=torch.float64, device="cpu")))


@functools.lru_cache(maxsize=4096)
def _cached_mean(kernel: Kernel, d: int) -> float:
    return _moments.mean(kernel, d)


@functools.lru_cache(maxsize=4096)
def _cached_variance(kernel: Kernel, d: int) -> float:
    return _moments.variance(kernel, d)


@dataclasses.dataclass(frozen=True)
class OfBase(Kernel):
    """A kernel made of another one, singular where that is."""

    base: Kernel

    @property
    def singular(self) -> bool:
        """As of the base."""
        return self.base.singular

    @property
    def singular_opposite(self) -> bool:
        """As of the base."""
        return self.base.singular_opposite

    @property
    def reads_q(self) -> bool:
        """As of the base."""
        return self.base.reads_q


def _check_cosines(t: Tensor) -> None:
    """Refuse what is no cosine, to half the digits of the dtype."""
    if not has_values(t) or t.numel() == 0:
        return
    low, high = (float(end) for end in torch.aminmax(t.detach()))
    tolerance = torch.finfo(t.dtype).eps ** 0.5
    if low < -1 - tolerance or high > 1 + tolerance:
        raise ValueError(
            f"t must hold cosines, in [-1, 1]; got {high if high > 1 + tolerance else low:.6g}. "
            "For points themselves call sphuni.kernel_energy or sphuni.potential"
        )


def check_kernel(kernel: Any) -> None:
    """Say so where an argument is no kernel."""
    if not isinstance(kernel, Kernel):
        what = f"the class {kernel.__name__}" if isinstance(kernel, type) else repr(kernel)
        raise TypeError(f"kernel must be a Kernel such as sphuni.Riesz(1.0); got {what}")
