"""The margin function and the angular softmax losses."""

import copy
import functools
import math

import pytest
import torch
import torch.nn.functional as TF
from torch.utils.checkpoint import checkpoint

import sphuni.nn as snn
from sphuni._errors import BudgetError
from sphuni.nn.losses import angular_logits, angular_softmax, psi

F64 = torch.float64
THETA = torch.linspace(0, math.pi, 2001, dtype=F64)


def features(n=6, d=3, seed=0):
    return torch.randn(n, d, dtype=F64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("m", [1.0, 1.35, 1.7, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("g", ["cosine", "linear", "sigmoid"])
def test_psi_is_continuous_and_decreasing(g, m):
    values = psi(THETA, m, g=g)
    steps = values.diff()
    assert steps.max() <= 1e-12
    assert steps.min() > -0.05
    assert values[0] == pytest.approx(1.0)


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_psi_closed_forms(m):
    torch.testing.assert_close(psi(THETA, m, g="linear"), 1 - 2 * m * THETA / math.pi)
    j = torch.floor(m * THETA / math.pi).clamp_max(m - 1)
    torch.testing.assert_close(psi(THETA, m), (-1) ** j * torch.cos(m * THETA) - 2 * j)


def test_annealing_schedule_of_sphereface():
    schedule = snn.LambdaAnneal(1000, 0.12, 1, 5)
    assert schedule(10) == pytest.approx(1000 / 2.2)
    assert schedule(10**6) == 5.0
    assert repr(schedule) == "LambdaAnneal(1000, 0.12, 1, 5)"
    with pytest.raises(ValueError, match="must not be negative"):
        snn.LambdaAnneal(base=-1)
    for name in ("base", "gamma", "power", "minimum"):
        with pytest.raises(ValueError, match=f"{name} must be finite; got nan"):
            snn.LambdaAnneal(**{name: math.nan})


def test_w_softmax_is_cross_entropy_on_length_times_g():
    x, y = features(), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = snn.WSoftmaxLoss(3, 4).double()
    cosines = TF.normalize(x) @ TF.normalize(loss.weight).T
    expected = TF.cross_entropy(x.norm(dim=1, keepdim=True) * cosines, y)
    assert loss(x, y).item() == pytest.approx(expected.item(), rel=1e-12)
    linear = snn.WSoftmaxLoss(3, 4, g="linear").double()
    logits = linear.logits(x)
    cosines = TF.normalize(x) @ TF.normalize(linear.weight).T
    expected = x.norm(dim=1, keepdim=True) * (1 - 2 * cosines.acos() / math.pi)
    torch.testing.assert_close(logits, expected)


def test_s_softmax_uses_direction_only_and_has_a_floor():
    x, y = features(), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = snn.SSoftmaxLoss(3, 4).double()
    assert loss(7 * x, y).item() == pytest.approx(loss(x, y).item(), rel=1e-12)
    perfect = snn.SSoftmaxLoss(10, 10, scale=1.0).double()
    with torch.no_grad():
        perfect.weight.copy_(torch.eye(10) - 0.1)
    floor = perfect(perfect.weight.detach(), torch.arange(10)).item()
    assert floor == pytest.approx(1.377, abs=2e-3)


def test_margin_annealing_and_detaching():
    x, y = features(), torch.tensor([0, 1, 2, 3, 0, 1])
    w = features(4, 3, seed=5)
    plain = angular_logits(x, w, g="linear")
    full = angular_logits(x, w, y, g="linear", m=2)
    mixed = angular_logits(x, w, y, g="linear", m=2, mix=5.0)
    torch.testing.assert_close(mixed, (5 * plain + full) / 6)
    off_target = torch.ones_like(plain, dtype=torch.bool).scatter(1, y[:, None], False)
    torch.testing.assert_close(full[off_target], plain[off_target])
    assert (full <= plain + 1e-12).all()
    leaf = w.clone().requires_grad_()
    constant = angular_logits(x, leaf, y, g="linear", m=2, detach_margin=True)
    torch.testing.assert_close(constant.detach(), full)
    (gradient,) = torch.autograd.grad(constant.sum(), leaf)
    (expected,) = torch.autograd.grad(angular_logits(x, leaf, g="linear").sum(), leaf)
    torch.testing.assert_close(gradient, expected)


def test_training_advances_lambda_and_the_state_dict_keeps_it():
    x, y = features().float(), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = snn.GASoftmaxLoss(3, 4, g="linear", m=4, anneal=snn.LambdaAnneal())
    for _ in range(3):
        loss(x, y)
    assert loss.mix == pytest.approx(1000 / 1.24)
    fresh = snn.GASoftmaxLoss(3, 4, g="linear", m=4, anneal=snn.LambdaAnneal())
    fresh.load_state_dict(copy.deepcopy(loss.state_dict()))
    assert fresh(x, y).item() == loss(x, y).item()
    loss.eval()
    assert loss(x, y).item() == loss(x, y).item()


@pytest.mark.parametrize("g", ["cosine", "linear", "sigmoid"])
def test_gradients_are_finite_at_the_poles(g):
    weight = torch.eye(3)
    x = torch.stack([weight[0], -weight[0], torch.zeros(3), weight[1] * 1e-6])
    x = x.requires_grad_()
    y = torch.tensor([0, 0, 1, 1])
    with pytest.warns(UserWarning, match="a margin of m = 4 rarely converges without annealing"):
        loss = snn.GASoftmaxLoss(3, 3, g=g, m=4)
    with torch.no_grad():
        loss.weight.copy_(weight)
    value = loss(x, y)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(loss.weight.grad).all()


@pytest.mark.parametrize("make", [snn.ASoftmaxLoss, snn.GASoftmaxLoss])
def test_annealed_margins_train_and_widen_the_angle(make):
    generator = torch.Generator().manual_seed(0)
    centres = 2 * torch.randn(4, 6, generator=generator)
    y = torch.arange(4).repeat(20)
    x = centres[y] + 0.7 * torch.randn(80, 6, generator=generator)
    loss = make(6, 4, m=2, anneal=snn.LambdaAnneal(100, 0.5, 1, 0.5))
    net = torch.nn.Linear(6, 6)
    optimizer = torch.optim.Adam([*net.parameters(), *loss.parameters()], lr=0.02)
    for _ in range(120):
        optimizer.zero_grad()
        loss(net(x), y).backward()
        optimizer.step()
    assert (loss.logits(net(x)).argmax(1) == y).double().mean() > 0.95


@pytest.mark.parametrize(
    ("option", "wrong", "message"),
    [
        ("m", math.nan, "m must be .*; got nan"),
        ("m", math.inf, "m must be finite; got inf"),
        ("label_smoothing", 2.0, r"label_smoothing must lie in \[0, 1\]; got 2"),
        ("label_smoothing", -0.1, r"label_smoothing must lie in \[0, 1\]; got -0\.1"),
        ("reduction", "max", "reduction must be 'mean', 'sum' or 'none'; got 'max'"),
    ],
)
def test_options_that_would_give_no_loss_are_refused_before_training(option, wrong, message):
    with pytest.raises(ValueError, match=message):
        snn.GASoftmaxLoss(3, 4, **{option: wrong}, detach_margin=True)
    x, y = features()[:4], torch.arange(4) % 3
    with pytest.raises(ValueError, match=message):
        angular_softmax(x, x, y, **{"m": 2.0, option: wrong})


@pytest.mark.parametrize("wrong", [math.nan, -1.0, -2.0, math.inf])
def test_an_annealing_without_a_number_is_refused(wrong):
    x, y = features()[:4], torch.arange(4) % 3
    with pytest.raises(ValueError, match=f"mix, which anneal returns, .*; got {wrong}"):
        angular_softmax(x, x, y, m=2.0, mix=wrong)
    loss = snn.GASoftmaxLoss(3, 4, m=2.0, anneal=lambda step: wrong, dtype=x.dtype)
    with pytest.raises(ValueError, match=f"mix, which anneal returns, .*; got {wrong}"):
        loss(x, y)


def test_bad_losses_are_refused():
    x = features()
    for call in (angular_logits, lambda x, w, g: psi(x.abs(), 2.0, g=g)):
        with pytest.raises(ValueError, match=r"g must be one of 'cosine'.*; got 'foo'"):
            call(x, x, g="foo")
    with pytest.raises(ValueError, match=r"k must be positive; got 0\.0"):
        angular_logits(x, x, g="sigmoid", k=0.0)
    for wrong in (-3.0, 0.0, math.nan):
        with pytest.raises(ValueError, match=f"scale must be positive; got {wrong}"):
            angular_logits(x, x, scale=wrong)
        with pytest.raises(ValueError, match=f"scale must be positive; got {wrong}"):
            snn.SSoftmaxLoss(3, 4, scale=wrong)
    with pytest.raises(ValueError, match=r"m must be at least 1; got 0\.5"):
        snn.GASoftmaxLoss(3, 4, m=0.5)
    with pytest.raises(ValueError, match="g must be one of 'cosine', 'linear', 'sigmoid'"):
        snn.WSoftmaxLoss(3, 4, g="tanh")
    with pytest.raises(TypeError, match="anneal must be a function of the number of calls"):
        snn.GASoftmaxLoss(3, 4, anneal=5)
    with pytest.raises(ValueError, match="num_classes must be at least 1; got 0"):
        snn.GASoftmaxLoss(3, 0)
    with pytest.raises(ValueError, match="in_features must be at least 1; got -1"):
        snn.CenterLoss(-1, 4)
    loss = snn.WSoftmaxLoss(3, 4)
    with pytest.raises(ValueError, match=r"features must have shape \(batch, 3\)"):
        loss(torch.ones(2, 5), torch.zeros(2, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must have shape \(2,\)"):
        loss(torch.ones(2, 3), torch.zeros(3, dtype=torch.long))


def test_contrastive_triplet_and_centre_losses_by_their_definitions():
    x, y = features(8, 3), torch.tensor([0, 0, 1, 1, 2, 2, 2, 3])
    d = torch.cdist(x, x)
    pairs = [
        d[i, j] ** 2 if y[i] == y[j] else max(0.0, 2 - d[i, j].item()) ** 2
        for i in range(8)
        for j in range(i + 1, 8)
    ]
    assert snn.contrastive(x, y, margin=2.0).item() == pytest.approx(sum(pairs).item() / 28)
    hard = []
    for i in range(7):
        mates = [d[i, j].item() for j in range(8) if y[j] == y[i] and j != i]
        others = [d[i, j].item() for j in range(8) if y[j] != y[i]]
        hard.append(max(0.0, max(mates) - min(others) + 0.5))
    assert snn.triplet(x, y, margin=0.5).item() == pytest.approx(sum(hard) / 7, rel=1e-6)
    centre = snn.CenterLoss(3, 4).double()
    expected = 0.5 * sum((x[i] - centre.centers[y[i]]).square().sum() for i in range(8)) / 8
    assert centre(x, y).item() == pytest.approx(expected.item())
    assert snn.ContrastiveLoss(2.0)(x, y) == snn.contrastive(x, y, margin=2.0)
    assert snn.TripletLoss(0.5)(x, y) == snn.triplet(x, y, margin=0.5)
    assert snn.AlignmentLoss(3.0)(x, x.flip(0)) == snn.alignment(x, x.flip(0), alpha=3.0)
    for module in (snn.ContrastiveLoss, snn.TripletLoss):
        with pytest.raises(ValueError, match="margin must not be negative; got -1"):
            module(-1.0)
        for wrong, what in ((math.nan, "not be negative"), (math.inf, "be finite")):
            with pytest.raises(ValueError, match=f"margin must {what}; got {wrong}"):
                module(wrong)
    with pytest.raises(ValueError, match="alpha must be at least 1; got nan"):
        snn.AlignmentLoss(math.nan)
    with pytest.raises(ValueError, match="preset must be 'paper' or 'reference'; got 'code'"):
        snn.AlignmentLoss(preset="code")


def test_softmax_losses_as_functions():
    torch.manual_seed(0)
    x, y = torch.randn(8, 3), torch.arange(8) % 4
    for loss, options in (
        (snn.WSoftmaxLoss(3, 4), {}),
        (snn.ASoftmaxLoss(3, 4, m=2.5, detach_margin=True), {"m": 2.5, "detach_margin": True}),
        (
            snn.GASoftmaxLoss(3, 4, m=2, anneal=lambda step: 5.0),
            {"g": "linear", "m": 2, "mix": 5.0},
        ),
        (snn.SSoftmaxLoss(3, 4, scale=9.0), {"scale": 9.0}),
    ):
        assert loss(x, y) == snn.angular_softmax(x, loss.weight, y, **options)


def test_distance_losses_are_finite_for_equal_rows_and_lonely_classes():
    x = torch.ones(4, 3, requires_grad=True)
    for y in (torch.zeros(4, dtype=torch.long), torch.arange(4), torch.tensor([0, 0, 1, 1])):
        for loss in (snn.contrastive, snn.triplet, snn.CenterLoss(3, 4)):
            value = loss(x, y)
            (gradient,) = torch.autograd.grad(value, x)
            assert torch.isfinite(value)
            assert torch.isfinite(gradient).all()
    with pytest.raises(ValueError, match=r"features must have shape \(n, d\) and labels \(n,\)"):
        snn.contrastive(torch.ones(3, 2), torch.zeros(2))
    with pytest.raises(ValueError, match="margin must not be negative"):
        snn.triplet(torch.ones(3, 2), torch.zeros(3), margin=-1.0)
    with pytest.raises(ValueError, match="features and centers must have as many columns"):
        snn.CenterLoss(3, 4)(torch.ones(2, 5), torch.zeros(2, dtype=torch.long))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("g", ["cosine", "linear"])
@pytest.mark.parametrize("make", [snn.SSoftmaxLoss, snn.WSoftmaxLoss])
def test_features_without_a_direction_have_a_finite_gradient(make, g, dtype):
    loss, features = make(8, 5, g=g), torch.zeros(2, 8, dtype=dtype, requires_grad=True)
    loss(features, torch.tensor([0, 1])).backward()
    expected = torch.zeros(2, 8)
    if make is snn.WSoftmaxLoss and g == "cosine":  # |x| cos(theta) is linear in x
        rows = TF.normalize(loss.weight.detach())
        expected = (rows.mean(0) - rows[:2]) / 2
    torch.testing.assert_close(features.grad, expected.to(dtype), atol=1e-3, rtol=1e-3)
    assert (features.grad == 0).all() == (expected == 0).all()


def test_triplets_far_from_the_origin_are_those_at_the_origin():
    x = torch.randn(64, 16, generator=torch.Generator().manual_seed(0)) + 1000
    labels = torch.arange(64) % 4
    exact = float(snn.losses.triplet(x.double(), labels))
    assert float(snn.losses.triplet(x, labels)) == pytest.approx(exact, rel=1e-6)


def test_labels_of_any_whole_numbers_choose_the_same_centre():
    x, centers = torch.randn(2, 2, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1])
    found = [float(snn.losses.center(x, labels.to(t), centers)) for t in (torch.int64, torch.uint8)]
    assert found[0] == found[1]
    with pytest.raises(ValueError, match="labels must lie in 0 to 1; got -1"):
        snn.losses.center(x, torch.tensor([0, -1]), centers)


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int8, torch.int32, torch.uint16])
def test_labels_of_any_whole_numbers_have_the_same_loss(dtype):
    x, labels = features(), torch.tensor([0, 1, 1, 0, 1, 0])
    loss = snn.ASoftmaxLoss(3, 2, m=2.0, dtype=F64)
    assert torch.equal(loss(x, labels.to(dtype)), loss(x, labels))


def test_no_rows_have_no_pairs():
    for loss in (snn.contrastive, snn.triplet):
        x = torch.zeros(0, 3, requires_grad=True)
        value = loss(x, torch.zeros(0, dtype=torch.long))
        value.backward()
        assert value.item() == 0.0
        assert x.grad.shape == (0, 3)


def test_labels_that_are_no_classes_are_refused():
    loss, features = snn.ASoftmaxLoss(4, 3, m=2.0), torch.ones(2, 4)
    with pytest.raises(ValueError, match="labels must lie in 0 to 2; got 3"):
        loss(features, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="labels must lie in 0 to 2; got -100"):
        loss(features, torch.tensor([-100, 1]))
    with pytest.raises(TypeError, match=r"whole numbers of classes; got torch\.float32"):
        loss(features, torch.ones(2))
    with pytest.raises(ValueError, match="k must be positive; got 0"):
        snn.SSoftmaxLoss(4, 3, g="sigmoid", k=0)
    assert snn.SSoftmaxLoss(4, 3, m=4.0, anneal=lambda call: 5.0).mix == 5.0


@pytest.mark.parametrize("loss", [snn.contrastive, snn.triplet])
def test_pairs_that_do_not_fit_are_refused_with_their_size(loss):
    x = torch.zeros(300_000, 4)
    with pytest.raises(BudgetError, match=r"batch of 300000 rows needs .* smaller batches"):
        loss(x, torch.zeros(300_000, dtype=torch.long))


@pytest.mark.parametrize("scale", [None, 30.0])
def test_features_and_classes_of_almost_no_length_have_finite_gradients(scale):
    x, w = features().float().requires_grad_(), features(4, seed=1).float().requires_grad_()
    for small in (1e-39, 1e-42):
        loss = snn.angular_softmax(small * x, small * w, torch.arange(6) % 4, scale=scale)
        for gradient in torch.autograd.grad(loss, (x, w)):
            assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("g", ["cosine", "linear", "sigmoid"])
def test_features_too_large_to_square_have_the_loss_of_their_length(g):
    x, w, labels = 1e25 * features(), features(4, seed=1), torch.arange(6) % 4
    small = x.float().requires_grad_()
    loss = snn.angular_softmax(small, w.float(), labels, g=g, m=2)
    exact = snn.angular_softmax(x, w, labels, g=g, m=2)
    assert loss.item() == pytest.approx(exact.item(), rel=1e-4)
    assert torch.isfinite(torch.autograd.grad(loss, small)[0]).all()


@pytest.mark.parametrize("reentrant", [False, True])
def test_annealing_goes_on_at_its_own_pace_where_the_loss_is_checkpointed(reentrant):
    loss = snn.GASoftmaxLoss(3, 4, m=4, anneal=lambda call: 10.0 / (1 + call))
    twin, labels = copy.deepcopy(loss), torch.arange(6) % 4
    for call in range(3):
        x, y = (features().float().requires_grad_() for _ in range(2))
        checkpoint(loss, x, labels, use_reentrant=reentrant).backward()
        twin(y, labels).backward()
        torch.testing.assert_close(x.grad, y.grad)
        assert (loss.calls, loss.mix) == (call + 1, 10.0 / (1 + call))
    torch.testing.assert_close(loss.weight.grad, twin.weight.grad)


def test_annealed_losses_count_inside_torch_func_and_in_copies():
    loss = snn.GASoftmaxLoss(3, 4, m=2, anneal=snn.LambdaAnneal(10.0, 1.0, 1.0, 0.0))
    x, labels = features().float(), torch.arange(6) % 4

    def value(weight):
        return torch.func.functional_call(loss, {"weight": weight}, (x, labels))

    torch.func.grad(value)(loss.weight.detach())
    copied = copy.deepcopy(loss)
    copied(x, labels)
    assert (loss.calls, loss.mix, copied.calls, copied.mix) == (1, 10.0, 2, 5.0)
    copied.load_state_dict(loss.state_dict())
    assert (copied.calls, copied._token != loss._token) == (1, True)


def losses_of_features():
    w, y = features(5, 3, seed=1), torch.tensor([0, 1, 2, 3, 4, 0])
    return {
        "margin": lambda x: angular_softmax(x, w, y, m=2.0),
        "weight": lambda x: angular_softmax(w, x, y[:5], m=1.7, g="linear"),
        "scale": lambda x: angular_softmax(x, w, y, scale=30.0, g="sigmoid"),
        "triplet": lambda x: snn.TripletLoss()(x, y),
        "contrastive": lambda x: snn.ContrastiveLoss()(x, y),
        "alignment": lambda x: snn.AlignmentLoss(alpha=3.0)(x, w[:1].expand_as(x)),
    }


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", losses_of_features())
def test_derivatives_forwards_are_those_backwards(name):
    loss, x, along = losses_of_features()[name], features(), features(seed=2)
    _, found = torch.func.jvp(loss, (x,), (along,))
    torch.testing.assert_close(found, (torch.func.grad(loss)(x) * along).sum())


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32], ids=str)
def test_derivatives_forwards_have_the_type_of_the_value(dtype):
    x, w = features().to(dtype), features(5, seed=1).to(dtype)
    loss = functools.partial(angular_softmax, weight=w, labels=torch.arange(6) % 5, m=2.0)
    value, tangent = torch.func.jvp(loss, (x,), (features(seed=2).to(dtype),))
    assert value.dtype == tangent.dtype == torch.float32


