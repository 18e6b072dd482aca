"""Inner problems: poles and projections improve, are reproducible, and cure the degeneracy."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint

import sphuni as su
import sphuni.nn as snn
from sphuni.nn import functional as F
from sphuni.nn._pair_mean import pair_mean
from sphuni.nn.regularizers import GroupProjection, LearnedProjection, Plain, RandomProjection
from sphuni.nn.regularizers._together import measure_all
from sphuni.nn.regularizers.projections import _angle_error

F64 = torch.float64


def weights(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=F64)


def collapsed(n, d):
    """Rows close to one line."""
    return weights(1, d, seed=9) + 0.05 * weights(n, d)


@pytest.mark.parametrize("kind", ["mhp", "mhc"])
@pytest.mark.parametrize("half", ["", "hs-"])
def test_warm_started_poles_find_the_worst_pole(kind, half):
    w = weights(12, 3)
    objective = snn.build(f"{half}{kind}", shape=(12, 3))
    exact = getattr(F, kind)(w, half_space=bool(half)).item()
    values = [objective(w).item() for _ in range(40)]
    assert max(values) <= exact + 1e-9
    assert values[-1] == pytest.approx(exact, rel=4e-2)
    assert values[-1] >= values[0] - 1e-9
    assert objective.poles.shape == (1, 8, 3)
    assert list(objective.parameters()) == []


@pytest.mark.parametrize("method", ["hs-mhp", "hs-mhc"])
def test_half_space_pole_objectives_are_projected_because_they_are_constant(method):
    spread, close = weights(6, 20), collapsed(6, 20)
    plain = snn.build(method, shape=(6, 20), projection=None)
    assert type(plain).__name__ == "Poles"
    function = F.mhp if method == "hs-mhp" else F.mhc
    assert function(spread, half_space=True).item() == pytest.approx(
        function(close, half_space=True).item(), rel=1e-6
    )
    projected = snn.build(method, shape=(6, 20))
    assert isinstance(projected, RandomProjection)
    assert projected.k == 5
    for _ in range(30):
        good = projected(spread).item()
    projected = snn.build(method, shape=(6, 20))
    for _ in range(30):
        bad = projected(close).item()
    assert bad > good + 0.02
    assert type(snn.build(method, shape=(30, 20))).__name__ == "Poles"
    assert snn.build(method, shape=(60, 200), projection=12).k == 12


def test_poles_can_be_reset():
    objective = snn.build("mhp", reset_every=2, inner_steps=0, redraw=0.0)
    w = weights(5, 4)
    seen = []
    for _ in range(4):
        objective(w)
        seen.append(objective.poles.clone())
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert torch.equal(seen[2], seen[3])


@pytest.mark.parametrize("method", ["mhp", "mhc"])
def test_every_call_keeps_the_worst_poles_and_draws_the_others_afresh(method):
    objective, w = snn.build(method, n_aux=6, inner_steps=0), weights(9, 4)
    objective(w)
    value, before = objective(w).item(), objective.poles[0].clone()
    for _ in range(5):
        last, value, now = value, objective(w).item(), objective.poles[0]
        assert value >= last - 1e-12
        same = torch.cdist(now, before) < 1e-9
        assert same[:3].any(1).all()
        assert not same[3:].any()
        before = now.clone()
    single = snn.build(method, n_aux=1, inner_steps=0)
    single(w)
    start = single.poles.clone()
    single(w)
    assert torch.equal(single.poles, start)
    with pytest.raises(ValueError, match=r"redraw must lie in \[0, 1\); got 1"):
        snn.build(method, redraw=1.0)


def test_random_projection_is_the_mean_over_its_draws():
    inner = Plain(F.mhe, {"half_space": True})
    objective = RandomProjection(inner, k=3, C=4, seed=5)
    w = weights(6, 10)
    matrices = objective._matrices(w)
    expected = torch.stack([F.mhe(w @ p.T, half_space=True) for p in matrices]).mean()
    first, second = objective(w), objective(w)
    assert first.item() == pytest.approx(expected.item(), rel=1e-12)
    assert second.item() != first.item()
    frozen = RandomProjection(inner, k=3, C=4, redraw_every=0, seed=5)
    assert [frozen(w).item() for _ in range(3)] == [first.item()] * 3
    narrow = weights(6, 3)
    assert objective(narrow).item() == F.mhe(narrow, half_space=True).item()


@pytest.mark.parametrize("method", ["rp-comhe", "group-comhe"])
@pytest.mark.parametrize("inner", ["hs-mhe", "hs-mhs", "hs-mhp"])
def test_layers_evaluated_together_are_those_evaluated_alone(method, inner):
    shapes = [(9, 20), (9, 33), (7, 20), (9, 12), (9, 4), (300, 20)]

    def objectives():
        made = [snn.build(method, objective=inner, k=5, C=3, seed=i) for i in range(len(shapes))]
        for one, (n, d) in zip(made, shapes, strict=True):
            one.allocate(n, d, like=torch.ones(1))
        return made

    rows = [weights(*shape, seed=i).requires_grad_() for i, shape in enumerate(shapes)]
    together, alone = objectives(), objectives()
    for _ in range(2):
        readings = [one.read(weight) for one, weight in zip(together, rows, strict=True)]
        measured = measure_all(together, readings)
        found = {i: one for each in measured for i, one in zip(*each, strict=True)}
        values = [found[i] for i in range(len(rows))]
        expected = [objective(one) for objective, one in zip(alone, rows, strict=True)]
        torch.testing.assert_close(torch.stack(values), torch.stack(expected))
        for a, b in zip(
            torch.autograd.grad(sum(values), rows),
            torch.autograd.grad(sum(expected), rows),
            strict=True,
        ):
            torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-9)
    assert [one.draws for one in together] == [2] * len(shapes)
    assert [one.objective.draws for one in together] == [one.objective.draws for one in alone]


def test_redrawing_every_few_calls():
    objective = RandomProjection(Plain(F.mhe, {}), k=3, C=1, redraw_every=2)
    w = weights(6, 10)
    values = [objective(w).item() for _ in range(4)]
    assert values[0] == values[1] != values[2] == values[3]


def test_angle_preserving_projection_learns_the_angles():
    objective = LearnedProjection(Plain(F.mhe, {}), goal="angles", k=6, inner_steps=5)
    w = weights(8, 12)
    objective(w)
    start = _angle_error(w, objective.projection).item()
    for _ in range(60):
        objective.inner_lr = 0.02
        objective(w)
    assert _angle_error(w, objective.projection).item() < 0.3 * start
    assert objective(w).item() == pytest.approx(F.mhe(w).item(), rel=0.05)


def test_adversarial_projection_raises_the_energy():
    w = weights(8, 12)
    objective = LearnedProjection(Plain(F.mhe, {}), goal="energy", k=6, inner_steps=3)
    objective.inner_lr = 0.01
    values = [objective(w).item() for _ in range(25)]
    assert values[-1] > 1.2 * values[0]


@pytest.mark.parametrize("goal", ["angles", "energy"])
def test_unrolled_gradient_is_that_of_the_unrolled_value(goal):
    objective = LearnedProjection(
        Plain(F.mhe, {}), goal=goal, k=3, inner_steps=0, inner_lr=0.01, unroll=True
    )
    w = weights(5, 6).requires_grad_()
    objective(w)
    objective.eval()
    (gradient,) = torch.autograd.grad(objective(w), w)
    direction, h = weights(5, 6, seed=3), 1e-6
    ahead = objective((w + h * direction).detach().requires_grad_()).item()
    behind = objective((w - h * direction).detach().requires_grad_()).item()
    # the length of the step is held constant, so the match is close but not exact
    assert (gradient * direction).sum().item() == pytest.approx((ahead - behind) / (2 * h), rel=0.2)


def test_groups_of_rows_are_projected_by_themselves():
    objective = GroupProjection(Plain(F.mhe, {}), size=4, k=3, C=5)
    w = weights(10, 8)
    images = objective.read(w).image
    assert images.shape == (5, 4, 3)
    w.requires_grad_()
    objective(w).backward()
    assert (w.grad.abs().sum(1) > 0).sum() >= 4


@pytest.mark.parametrize("method", ["rp-comhe", "ap-comhe", "adv-comhe", "group-comhe"])
@pytest.mark.parametrize("inner", ["mhe", "hs-mhs", "hs-mhp", "r-mhp", "hs-mhc", "hs-mgd", "so"])
def test_compressed_methods_wrap_any_objective(method, inner):
    objective = snn.build(method, objective=inner, k=4, shape=(7, 20))
    w = weights(7, 20).requires_grad_()
    value = objective(w)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(w.grad).all()
    assert w.grad.abs().max() > 0


def test_reference_presets_of_inner_problems():
    projected = snn.build("rp-comhe", preset="reference")
    assert (projected.k, projected.C, projected.redraw_every) == (40, 20, 1)
    assert snn.build("adv-comhe", preset="reference").unroll
    pole = snn.build("mhp", preset="reference")
    assert (pole.n_aux, pole.inner_steps) == (1, 10)
    w = weights(5, 60)
    for method in ("rp-comhe", "ap-comhe", "adv-comhe", "mhp", "mhc", "mgd", "mhs"):
        assert torch.isfinite(snn.build(method, preset="reference")(w))


@pytest.mark.parametrize("method", ["ap-comhe", "adv-comhe"])
def test_learned_projections_of_the_authors_take_plain_steps(method):
    w = weights(7, 40)
    objective = snn.build(method, shape=(7, 40), preset="reference", inner_steps=1, inner_lr=0.2)
    objective.allocate(7, 40, like=w)
    projection = objective.projection.clone().to(w).requires_grad_()
    image = w @ projection.mT
    if method == "ap-comhe":
        cosines = [su.normalize(rows) @ su.normalize(rows).mT for rows in (w, image)]
        value, sign = torch.linalg.matrix_norm(cosines[0] - cosines[1]), -1
    else:
        value, sign = F.mhe(image, s=2.0, preset="reference"), 1
    (gradient,) = torch.autograd.grad(value, projection)
    with torch.no_grad():
        objective(w)
    expected = projection + 0.2 * (sign * gradient - 5e-7 * projection)
    torch.testing.assert_close(objective.projection.to(w), expected.detach())


def test_bad_inner_problems_are_refused():
    with pytest.raises(ValueError, match=r"k must be at least 2 \(dimensions\); got 1"):
        snn.build("rp-comhe", k=1)
    with pytest.raises(ValueError, match="C must be at least 1"):
        snn.build("rp-comhe", C=0)
    with pytest.raises(ValueError, match="n_aux must be at least 1"):
        snn.build("mhp", n_aux=0)
    with pytest.raises(TypeError, match=r"'hs-mhe' takes no option 'q'; its options are s.*, k, C"):
        snn.build("rp-comhe", q=1)
    with pytest.raises(ValueError, match="rows must be at least 2"):
        snn.build("mhe", rows=1)


INNER = ["mhp", "mhc", "rp-comhe", "ap-comhe", "adv-comhe", "group-comhe"]


@pytest.mark.parametrize("method", INNER)
def test_state_of_an_objective_is_taken_up_by_a_new_one(method):
    w, objective, fresh = weights(8, 64), snn.build(method), snn.build(method)
    for _ in range(3):
        objective(w)
    fresh.load_state_dict(objective.state_dict())
    assert fresh(w).item() == objective(w).item()
    objective.load_state_dict(snn.build(method).state_dict())
    assert objective(w).item() == snn.build(method)(w).item()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("rp-comhe", {"k": 3}),
        ("ap-comhe", {"k": 3}),
        ("srip", {}),
        ("mhe", {"rows": 4}),
        ("mhp", {}),
        ("rp-comhe", {"k": 3, "redraw_every": 0, "objective": "mhc"}),
    ],
)
def test_objectives_that_draw_are_refused_inside_of_checkpoints(method, options, reentrant):
    weight = weights(6, 9).requires_grad_()
    objective = snn.build(method, **options)
    with pytest.raises(RuntimeError, match="the objective was called in a backward pass, as"):
        checkpoint(objective, weight, use_reentrant=reentrant).backward()
    checkpoint(objective.eval(), weight, use_reentrant=reentrant).backward()
    (expected,) = torch.autograd.grad(objective(weight), weight)
    torch.testing.assert_close(weight.grad, expected)


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize(
    ("method", "options"), [("hs-mhe", {}), ("rp-comhe", {"k": 3, "redraw_every": 0})]
)
def test_objectives_that_do_not_draw_may_be_checkpointed(method, options, reentrant):
    weight = weights(6, 9).requires_grad_()
    objective = snn.build(method, **options)
    (expected,) = torch.autograd.grad(objective(weight), weight)
    checkpoint(objective, weight, use_reentrant=reentrant).backward()
    torch.testing.assert_close(weight.grad, expected)


@pytest.mark.parametrize(("method", "options"), [("rp-comhe", {"k": 3}), ("mhp", {})])
def test_gradients_may_be_added_inside_of_a_backward_pass(method, options):
    """As by a hook that steps each parameter as soon as its gradient is there."""
    models = [torch.nn.Sequential(torch.nn.Linear(9, 6), torch.nn.Linear(6, 4)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    regs = [
        snn.regularize(one, method, mode="decoupled", project_first=True, **options)
        for one in models
    ]
    last = models[0][0].weight  # the one whose gradient comes last
    last.register_post_accumulate_grad_hook(lambda _: regs[0].add_gradients())
    for one in models:
        one(torch.ones(2, 9)).sum().backward()
    regs[1].add_gradients()
    for mine, other in zip(*(one.parameters() for one in models), strict=True):
        torch.testing.assert_close(mine.grad, other.grad)


def test_state_of_another_size_is_refused():
    objective, other = snn.build("mhp"), snn.build("mhp", n_aux=3)
    objective(weights(8, 64))
    other(weights(8, 64))
    with pytest.raises(RuntimeError, match="size mismatch for poles"):
        objective.load_state_dict(other.state_dict())


@pytest.mark.parametrize("inner", ["hs-mhe", "mhs", "mhp"])
@pytest.mark.parametrize("method", ["rp-comhe", "group-comhe"])
def test_random_projections_of_a_batch_are_the_mean_over_its_sets(method, inner):
    batch = torch.stack([weights(9, 20, seed=i) for i in range(3)]).requires_grad_()
    for count in (2, 3):
        options = {"objective": inner, "k": 5, "C": count}
        if inner == "mhp":
            options |= {"n_aux": 40, "inner_steps": 40}
        if method == "group-comhe":
            options["size"] = 4
        value = snn.build(method, **options)(batch)
        alone = torch.stack([snn.build(method, **options)(one) for one in batch]).mean()
        close = {"rel": 0.02} if inner == "mhp" else {"rel": 1e-12}
        assert value.item() == pytest.approx(alone.item(), **close)
    nested = snn.build(method, **options)(batch.reshape(1, 3, 1, 9, 20))
    assert nested.item() == pytest.approx(value.item(), rel=1e-12)


@pytest.mark.parametrize("method", ["rp-comhe", "ap-comhe", "group-comhe"])
def test_the_way_back_of_a_batch_is_that_of_autograd(method):
    batch = torch.stack([weights(9, 20, seed=i) for i in range(3)]).requires_grad_()
    image, _, add_back = snn.build(method, k=5).read(batch)
    upstream = torch.randn(image.shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad(image, batch, upstream)
    torch.testing.assert_close(add_back(torch.zeros(3, 9, 20, dtype=F64), upstream), expected)


def test_one_learned_projection_serves_the_sets_of_a_batch():
    batch = torch.stack([weights(8, 12, seed=i) for i in range(2)])
    objective = LearnedProjection(Plain(F.mhe, {}), goal="angles", k=6, inner_lr=0.02)
    objective(batch)
    start = _angle_error(batch, objective.projection).item()
    each = [_angle_error(one, objective.projection).item() for one in batch]
    assert start == pytest.approx(sum(each) / 2, rel=1e-12)
    for _ in range(200):
        objective(batch)
    assert _angle_error(batch, objective.projection).item() < 0.5 * start
    for method in ("ap-comhe", "adv-comhe"):
        for preset in ("paper", "reference"):
            assert torch.isfinite(snn.build(method, k=6, preset=preset)(batch))


def test_poles_follow_the_weight_to_its_device():
    objective = snn.build("mhp")
    objective(weights(5, 6))
    objective._renew(torch.empty(1, 5, 6, device="meta"))
    assert objective.poles.is_meta


def test_exponents_that_are_no_numbers_are_named_whatever_the_metric():
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Linear(5, 4))
    for metric in ("chordal", "geodesic"):
        with pytest.raises(TypeError, match="s must be a number; got '2'"):
            snn.regularize(model, "mhe", s="2", metric=metric)


def test_a_pair_mean_has_the_population_of_the_call():
    objective = Plain(F.mhe, {"half_space": True, "population": 9, "preset": "paper"})
    weight = weights(5, 12)
    mean = objective.pair_mean(weight, 20)
    assert pair_mean(weight, mean).item() == objective.penalty(weight, 20).item()
