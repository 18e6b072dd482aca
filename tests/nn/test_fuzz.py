"""No NaN and no infinity, in value or gradient, whatever the weights."""

import pytest
import torch

import sphuni.nn as snn
from sphuni.nn import functional as F


def called(method, **options):
    """An objective with an inner problem, called twice so that the inner problem moves."""

    def call(w):
        objective = snn.build(method, shape=tuple(w.shape), **options)
        objective(w.detach())
        return objective(w)

    return call


def labels(w):
    return torch.arange(len(w)) % 3


def convolved(layer):
    """A sphere layer whose filters and inputs are both hostile."""

    def call(w):
        n, d = w.shape
        made = layer(d, n).to(w.dtype)
        (weight,) = (p for p in made.parameters() if p.ndim > 1)
        weight.data = w.detach().reshape(weight.shape)
        x = w.reshape(n, d, *[1] * (weight.ndim - 2)).expand(n, d, *[2] * (weight.ndim - 2))
        value = made(x).float()
        gradient = torch.autograd.grad(value.sum(), weight, retain_graph=True)[0]
        assert torch.isfinite(gradient).all()
        return value.mean()

    return call


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
    "raw so": F.so,
    "so reference": lambda w: F.so(w, preset="reference"),
    "raw dso": F.dso,
    "srip": lambda w: F.srip(w, normalize=True),
    "raw srip": F.srip,
    "coherence": F.mutual_coherence,
    "uniformity": F.uniformity,
    "uniformity reference": lambda w: F.uniformity(w, preset="reference"),
    "koleo": F.koleo,
    "alignment": lambda w: F.alignment(w, w.flip(0).detach()),
    "odd alignment": lambda w: F.alignment(w, w.flip(0).detach(), alpha=1.0),
    "mhp with poles": called("mhp"),
    "hs-mhc with poles": called("hs-mhc", projection=None),
    "rp-comhe": called("rp-comhe", k=2, C=2),
    "ap-comhe": called("ap-comhe", k=2),
    "adv-comhe": called("adv-comhe", k=2),
    "group-comhe": called("group-comhe", k=2, C=2, size=3),
    "ap-comhe reference": called("ap-comhe", k=2, preset="reference"),
    "contrastive": lambda w: snn.contrastive(w, labels(w)),
    "triplet": lambda w: snn.triplet(w, labels(w)),
    "center": lambda w: snn.center(w, labels(w), torch.ones(3, w.shape[1], dtype=w.dtype)),
    "softmax": lambda w: snn.angular_softmax(w, w.detach()[:1].expand(3, -1), labels(w), m=4.0),
    "linear softmax": lambda w: snn.angular_softmax(
        w, torch.eye(3, w.shape[1]), labels(w), g="linear", m=2.5
    ),
    "sphere linear": convolved(snn.SphereLinear),
    "sphere convolution": convolved(lambda d, n: snn.SphereConv2d(d, n, 1, kind="linear")),
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


LIKE_OTHERS = ("s=-1", "s=12", "geodesic log")


@pytest.mark.parametrize(
    "name",
    [pytest.param(k, marks=pytest.mark.slow if k in LIKE_OTHERS else ()) for k in OBJECTIVES],
)
def test_hostile_weights(name):
    for seed in range(3):
        check(name, seed)


@pytest.mark.slow
@pytest.mark.parametrize("name", OBJECTIVES)
def test_ten_thousand_hostile_weights(name):
    for seed in range(1_000, 1_000 + 10_400 // len(OBJECTIVES)):
        check(name, seed)


INNER = ("mhp", "mhc", "rp-comhe", "ap-comhe", "adv-comhe", "group-comhe")


@pytest.mark.parametrize("preset", ["paper", "reference"])
@pytest.mark.parametrize("method", INNER)
def test_layers_that_start_at_zero(method, preset):
    """A flat inner problem at first, with so many numbers that a step over nothing overflows."""
    objective = snn.build(method, preset=preset)
    later = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    for weight in (torch.zeros(64, 64), torch.zeros(64, 64), later):
        w = weight.requires_grad_()
        value = objective(w)
        (gradient,) = torch.autograd.grad(value, w)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


def test_an_adversary_of_a_constant_objective_stays_where_it_is():
    objective = snn.build("adv-comhe", objective="hs-mhe", s=-2.0)
    w = torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    assert objective(w).item() == pytest.approx(-2 * 8 / 7.5, rel=1e-5)
    assert torch.isfinite(objective.projection).all()