def test_labels_in_a_list_are_refused_by_name():
    with pytest.raises(TypeError, match=r"labels must be a torch tensor; got list.*as_tensor"):
        angular_softmax(features(), features(5), [0, 1, 2, 3, 4, 0])
    with pytest.raises(TypeError, match=r"labels must be a torch tensor; got list.*as_tensor"):
        snn.TripletLoss()(features(), [0, 1, 2, 3, 4, 0])


NOT_NUMBERS = ["1.0", [1.0], True, 1j, torch.ones(2)]
TAKING = {
    "margin": [
        lambda one: snn.contrastive(features(), LABELS, margin=one),
        lambda one: snn.triplet(features(), LABELS, margin=one),
        lambda one: snn.TripletLoss(one),
    ],
    "alpha": [
        lambda one: snn.alignment(features(), features(seed=1), alpha=one),
        lambda one: snn.AlignmentLoss(one),
    ],
    "m": [
        lambda one: psi(THETA, one),
        lambda one: angular_logits(features(), features(3), LABELS, m=one),
    ],
    "scale": [
        lambda one: angular_logits(features(), features(3), scale=one),
        lambda one: snn.SSoftmaxLoss(3, 4, scale=one),
    ],
    "label_smoothing": [
        lambda one: angular_softmax(features(), features(3), LABELS, label_smoothing=one),
        lambda one: snn.WSoftmaxLoss(3, 4, label_smoothing=one),
    ],
    "mix, which anneal returns,": [
        lambda one: angular_logits(features(), features(3), LABELS, m=2.0, mix=one),
        lambda one: snn.GASoftmaxLoss(3, 4, m=2.0, anneal=lambda call: one),
    ],
}
LABELS = torch.arange(6) % 3


