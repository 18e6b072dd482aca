"""Objectives against their definitions in geometry, their identities and their optimum sets."""

import functools
import math

import numpy as np
import pytest
import torch

import sphuni as su
from sphuni.kernels import Gaussian, Laplace
from sphuni.nn import functional as F
from sphuni.nn._precision import check_weight
from sphuni.nn._preset import check_preset
from sphuni.nn._tempered import tempered_riesz
from sphuni.nn.functional import _reference

F64 = torch.float64


def weights(n, d, seed=0, dtype=F64):
    generator = torch.Generator().manual_seed(seed)
    w = torch.randn(n, d, generator=generator, dtype=F64)
    return (w * torch.logspace(-2, 2, n, dtype=F64)[:, None]).to(dtype)


def simplex(n):
    w = torch.eye(n, dtype=F64) - 1 / n
    return w / w.norm(dim=-1, keepdim=True)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("metric", ["chordal", "geodesic"])
@pytest.mark.parametrize("s", [-1.0, 0.0, 0.5, 1.0, 2.0, 3.7])
def test_mhe_is_the_riesz_energy_of_the_directions(s, metric, half):
    w = weights(7, 5)
    expected = su.riesz_energy(su.normalize(w), s=s, metric=metric, antipodal=half)
    assert F.mhe(w, s=s, metric=metric, half_space=half).item() == pytest.approx(
        expected.item(), rel=1e-13
    )


@pytest.mark.parametrize("s", [-2.0, -1.0, 0.0, 1.0, 2.0])
def test_half_space_equals_the_concatenated_set(s):
    w = weights(9, 4)
    both = F.mhe(torch.cat([w, -w]), s=s)
    assert F.mhe(w, s=s, half_space=True).item() == pytest.approx(both.item(), rel=1e-14)


def test_a_random_part_of_the_rows_estimates_the_whole_without_bias():
    w = weights(6, 4)
    subsets = torch.combinations(torch.arange(6), 3)
    for half in (False, True):
        parts = [F.mhe(w[rows], half_space=half, population=6) for rows in subsets]
        assert torch.stack(parts).mean().item() == pytest.approx(
            F.mhe(w, half_space=half).item(), rel=1e-13
        )


def test_objectives_do_not_change_under_rotation_or_scale():
    w = weights(6, 5)
    rotation = su.sphere.random_rotation(5, rng=1)
    moved = 3.0 * w @ rotation.T
    for objective in (
        F.mhe,
        lambda v: F.mhe(v, half_space=True, s=0),
        lambda v: F.mhe(v, metric="geodesic", s=1),
        F.mhs,
        lambda v: F.mhs(v, minimum="soft"),
        lambda v: F.mhs(v, minimum="row-mean", half_space=True),
        F.r_mhp,
        F.mgd,
        lambda v: F.mgd(v, half_space=True),
        F.mhc,
        F.orthogonal,
        F.mutual_coherence,
        F.uniformity,
        F.koleo,
    ):
        assert objective(moved).item() == pytest.approx(objective(w).item(), rel=1e-9)


def test_energy_tends_to_separation_as_s_grows():
    w = weights(6, 3, seed=4)
    separation = -F.mhs(w).item()
    gaps = [
        abs(F.mhe(w, s=float(s)).item() ** (-1 / s) - separation) / separation
        for s in (20, 80, 320)
    ]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.01


def test_mhs_forms_agree_with_their_definitions():
    w = weights(8, 3)
    x = su.normalize(w)
    first, second = torch.triu_indices(8, 8, 1)
    rho = (x[first] - x[second]).norm(dim=-1)
    assert F.mhs(w).item() == pytest.approx(-rho.min().item(), rel=1e-14)
    assert F.mhs(w, metric="geodesic").item() == pytest.approx(
        -su.separation(x).distance.item(), rel=1e-14
    )
    soft = torch.logsumexp(-20 * rho, 0) / 20
    assert F.mhs(w, minimum="soft").item() == pytest.approx(soft.item(), rel=1e-12)
    full = torch.cdist(x, x) + 9 * torch.eye(8, dtype=F64)
    nearest = full.min(dim=1).values
    assert F.mhs(w, minimum="row-mean").item() == pytest.approx(-nearest.mean().item(), rel=1e-7)
    assert F.mhs(w, minimum="top-k", k=3).item() == pytest.approx(
        -nearest.sort().values[:3].mean().item(), rel=1e-7
    )


