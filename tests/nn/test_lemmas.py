"""Two lemmas of the SphereNet paper on the conditioning of one linear layer, as they hold.

Lemma 1 has c^2 where the condition number of the product of factors grows like c^4; Lemma 2 needs
the rows to be put back on the sphere, as its proof assumes.
"""

import itertools

import pytest
import torch

F64 = torch.float64


def factors(n, m, k):
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(n, k, generator=generator, dtype=F64)
    return u, torch.randn(m, k, generator=generator, dtype=F64)


def unit(rows):
    return rows / rows.norm(dim=1, keepdim=True)


def restricted_condition(u, v, normalise):
    """Largest over smallest non-zero eigenvalue of the Hessian at a global optimum."""
    n, m, k = len(u), len(v), u.shape[1]
    target = unit(u) @ unit(v).T if normalise else u @ v.T

    def loss(flat):
        a, b = flat[: n * k].reshape(n, k), flat[n * k :].reshape(m, k)
        product = unit(a) @ unit(b).T if normalise else a @ b.T
        return 0.5 * (product - target).square().sum()

    hessian = torch.autograd.functional.hessian(loss, torch.cat([u.flatten(), v.flatten()]))
    values = torch.linalg.eigvalsh(hessian)
    values = values[values > 1e-10 * values[-1]]
    return (values[-1] / values[0]).item()


def growth(n, m, k, normalise):
    u, v = factors(n, m, k)
    kappas = [restricted_condition(c * u, v / c, normalise) for c in (4.0, 8.0, 16.0)]
    return [after / before for before, after in itertools.pairwise(kappas)]


@pytest.mark.parametrize("normalise", [False, True])
def test_unbalanced_factors_grow_like_the_fourth_power(normalise):
    for ratio in growth(6, 5, 2, normalise):
        assert ratio == pytest.approx(2**4, rel=0.1)


def test_renormalised_rows_do_not_feel_the_scale():
    u, v = factors(6, 5, 2)
    expected = restricted_condition(unit(u), unit(v), True)
    for c in (2.0, 8.0):
        got = restricted_condition(unit(c * u), unit(v / c), True)
        assert got == pytest.approx(expected, rel=1e-9)


def test_square_full_rank_factors_do_not_grow():
    for ratio in growth(3, 3, 3, normalise=False):
        assert ratio == pytest.approx(1.0, rel=0.01)