@pytest.mark.parametrize("wrong", NOT_NUMBERS, ids=str)
@pytest.mark.parametrize("option", TAKING)
def test_options_that_are_no_numbers_are_named(option, wrong):
    for call in TAKING[option]:
        with pytest.raises(TypeError, match=f"^{option} must be a number; got "):
            call(wrong)


def test_a_scale_can_be_learned():
    scale, x, y = torch.tensor(3.0, dtype=F64, requires_grad=True), features(), LABELS
    loss = functools.partial(angular_softmax, x, features(3), y)
    assert torch.autograd.gradcheck(lambda one: loss(scale=one), scale)
    torch.testing.assert_close(loss(scale=scale), loss(scale=3.0))


def test_what_is_no_tensor_is_refused_by_name():
    x, rows = features(), [[0.0, 1.0, 0.0]] * 6
    refused = "must be a torch tensor; got {}.*as_tensor"
    for name, kind, call in (
        ("features", "list", lambda: angular_logits(rows, x)),
        ("features", "ndarray", lambda: snn.contrastive(x.numpy(), LABELS)),
        ("weight", "ndarray", lambda: angular_logits(x, x.numpy())),
        ("centers", "list", lambda: snn.center(x, LABELS, rows)),
        ("labels", "NoneType", lambda: angular_softmax(x, x, None)),
    ):
        with pytest.raises(TypeError, match=f"{name} {refused.format(kind)}"):
            call()
    with pytest.raises(ValueError, match=r"weight must have shape \(classes, d\); got \(3,\)"):
        angular_logits(x, x[0])