def test_relaxed_polarization_is_polarization_of_exponent_minus_two():
    w = weights(7, 4)
    value = su.polarization(su.normalize(w), s=-2).value
    assert F.r_mhp(w).item() == pytest.approx((-value.item() - 2 * 7) / 2, rel=1e-12)


def test_mhp_and_mhc_are_polarization_and_covering():
    w = weights(12, 3)
    x = su.normalize(w)
    worst = su.polarization(x, s=2)
    assert F.mhp(w).item() == pytest.approx(-worst.value.item() / 12, rel=1e-9)
    assert F.mhp(w, poles=worst.witness[None]).item() == pytest.approx(
        -worst.value.item() / 12, rel=1e-9
    )
    hole = su.covering_radius(x)
    assert F.mhc(w).item() == pytest.approx(hole.radius.item(), rel=1e-12)
    assert F.mhc(w, poles=hole.witness[None]).item() == pytest.approx(hole.radius.item(), rel=1e-9)


def test_half_space_pole_objectives_are_constant_below_full_rank():
    for seed in (0, 1):
        w = weights(4, 9, seed=seed)
        assert F.mhp(w, half_space=True).item() == pytest.approx(-1.0, rel=1e-9)
        assert F.mhc(w, half_space=True).item() == pytest.approx(math.pi / 2, rel=1e-9)


@pytest.mark.parametrize("half", [False, True])
def test_mgd_is_the_log_determinant(half):
    w = weights(6, 5)
    expected = -su.gram_logdet(su.normalize(w), kernel=Gaussian(1.3), antipodal=half)
    assert F.mgd(w, epsilon=1.3, jitter=0.0, half_space=half).item() == pytest.approx(
        expected.item(), rel=1e-10
    )
    per_coordinate = torch.full((5,), 1.3, dtype=F64)
    assert F.mgd(w, epsilon=per_coordinate, jitter=0.0, half_space=half).item() == pytest.approx(
        expected.item(), rel=1e-10
    )


def test_mgd_with_a_width_per_coordinate_scales_before_the_distance():
    w = weights(4, 3)
    width = torch.tensor([0.5, 1.0, 2.0], dtype=F64)
    z = su.normalize(w) * width
    expected = -torch.logdet(torch.exp(-(torch.cdist(z, z) ** 2)))
    assert F.mgd(w, epsilon=width, jitter=0.0).item() == pytest.approx(expected.item(), rel=1e-8)


def test_orthogonality_penalties():
    w = weights(4, 6, seed=2) / 3
    gram, other = w @ w.T, w.T @ w
    assert F.so(w).item() == pytest.approx((gram - torch.eye(4)).square().sum().item())
    assert F.so(w.T).item() == pytest.approx(F.so(w).item(), rel=1e-12)
    double = (gram - torch.eye(4)).square().sum() + (other - torch.eye(6)).square().sum()
    assert F.dso(w).item() == pytest.approx(double.item(), rel=1e-12)
    norm = torch.linalg.matrix_norm(gram - torch.eye(4), ord=2).item()
    assert F.srip(w, exact=True).item() == pytest.approx(norm, rel=1e-12)
    assert F.srip(w, n_power_iterations=200).item() == pytest.approx(norm, rel=1e-6)
    assert F.srip(w, n_power_iterations=1).item() <= norm
    x = su.normalize(w)
    cosines = (x @ x.T - 2 * torch.eye(4)).abs()
    cosines.fill_diagonal_(0)
    assert F.mutual_coherence(w).item() == pytest.approx(cosines.max().item(), rel=1e-12)
    assert F.orthogonal(w).item() == pytest.approx(cosines.square().sum().item() / 12, rel=1e-12)


def test_tight_frames_reach_the_least_mean_squared_cosine():
    frame = torch.tensor([[1.0, 0.0], [-0.5, 3**0.5 / 2], [-0.5, -(3**0.5) / 2]], dtype=F64)
    assert F.orthogonal(frame).item() == pytest.approx((3 / 2 - 1) / 2, rel=1e-12)


