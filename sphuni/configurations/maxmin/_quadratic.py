"""A small convex quadratic programme: the best common rise of linear functions in a box."""

from typing import NamedTuple

import numpy as np
from scipy import linalg

from sphuni.configurations.maxmin._members import Array

__all__ = ["Rise", "best_rise"]

_ROUNDS = 30
_GAP = 1e-4
_SMALLEST_GAP = 1e-13
_BACK = 0.99


class Rise(NamedTuple):
    """The solution of the programme."""

    move: Array
    level: float
    """Least of the linear functions after the move."""
    weights: Array
    """Multipliers of the functions, with sum 1."""


def best_rise(offsets: Array, jacobian: Array, curvature: Array) -> Rise:
    """Maximise min(offsets + J u) - u' C u / 2 subject to |u| <= 1 in every coordinate.

    Parameters
    ----------
    offsets : ndarray of shape (k,)
    jacobian : ndarray of shape (k, m)
    curvature : ndarray of shape (m, m)
        Positive semidefinite.

    Returns
    -------
    Rise

    Notes
    -----
    Mehrotra's predictor-corrector method. The start satisfies all linear equations of the primal
    and the dual programme, and so do all iterates: only the products of slacks and multipliers
    remain to be driven to zero, and their sum is the duality gap. It ends when that is 1e-4 of
    the rise.

    References
    ----------
    S. Mehrotra, "On the implementation of a primal-dual interior point method", SIAM Journal on
    Optimization 2 (1992) 575-601, doi:10.1137/0802028.
    """
    k, m = jacobian.shape
    box = np.eye(m, m + 1)
    rows = np.vstack([np.hstack([-jacobian, np.ones((k, 1))]), box, -box])
    limits = np.concatenate([offsets, np.ones(2 * m)])
    hessian = np.zeros((m + 1, m + 1))
    hessian[:m, :m] = curvature
    pull = jacobian.mean(0)
    size = np.abs(pull).sum() + 1e-12
    spare = 0.1 * size / m
    dual = np.concatenate([np.full(k, 1 / k), np.maximum(pull, 0), np.maximum(-pull, 0)])
    dual[k:] += spare
    x = np.zeros(m + 1)
    x[m] = offsets.min() - 0.1 * size
    for _ in range(_ROUNDS):
        slack = limits - rows @ x
        gap = slack @ dual
        if gap <= _GAP * max(x[m] - offsets.min(), _SMALLEST_GAP / _GAP):
            break
        try:
            x, dual = _round(rows, hessian, x, slack, dual)
        except linalg.LinAlgError:  # as near as rounding allows
            break
    level = float((offsets + jacobian @ x[:m]).min())
    return Rise(x[:m], level, dual[:k] / dual[:k].sum())


def _round(rows: Array, hessian: Array, x: Array, slack: Array, dual: Array) -> tuple[Array, Array]:
    """Take one predictor-corrector step."""
    system = hessian + (rows.T * (dual / slack)) @ rows
    system[np.diag_indices_from(system)] *= 1 + 1e-13
    factor = linalg.cho_factor(system, check_finite=False)

    def direction(excess: Array) -> tuple[Array, Array, Array]:
        dx = linalg.cho_solve(factor, rows.T @ (excess / slack), check_finite=False)
        ds = -rows @ dx
        return dx, ds, -(excess + dual * ds) / slack

    now = slack * dual
    _, ds, dl = direction(now)
    reach = _longest(slack, dual, ds, dl)
    ahead = (slack + reach * ds) @ (dual + reach * dl) / now.sum()
    centre = ahead**3 * now.mean()
    dx, ds, dl = direction(now + ds * dl - centre)
    reach = min(1.0, _BACK * _longest(slack, dual, ds, dl))
    return x + reach * dx, dual + reach * dl


def _longest(slack: Array, dual: Array, ds: Array, dl: Array) -> float:
    """Largest step, at most a little over 1, that keeps slacks and multipliers positive."""
    rates = np.concatenate([-ds / slack, -dl / dual])
    return float(1 / max(rates.max(), 1 / (1 + 1 / _BACK)))
