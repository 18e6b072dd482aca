"""Many tests at once: adjusted p-values and combined ones."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sphuni._arrays import array_function

__all__ = ["adjust_pvalues", "adjusted", "check_method", "combine_pvalues"]

_ADJUST = ("bonferroni", "holm", "hochberg", "bh", "by", "none")
_LARGEST = 0.999
_FAR = 1e15
"""A mean of 1 / p from which on the tails of Cauchy and Landau are 1 / mean to all digits."""
_LEAST = 1e-200
"""A p-value that takes the mean far beyond that, and whose inverse and its square are finite."""
_UNDERFLOW = 1e-280
_COMBINE = ("fisher", "stouffer", "simes", "cauchy", "harmonic", "bonferroni")


@array_function()
def adjust_pvalues(pvalues: Tensor, /, method: str = "bh") -> Tensor:
    r"""Adjust p-values for the number of tests.

    Parameters
    ----------
    pvalues : array of shape (..., m)
        In [0, 1]; NaN entries are left out of the count and stay NaN.
    method : {"bh", "by", "holm", "hochberg", "bonferroni", "none"}, default "bh"
        "bh" and "by" control the false discovery rate (Benjamini-Hochberg under positive
        dependence, Benjamini-Yekutieli under any); the others the chance of any false rejection.

    Returns
    -------
    array of shape (..., m)
        Adjusted p-values: reject where they are at most the level.

    References
    ----------
    Y. Benjamini, Y. Hochberg, "Controlling the false discovery rate", Journal of the Royal
    Statistical Society B 57 (1995) 289-300, doi:10.1111/j.2517-6161.1995.tb02031.x.

    Y. Benjamini, D. Yekutieli, "The control of the false discovery rate in multiple testing under
    dependency", Annals of Statistics 29 (2001) 1165-1188, doi:10.1214/aos/1013699998.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of
    Statistics 6 (1979) 65-70.

    Examples
    --------
    >>> adjust_pvalues([0.01, 0.02, 0.9], method="bh")
    array([0.03, 0.03, 0.9 ])
    >>> adjust_pvalues([0.01, 0.02, 0.9], method="holm")
    array([0.03, 0.04, 0.9 ])
    """
    _check(pvalues)
    check_method("method", method)
    return adjusted(pvalues.double(), method).to(pvalues.dtype)


@array_function()
def combine_pvalues(pvalues: Tensor, /, method: str = "cauchy") -> Tensor:
    r"""Combine the p-values of several tests of one hypothesis into one.

    Parameters
    ----------
    pvalues : array of shape (..., m)
        In [0, 1], without NaN.
    method : {"cauchy", "harmonic", "simes", "fisher", "stouffer", "bonferroni"}, default "cauchy"
        "fisher" and "stouffer" need independent tests. "cauchy" and "simes" hold up under
        dependence, "harmonic" is the asymptotically exact harmonic mean, "bonferroni" is always
        valid.

    Returns
    -------
    array of shape (...)

    Notes
    -----
    "cauchy": :math:`P(C > \frac1m \sum \tan(\pi (\tfrac12 - p_i)))` with C standard Cauchy; of
    several p-values one above 0.999 counts as 0.999, or else a single 1 would outvote all others.
    "harmonic": the tail of Landau's law of location log m + 1 - gamma + log(pi/2) and scale pi/2
    at the mean of 1 / p_i. "simes": :math:`\min_k m p_{(k)} / k`. "fisher": the chi-squared tail,
    with 2 m degrees of freedom, of :math:`-2 \sum \log p_i`. "stouffer": the normal tail of
    :math:`\sum \Phi^{-1}(1 - p_i) / \sqrt m`.

    References
    ----------
    Y. Liu, J. Xie, "Cauchy combination test", Journal of the American Statistical Association 115
    (2020) 393-402, doi:10.1080/01621459.2018.1554485.

    D. J. Wilson, "The harmonic mean p-value for combining dependent tests", PNAS 116 (2019)
    1195-1200, doi:10.1073/pnas.1814092116.

    R. J. Simes, "An improved Bonferroni procedure for multiple tests of significance", Biometrika
    73 (1986) 751-754, doi:10.1093/biomet/73.3.751.

    Examples
    --------
    >>> float(combine_pvalues([0.01, 0.01], method="cauchy"))
    0.01
    >>> float(combine_pvalues([0.02, 0.03], method="simes"))
    0.03
    """
    _check(pvalues)
    if method not in _COMBINE:
        raise ValueError(f"method must be one of {', '.join(map(repr, _COMBINE))}; got {method!r}")
    if pvalues.shape[-1] == 0 or bool(pvalues.isnan().any()):
        raise ValueError("pvalues must hold at least one number and no NaN; drop missing tests")
    return _combined(pvalues.double(), method).to(pvalues.dtype)


def _combined(pvalues: Tensor, method: str) -> Tensor:
    """One p-value of those along the last axis."""
    count = pvalues.shape[-1]
    if method == "bonferroni":
        return (count * pvalues.amin(-1)).clamp(max=1.0)
    if method == "simes":
        rank = torch.arange(1, count + 1, dtype=pvalues.dtype, device=pvalues.device)
        return (count * pvalues.sort(-1).values / rank).amin(-1)
    if method == "cauchy":
        return _cauchy(pvalues)
    if method == "harmonic":
        return _harmonic(pvalues)
    if method == "stouffer":
        if bool(((pvalues == 0).any(-1) & (pvalues == 1).any(-1)).any()):
            raise ValueError(
                "pvalues hold 0 and 1, between which method='stouffer' cannot decide; take another"
            )
        z = torch.special.ndtri(pvalues).sum(-1) / math.sqrt(count)
        return torch.special.log_ndtr(z).exp()  # ndtr has no digits in the tail
    return _fisher(pvalues)


def check_method(name: str, method: str) -> None:
    """Refuse adjustments that there are not."""
    if method not in _ADJUST:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, _ADJUST))}; got {method!r}")


def adjusted(pvalues: Tensor, method: str) -> Tensor:
    """P-values (..., m) adjusted for their number."""
    if method == "none" or pvalues.shape[-1] == 0:
        return pvalues.clone()
    missing = pvalues.isnan()
    count = (~missing).sum(-1, keepdim=True).to(pvalues.dtype)
    if method == "bonferroni":
        return (pvalues * count).clamp(max=1.0)
    ordered, order = pvalues.masked_fill(missing, torch.inf).sort(dim=-1)
    rank = torch.arange(1, pvalues.shape[-1] + 1, dtype=pvalues.dtype, device=pvalues.device)
    scaled = ordered * _factor(method, rank, count)
    if method == "holm":
        steps = scaled.cummax(dim=-1).values
    else:
        steps = scaled.flip(-1).cummin(dim=-1).values.flip(-1)
    back = torch.empty_like(steps).scatter(-1, order, steps.clamp(max=1.0))
    return back.masked_fill(missing, torch.nan)


def _factor(method: str, rank: Tensor, count: Tensor) -> Tensor:
    if method in ("holm", "hochberg"):
        return (count - rank + 1).clamp(min=1.0)
    if method == "bh":
        return count / rank
    harmonic = torch.digamma(count.double() + 1) + np.euler_gamma
    return harmonic.to(rank.dtype) * count / rank


def _fisher(pvalues: Tensor) -> Tensor:
    """The chi-squared tail, by its finite sum where the incomplete gamma function underflows."""
    statistic = -pvalues.log().sum(-1)
    half = torch.full_like(statistic, float(pvalues.shape[-1]))
    near = torch.special.gammaincc(half, statistic)
    far = (near < _UNDERFLOW) & statistic.isfinite()
    place = torch.where(far, statistic, 1.0).unsqueeze(-1)
    k = torch.arange(pvalues.shape[-1], dtype=pvalues.dtype, device=pvalues.device)
    sums = torch.logsumexp(k * place.log() - torch.lgamma(k + 1.0), -1)
    return torch.where(far, (sums - place.squeeze(-1)).exp(), near)


def _cauchy(pvalues: Tensor) -> Tensor:
    """Mean of cot(pi p), turned back."""
    if pvalues.shape[-1] > 1:
        pvalues = pvalues.clamp(max=_LARGEST)
    fair = pvalues.clamp(min=_LEAST)
    # near 0 the cotangent needs the digits of p, which 1/2 - p would round away
    small = fair < 0.25
    below, above = torch.where(small, fair, 0.25), torch.where(small, 0.5, fair)
    wave = torch.where(small, 1.0 / torch.tan(math.pi * below), torch.tan((0.5 - above) * math.pi))
    mean = wave.mean(-1)
    far = mean > _FAR
    near = torch.atan2(torch.ones_like(mean), torch.where(far, 1.0, mean)) / math.pi
    return torch.where(far, _harmonic_mean(pvalues), near)


def _harmonic(pvalues: Tensor) -> Tensor:
    """Wilson's asymptotically exact p: the Landau tail of the mean of 1/p."""
    count = pvalues.shape[-1]
    mean = (1.0 / pvalues.clamp(min=_LEAST)).mean(-1)
    far = mean > _FAR
    location = math.log(count) + 1.0 - np.euler_gamma + math.log(math.pi / 2)
    near = torch.where(far, 1.0, mean)
    return torch.where(
        far, _harmonic_mean(pvalues), _LandauTail.apply((near - location) / (math.pi / 2))
    )