def test_feature_losses():
    x, y = weights(9, 4), weights(9, 4, seed=5)
    a, b = su.normalize(x), su.normalize(y)
    pairs = torch.pdist(a)
    assert F.uniformity(x, t=3.0).item() == pytest.approx(
        (-3 * pairs.square()).exp().mean().log().item(), rel=1e-12
    )
    assert F.alignment(x, y, alpha=3).item() == pytest.approx(
        (a - b).norm(dim=-1).pow(3).mean().item(), rel=1e-12
    )
    nearest = (torch.cdist(a, a) + 9 * torch.eye(9, dtype=F64)).min(dim=1).values
    assert F.koleo(x).item() == pytest.approx(-nearest.log().mean().item(), rel=1e-6)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("metric", ["chordal", "geodesic"])
@pytest.mark.parametrize("s", [0, 1, 2])
def test_reference_preset_follows_the_public_code(s, metric, half):
    w = weights(6, 4) / 10
    v = torch.cat([w, -w]) if half else w
    u = v / (v.square().sum(-1, keepdim=True) + 1e-4).sqrt()
    first, second = torch.triu_indices(len(u), len(u), 1)
    c = (u[first] * u[second]).sum(-1)
    if metric == "chordal":
        value = -(2 - 2 * c).log() if s == 0 else (2 - 2 * c) ** (-s / 2)
    else:
        angle = c.acos() / math.pi + 1e-4
        value = -angle.log() if s == 0 else angle**-s
    got = F.mhe(w, s=s, metric=metric, half_space=half, preset="reference")
    assert got.item() == pytest.approx(value.mean().item(), rel=1e-10)


def test_reference_presets_of_orthogonality():
    for n, d in ((4, 6), (6, 4)):
        w = weights(n, d, seed=2) / 30
        residual = w @ w.T - torch.eye(n, dtype=F64)
        assert F.so(w, preset="reference").item() == pytest.approx(residual.square().sum().item())
        assert F.dso(w, preset="reference").item() == pytest.approx(F.dso(w).item())
        assert F.mutual_coherence(w, preset="reference").item() == pytest.approx(
            residual.abs().max().item()
        )
    assert F.orthogonal(w, preset="reference").item() == F.orthogonal(w).item()
    for penalty in (F.so, F.dso):
        with pytest.raises(ValueError, match="normalize must be left at False"):
            penalty(w, normalize=True, preset="reference")


def test_reference_presets_of_features_take_rows_as_they_are():
    x, y = weights(9, 4) / 10, weights(9, 4, seed=5) / 10
    assert F.uniformity(x, preset="reference").item() == pytest.approx(
        (-2 * torch.pdist(x).square()).exp().mean().log().item(), rel=1e-12
    )
    assert F.alignment(x, y, alpha=3, preset="reference").item() == pytest.approx(
        (x - y).norm(dim=-1).pow(3).mean().item(), rel=1e-12
    )
    closest = (x @ x.T).fill_diagonal_(-torch.inf).argmax(dim=1)
    rho = torch.nn.functional.pairwise_distance(x, x[closest])
    assert F.koleo(x, preset="reference").item() == pytest.approx(
        -(9 * rho).log().mean().item(), rel=1e-12
    )
    with pytest.raises(ValueError, match="half_space must be left at False"):
        F.uniformity(x, half_space=True, preset="reference")


@pytest.mark.parametrize(
    ("penalty", "options"),
    [
        (F.mhs, {"minimum": "soft"}),
        (F.mhs, {"metric": "geodesic"}),
        (F.mhs, {"k": 3}),
        (F.mhs, {"sharpness": 3.0}),
        (F.mgd, {"epsilon": 7.0}),
        (F.koleo, {"floor": 0.1}),
        (F.mhe, {"floor": 0.1}),
        (F.srip, {"n_power_iterations": 5}),
        (F.srip, {"exact": True}),
        (F.srip, {"normalize": True}),
        (F.mhp, {"s": 0}),
        (F.mhc, {"metric": "chordal"}),
    ],
)
def test_options_that_the_reference_does_not_have_are_refused(penalty, options):
    (name,) = options
    with pytest.raises(ValueError, match=f"{name} must be left at .* with preset='reference'"):
        penalty(weights(5, 3), preset="reference", **options)


