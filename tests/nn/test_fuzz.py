"""No NaN and no infinity, in value or gradient, whatever the weights."""

import pytest
import torch

from sphuni.nn import functional as F

OBJECTIVES = {
    "mhe": F.mhe,
    "hs-mhe": lambda w: F.mhe(w, half_space=True),
    "log": lambda w: F.mhe(w, s=0.0),
    "s=-1": lambda w: F.mhe(w, s=-1.0, half_space=True),
    "s=12": lambda w: F.mhe(w, s=12.0),
    "geodesic": lambda w: F.mhe(w, metric="geodesic", half_space=True),
    "geodesic log": lambda w: F.mhe(w, s=0.0, metric="geodesic"),
    "reference": lambda w: F.mhe(w, preset="reference", half_space=True),
    "reference angle": lambda w: F.mhe(w, preset="reference", metric="geodesic"),
    "mhs": F.mhs,
    "hs-mhs geodesic": lambda w: F.mhs(w, metric="geodesic", half_space=True),
    "soft mhs": lambda w: F.mhs(w, minimum="soft"),
    "top-k mhs": lambda w: F.mhs(w, minimum="top-k", half_space=True),
    "mhs reference": lambda w: F.mhs(w, preset="reference"),
    "mhp": lambda w: F.mhp(w, poles=torch.eye(2, w.shape[-1]) + 0.1),
    "mhc": lambda w: F.mhc(w, poles=torch.eye(2, w.shape[-1]) + 0.1),
    "hs-mhc reference": lambda w: F.mhc(
        w, poles=torch.eye(2, w.shape[-1]), half_space=True, preset="reference"
    ),
    "r-mhp": F.r_mhp,
    "mgd": F.mgd,
    "hs-mgd": lambda w: F.mgd(w, half_space=True),
    "orthogonal": F.orthogonal,
    "so": lambda w: F.so(w, normalize=True),
    "srip": lambda w: F.srip(w, normalize=True),
    "coherence": F.mutual_coherence,
    "uniformity": F.uniformity,
    "koleo": F.koleo,
}
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def hostile(seed):
    """A weight with zero rows, duplicates, antipodes or near-duplicates, at any scale."""
    g = torch.Generator().manual_seed(seed)

    def pick(count):
        return int(torch.randint(count, (), generator=g))

    n, d = 1 + pick(9), 1 + pick(12)
    w = torch.randn(n, d, generator=g, dtype=torch.float64)
    for kind in range(5):
        if pick(3) == 0:
            i, j = pick(n), pick(n)
            w[j] = (
                torch.zeros(d, dtype=torch.float64),
                w[i].clone(),
                -w[i],
                w[i] + 1e-8 * torch.randn(d, generator=g, dtype=torch.float64),
                -w[i] + 1e-8 * torch.randn(d, generator=g, dtype=torch.float64),
            )[kind]
    dtype = DTYPES[pick(4)]
    scale = 10.0 ** (12 * float(torch.rand((), generator=g)) - 6)
    largest = torch.finfo(dtype).max / 16
    return (w * scale).clamp(-largest, largest).to(dtype)


def check(name, seed):
    w = hostile(seed).requires_grad_()
    value = OBJECTIVES[name](w)
    assert torch.isfinite(value).all(), (name, seed, value)
    (gradient,) = torch.autograd.grad(value.sum(), w, allow_unused=True, materialize_grads=True)
    assert torch.isfinite(gradient).all(), (name, seed)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_hostile_weights(name):
    for seed in range(24):
        check(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_ten_thousand_hostile_weights(name):
    for seed in range(1_000, 1_000 + 10_400 // len(OBJECTIVES)):
        check(name, seed)