def _harmonic_mean(pvalues: Tensor) -> Tensor:
    """Where both laws end: in logarithms, because 1 / p is infinite below 6e-309."""
    logs = pvalues.log()
    return (math.log(pvalues.shape[-1]) - torch.logsumexp(-logs, -1)).exp()


class _LandauTail(torch.autograd.Function):
    """Upper tail of Landau's law, which SciPy has, with its density for the gradient."""

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        """Return P(X > x)."""
        from scipy.stats import landau  # takes half a second, which most commands can save

        return torch.as_tensor(landau.sf(x.detach().cpu().numpy()), dtype=x.dtype, device=x.device)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        """Keep the place."""
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        """Contract minus the density with the upstream gradient."""
        if torch.is_grad_enabled():
            raise NotImplementedError(
                "method='harmonic' has first derivatives only; call backward without create_graph"
            )
        from scipy.stats import landau

        (x,) = ctx.saved_tensors
        density = torch.as_tensor(landau.pdf(x.cpu().numpy()), dtype=x.dtype, device=x.device)
        return -upstream * density


def _check(pvalues: Tensor) -> None:
    if pvalues.ndim < 1:
        raise ValueError("pvalues must have shape (..., m); got a single number")
    outside = (pvalues < 0) | (pvalues > 1)
    if bool(outside.any()):
        raise ValueError(f"pvalues must lie in [0, 1]; got {pvalues[outside][0].item():.6g}")