@pytest.mark.parametrize(
    "penalty",
    [
        functools.partial(F.mhe, s=1, metric="geodesic"),
        functools.partial(F.mhe, half_space=True),
        functools.partial(F.mhs, half_space=True),
        F.mutual_coherence,
        F.uniformity,
        F.koleo,
    ],
)
def test_reference_presets_do_not_depend_on_the_size_of_their_blocks(penalty, monkeypatch):
    w = weights(11, 4) / 10
    w[3] = w[8]
    found = []
    for size in (1024, 44):
        monkeypatch.setattr(_reference, "_TILE", size)
        leaf = w.clone().requires_grad_()
        value = penalty(leaf, preset="reference")
        found.append((value, *torch.autograd.grad(value, leaf)))
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)


def test_reference_logarithm_is_twice_the_definition():
    w = 1e3 * weights(6, 4)
    assert F.mhe(w, s=0, preset="reference").item() == pytest.approx(
        2 * F.mhe(w, s=0).item(), rel=1e-6
    )


def test_reference_poles_and_separation():
    w, poles = weights(5, 3), su.normalize(weights(4, 3, seed=8))
    u = w / (w.square().sum(-1, keepdim=True) + 1e-4).sqrt()
    d2 = 2 - 2 * poles @ u.T
    assert F.mhp(w, poles=poles, preset="reference").item() == pytest.approx(
        -(1 / d2).mean(-1).min().item(), rel=1e-12
    )
    soft = -torch.log((-10 * d2).exp().mean(-1)) / 10
    assert F.mhc(w, poles=poles, preset="reference").item() == pytest.approx(
        soft.max().item(), rel=1e-12
    )
    pairs = 2 - 2 * u @ u.T + 9 * torch.eye(5, dtype=F64)
    assert F.mhs(w, preset="reference").item() == pytest.approx(-pairs.min().item(), rel=1e-12)
    assert F.r_mhp(w, preset="reference").item() == pytest.approx(w.sum(0).norm().item())


def test_tempered_kernel_is_the_definition_above_its_floor_and_its_tangent_below():
    kernel = tempered_riesz(2.0, "chordal", 0.1, F64)
    p = torch.tensor([0.5, 0.02, 0.0101, 0.0099, 0.005, 0.0], dtype=F64)
    values = kernel.value(p, 4 - p)
    torch.testing.assert_close(values[:3], 1 / p[:3])
    torch.testing.assert_close(values[3:], 100 - 1e4 * (p[3:] - 0.01))
    assert kernel.at_one == pytest.approx(200.0)
    slopes = kernel.derivative(p, 4 - p)
    leaf = p.clone().requires_grad_()
    (by_autograd,) = torch.autograd.grad(kernel.value(leaf, 4 - leaf).sum(), leaf)
    torch.testing.assert_close(slopes, -2 * by_autograd)


def test_half_space_energy_is_constant_at_minus_two_and_prefers_clusters_below():
    spread, clusters = torch.eye(4, dtype=F64), weights(1, 4) + 1e-3 * weights(4, 4, seed=7)
    for s, sign in ((-2.0, 0), (-3.0, 1), (-1.0, -1)):
        gap = (F.mhe(spread, s=s, half_space=True) - F.mhe(clusters, s=s, half_space=True)).item()
        assert gap == pytest.approx(0.0, abs=1e-9) if sign == 0 else gap * sign > 1e-3


def test_optimum_values_of_exact_sets():
    assert F.mhe(simplex(5)).item() == pytest.approx(2 / 5, rel=1e-12)
    assert F.mhs(simplex(5)).item() == pytest.approx(-((2 + 2 / 4) ** 0.5), rel=1e-12)
    assert F.r_mhp(simplex(5)).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("half", [False, True])
def test_exact_duplicates_are_finite_and_separate(half):
    w = torch.ones(3, 5, dtype=F64)
    w[1] *= -2 if half else 2
    w.requires_grad_()
    value = F.mhe(w, half_space=half)
    assert torch.isfinite(value)
    (gradient,) = torch.autograd.grad(value, w)
    moved = w - 1e-3 * gradient / gradient.norm()
    assert su.separation(su.normalize(moved.detach()), antipodal=half).distance > 1e-5
    again = F.mhe(w, half_space=half)
    assert again.item() == value.item()


def test_the_random_projection_keeps_angles_as_the_bound_says():
    generator = torch.Generator().manual_seed(0)
    w, k, epsilon = weights(2, 64), 40, 0.5
    x = su.normalize(w)
    cosine = (x[0] @ x[1]).item()
    p = torch.randn(4000, k, 64, generator=generator, dtype=F64)
    y = su.normalize(torch.einsum("ckd,nd->cnk", p, x))
    projected = (y[:, 0] * y[:, 1]).sum(-1)
    low = (cosine - epsilon) / (1 + epsilon)
    high = (cosine + epsilon) / (1 - epsilon)
    kept = ((projected >= low) & (projected <= high)).double().mean().item()
    assert kept >= (1 - 2 * math.exp(-k * epsilon**2 / 8)) ** 2


def test_half_precision_and_autocast_compute_in_float32():
    w = weights(6, 5, dtype=torch.float32) / 10
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = F.mhe(w, half_space=True)
    assert inside.dtype == torch.float32
    assert inside.item() == F.mhe(w, half_space=True).item()
    half = w.half()
    assert F.mhe(half).item() == F.mhe(half.float()).item()


def test_bad_input_is_named():
    w = weights(3, 4)
    with pytest.raises(ValueError, match="preset must be 'paper' or 'reference'; got 'x'"):
        check_preset("x")
    with pytest.raises(ValueError, match="weight must have shape"):
        F.mhe(torch.ones(3))
    with pytest.raises(ValueError, match=r"features must have .*\(0, 3\). Give one embedding per"):
        F.uniformity(torch.ones(0, 3))
    with pytest.raises(TypeError, match=r"features must be floating .* features\.float\(\)"):
        F.koleo(torch.ones(3, 4, dtype=torch.long))
    with pytest.raises(TypeError, match=r"y must be a torch tensor; got list.*as_tensor\(y\)"):
        F.alignment(w, w.tolist())
    with pytest.raises(TypeError, match="weight must be a torch tensor; got ndarray"):
        check_weight(np.ones((3, 4)))
    with pytest.raises(TypeError, match="must be floating point"):
        F.mhe(torch.ones(3, 4, dtype=torch.long))
    with pytest.raises(ValueError, match="meta device"):
        F.mhe(torch.ones(3, 4, device="meta"))
    with pytest.raises(ValueError, match="poles must have shape"):
        F.mhp(w, poles=torch.ones(2, 3, dtype=F64))
    with pytest.raises(ValueError, match="poles must be given"):
        F.mhc(w, preset="reference")
    with pytest.raises(ValueError, match="sharpness must lie"):
        F.mhs(w, minimum="soft", sharpness=1e4)
    with pytest.raises(TypeError, match=r"sharpness must be a number; got \[1\]"):
        F.mhs(w, minimum="soft", sharpness=[1])
    with pytest.raises(TypeError, match=r"k must be a whole number; got 2\.5"):
        F.mhs(w, minimum="top-k", k=2.5)
    with pytest.raises(TypeError, match=r"poles must be a torch tensor; got ndarray.*as_tensor"):
        F.mhp(w, poles=np.eye(4))
    with pytest.raises(TypeError, match=r"t must be a number; got \[1\]"):
        F.uniformity(w, t=[1])
    with pytest.raises(ValueError, match=r"population must be at least 3 .*; got 2"):
        F.mhe(w, population=2)
    with pytest.raises(TypeError, match=r"weight must have 16 bits .*float8.* weight\.float\(\)"):
        F.mhe(w.to(torch.float8_e4m3fn))
    with pytest.raises(ValueError, match="epsilon must be positive"):
        F.mgd(w, epsilon=torch.ones(3, dtype=F64))
    with pytest.raises(ValueError, match=r"epsilon must be positive and finite.*got inf"):
        F.mgd(w, epsilon=math.inf)
    with pytest.raises(TypeError, match="epsilon must be a number; got None"):
        F.mgd(w, epsilon=None)
    for options in ({}, {"poles": w}):
        with pytest.raises(ValueError, match=r"s must be at least -2, where.*got -2\.5"):
            F.mhp(w, s=-2.5, **options)
    with pytest.raises(ValueError, match="preset must be 'paper' or 'reference'; got 'x'"):
        F.srip(w, exact=True, preset="x")
    with pytest.raises(ValueError, match="n_power_iterations must be at least 1; got 0"):
        F.srip(w, n_power_iterations=0)
    with pytest.raises(ValueError, match="s must be 0, 1 or 2"):
        F.mhe(w, s=3, preset="reference")
    with pytest.raises(ValueError, match="one pair per row"):
        F.alignment(w, w[:2])
    assert Laplace(1.0).at_one == 1.0


@pytest.mark.parametrize("wrong", [[1], True, np.ones(2)], ids=["list", "truth", "several"])
@pytest.mark.parametrize("name", ["s", "floor"])
def test_options_of_energies_are_checked_whatever_came_before(name, wrong):
    w = weights(3, 4)
    F.mhe(w, **{name: 1.0})
    with pytest.raises(TypeError, match=f"{name} must be a number; got"):
        F.mhe(w, **{name: wrong})
    with pytest.raises(
        ValueError, match="metric must be 'chordal' or 'geodesic'; got \\['chordal'"
    ):
        F.mhe(w, metric=["chordal"])


def test_an_exponent_in_a_tensor_counts_with_its_value():
    w, s = weights(5, 4), torch.tensor(2.0)
    assert F.mhe(w, s=s) == F.mhe(w, s=2.0)
    s.fill_(1.0)
    assert F.mhe(w, s=s) == F.mhe(w, s=1.0) != F.mhe(w, s=2.0)


@pytest.mark.slow
def test_many_points_in_low_dimension_go_through_the_compiled_engine():
    w = weights(5000, 3, seed=3)
    expected = su.riesz_energy(su.normalize(w), s=1.0, engine="blockwise").item()
    assert F.mhe(w, s=1.0, floor=1e-6).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("penalty", [F.so, F.dso, F.orthogonal, lambda w: F.srip(w, exact=True)])
def test_equal_rows_are_parted_by_penalties_on_the_weight(penalty):
    weight = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight[2] = weight[1]
    weight.requires_grad_()
    (gradient,) = torch.autograd.grad(penalty(weight), weight)
    assert (gradient[1] - gradient[2]).norm() > 1e-6 * gradient.norm()


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize(
    "objective",
    [
        F.mhe,
        F.mhs,
        F.mgd,
        F.orthogonal,
        F.mutual_coherence,
        F.r_mhp,
        F.uniformity,
        F.koleo,
        lambda w: F.alignment(w, w.flip(0).detach()),
    ],
)
def test_rows_of_almost_no_length_have_finite_gradients(objective, dtype):
    tiny = torch.finfo(dtype).tiny
    for scale in (tiny, tiny / 10, tiny / 100, tiny / 2**18):
        w = torch.randn(5, 4, dtype=dtype, generator=torch.Generator().manual_seed(0))
        w[2] *= scale
        w.requires_grad_()
        value = objective(w)
        (gradient,) = torch.autograd.grad(value, w)
        assert torch.isfinite(value)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("metric", ["chordal", "geodesic"])
def test_one_row_covers_as_much_wherever_it_points(metric, half):
    w = weights(1, 4).requires_grad_()
    value = F.mhc(w, metric=metric, half_space=half)
    (gradient,) = torch.autograd.grad(value, w)
    angle = math.pi / 2 if half else math.pi
    expected = angle if metric == "geodesic" else 2 * math.sin(angle / 2)
    assert value.item() == pytest.approx(expected, rel=1e-12)
    assert not gradient.any()


def test_equal_rows_have_a_determinant_without_jitter():
    assert math.isfinite(F.mgd(torch.ones(2, 3), jitter=0.0).item())


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize(("s", "floor"), [(0.0, 0.01), (1.0, 0.01), (2.0, 0.01), (2.0, 0.03)])
def test_equal_rows_are_flung_apart_as_the_guide_says(s, floor, half):
    n = 64
    w = torch.nn.functional.normalize(weights(n, 300))
    w[1] = w[0]
    w.requires_grad_()
    (gradient,) = torch.autograd.grad(F.mhe(w, s=s, floor=floor, half_space=half), w)
    expected = 2.8e-3 * (s or 1) * floor ** (-s - 2) / (n * (n - 1)) / (2 if half else 1)
    assert gradient[0].norm().item() == pytest.approx(expected, rel=0.1)
