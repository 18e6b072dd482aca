"""Networks of the papers: shapes, counts that papers print, width, the sphere forms."""

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn

from sphuni.nn import InwardScale, SphereConv2d, SphereLinear, SphereNorm
from sphuni.training import models
from sphuni.training.models.inception import _TABLE, Inception
from sphuni.training.sparse import Sparse, dropout

IMAGE_NETWORKS = [
    name
    for name in models.names()
    if name not in {"gcn", "dcgan", "sn-dcgan"} and not name.startswith("pointnet")
]
SPHERES = (SphereConv2d, SphereLinear)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def built(name: str, seed: int = 0, **options: object) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return models.build(name, **options)


def assert_learns(model: nn.Module, logits: torch.Tensor, classes: int) -> None:
    """One backward pass reaches every parameter with a finite gradient."""
    targets = torch.arange(len(logits)) % classes
    nn.functional.cross_entropy(logits, targets).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name


@pytest.mark.parametrize("name", IMAGE_NETWORKS)
def test_image_networks_have_finite_gradients_and_a_classifier(name):
    model = built(name, inputs=(3, 32, 32), classes=7, width=0.0625)
    logits = model(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (2, 7)
    assert isinstance(model.classifier, nn.Linear)
    assert_learns(model, logits, 7)


@pytest.mark.parametrize(
    ("name", "convolutions"),
    [("cnn-3", 3), ("cnn-9", 9), ("cnn-18", 18), ("cnn-45", 45), ("cnn-60", 60), ("cnn-69", 69)],
)
def test_plain_networks_follow_table_5(name, convolutions):
    model = models.build(name)
    filters = [m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert filters == [64] * (convolutions // 3) + [96] * (convolutions // 3) + [128] * (
        convolutions // 3
    )
    assert model.fc.out_features == 256
    assert model.fc.in_features == 128 * 4 * 4


def test_residual_networks_have_the_layers_of_their_names():
    """32 = stem + 3 x 5 x 2 + classifier; 18 = stem + 4 x 2 x 2 + classifier; shortcuts apart."""
    for name, layers in (("resnet-32", 32), ("resnet-18", 18)):
        model = models.build(name, width=0.1)
        convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
        assert sum(m.kernel_size != (1, 1) for m in convolutions) + 1 == layers


def test_shortcuts_are_spheres_in_v1_and_plain_in_v2():
    first, second = (models.build(f"sphere-resnet-32-{form}", width=0.1) for form in ("v1", "v2"))
    kinds = [
        {type(m) for n, m in model.named_modules() if n.endswith("shortcut")} - {nn.Identity}
        for model in (first, second)
    ]
    assert kinds == [{SphereConv2d}, {nn.Conv2d}]


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        # Kipf and Welling: 1433 x 16 + 16 and 16 x 7 + 7
        ("gcn", {"inputs": (1433,), "classes": 7}, 23_063),
        # LeNet-5 with all connections
        ("lenet", {"inputs": (1, 32, 32)}, 61_706),
        ("lenet", {"inputs": (1, 28, 28)}, 61_706),
    ],
)
def test_parameter_counts_that_are_known(name, options, expected):
    assert count(models.build(name, **options)) == expected


@pytest.mark.parametrize(("name", "millions"), [("pointnet", 0.8), ("pointnet-t", 3.5)])
def test_parameter_counts_of_pointnet(name, millions):
    """Qi et al., Table 6 (40 classes)."""
    assert round(count(models.build(name, inputs=(64, 3), classes=40)) / 1e6, 1) == millions


def test_inception_blocks_have_the_parameters_of_table_1():
    """In thousands; the printed counts differ by up to 8 % from the printed filters."""
    printed = [159, 380, 364, 437, 463, 580, 840, 1072, 1388]
    channels, found = 192, []
    for row in (row for group in _TABLE for row in group):
        block = Inception(channels, row)
        weights = sum(m.weight.numel() for m in block.modules() if isinstance(m, nn.Conv2d))
        found.append(weights / 1024)
        channels = block.filters
    assert found == pytest.approx(printed, rel=0.08)
    assert found[0] == 159.5
    assert channels == 1024


def test_width_multiplies_channels():
    half = models.build("cnn-9", width=0.5)
    assert [m.out_channels for m in half.modules() if isinstance(m, nn.Conv2d)][::3] == [32, 48, 64]
    with pytest.raises(ValueError, match="width must be positive"):
        models.build("cnn-9", width=0.0)


def test_the_operator_does_not_change_the_initial_weights():
    plain, sphere = (built(name, width=0.1) for name in ("cnn-9", "sphere-cnn-9"))
    assert any(isinstance(m, SPHERES) for m in sphere.modules())
    for (name, first), second in zip(plain.named_parameters(), sphere.parameters(), strict=True):
        assert torch.equal(first, second), name


def test_sphere_networks_ignore_the_scale_of_their_filters():
    model = built("sphere-cnn-3", width=0.1, norm="none").eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    before = model(x)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, SPHERES):
                module.weight *= 3
    torch.testing.assert_close(model(x), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("share", "expected"), [("filter", 19 + 16), ("layer", 4), ("network", 1)])
def test_learnable_k_is_shared_as_asked(share, expected):
    model = models.build(
        "sphere-cnn-3",
        operator="learnable-sigmoid",
        share=share,
        channels=(4, 6, 9),
        neurons=16,
    )
    total = sum(p.numel() for name, p in model.named_parameters() if name.endswith(".k"))
    assert total == expected


def test_style_options_change_the_layers():
    model = models.build("cnn-3", width=0.1, norm="none", activation="none", operator="sphere-norm")
    kinds = {type(m) for m in model.modules()}
    assert SphereNorm in kinds
    assert not kinds & {nn.BatchNorm2d, nn.ReLU}


@pytest.mark.parametrize("name", ["simplenet", "lenet", "googlenet"])
def test_inward_scale_stands_before_the_classifier(name):
    model = built(name, inputs=(1, 28, 28), width=0.25, xi=100.0)
    seen: list[torch.Tensor] = []
    layer = next(m for m in model.modules() if isinstance(m, InwardScale))
    layer.register_forward_hook(lambda _m, _i, out: seen.append(out))
    model(torch.randn(2, 1, 28, 28))
    torch.testing.assert_close(seen[0].norm(dim=1), torch.full((2,), 0.01))


def test_controls_of_inward_scale():
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    bare = built("simplenet", inputs=(1, 28, 28), width=0.1)(x)
    options = {"inputs": (1, 28, 28), "width": 0.1, "xi": 4.0, "place": "logits"}
    torch.testing.assert_close(built("simplenet", normalize=False, **options)(x), bare / 4)
    torch.testing.assert_close(built("simplenet", **options)(x), nn.functional.normalize(bare) / 4)
    with pytest.raises(ValueError, match="place must be 'features' or 'logits'"):
        models.build("simplenet", place="nowhere")


def test_graph_network_multiplies_as_dense_matrices_do():
    rng = np.random.default_rng(0)
    features = scipy.sparse.random_array((12, 30), density=0.3, rng=rng).astype(np.float32)
    links = scipy.sparse.random_array((12, 12), density=0.3, rng=rng).astype(np.float32)
    model = built("gcn", inputs=(30,), classes=3).eval()
    x, adjacency = (torch.from_numpy(matrix.toarray()) for matrix in (features, links))
    hidden = torch.relu(adjacency @ x @ model.hidden.weight.T + model.hidden.bias)
    expected = adjacency @ hidden @ model.classifier.weight.T + model.classifier.bias
    for matrices in ((features, links), (x, adjacency.to_sparse())):
        pair = [Sparse.of(matrix) for matrix in matrices]
        torch.testing.assert_close(model(*pair), expected)


def test_sparse_products_have_the_gradient_of_dense_ones():
    matrix = torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]])
    other = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), requires_grad=True)
    weights = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    (dense,) = torch.autograd.grad(((matrix @ other) * weights).sum(), other)
    (sparse,) = torch.autograd.grad(((Sparse.of(matrix) @ other) * weights).sum(), other)
    torch.testing.assert_close(sparse, dense)


def test_dropout_keeps_the_mean_and_drops_the_share():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        kept = dropout(torch.ones(100_000), 0.25)
    assert kept.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert abs(float(kept.mean()) - 1) < 0.01


def test_pointnet_does_not_depend_on_the_order_of_points():
    model = built("pointnet-t", inputs=(20, 3), classes=5, width=0.1).eval()
    clouds = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(clouds.flip(1)), model(clouds))


def test_pointnet_gradients_are_finite():
    model = built("pointnet-t", inputs=(20, 3), classes=5, width=0.1)
    assert_learns(model, model(torch.randn(4, 20, 3)), 5)


@pytest.mark.parametrize("name", ["dcgan", "sn-dcgan"])
def test_adversaries_make_and_judge_images(name):
    model = built(name, inputs=(1, 16, 24), width=0.1, latent=8)
    images = model(torch.randn(2, 8))
    assert images.shape == (2, 1, 16, 24)
    assert float(images.detach().abs().max()) <= 1
    scores = model.discriminator(images)
    assert scores.shape == (2, 1)
    scores.sum().backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    with pytest.raises(ValueError, match="multiples of 8"):
        models.build(name, inputs=(1, 28, 28))


def test_sn_dcgan_has_a_discriminator_of_norm_one_layers():
    model = built("sn-dcgan", inputs=(1, 16, 16), width=0.1)
    for _ in range(30):
        model.discriminator(torch.randn(2, 1, 16, 16))
    for module in model.discriminator.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert float(torch.linalg.matrix_norm(module.weight.detach().flatten(1), 2)) < 1.1


def test_what_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"no network 'cnn-8'; did you mean 'cnn-"):
        models.build("cnn-8")
    with pytest.raises(TypeError, match="network 'cnn-9' has no option 'xi'; it has: depth"):
        models.build("cnn-9", xi=3.0)
    with pytest.raises(ValueError, match="operator must be one of 'conv'"):
        models.build("cnn-9", operator="convolution")
    with pytest.raises(ValueError, match="at least 8 x 8"):
        models.build("cnn-9", inputs=(3, 4, 4))
    with pytest.raises(ValueError, match="positive multiple of 3"):
        models.build("cnn-9", depth=8)
    with pytest.raises(ValueError, match="plain networks only"):
        models.build("resnet-32", operator="learnable-sigmoid", share="network")


def test_spectral_normalisation_does_not_change_the_initial_weights():
    first, second = (built(name, inputs=(1, 8, 8), width=0.1) for name in ("dcgan", "sn-dcgan"))
    pairs = zip(first.discriminator, second.discriminator, strict=True)
    weights = [
        (one.weight, two.parametrizations.weight.original)
        for one, two in pairs
        if hasattr(one, "weight")
    ]
    assert len(weights) == 8
    assert all(torch.equal(one, two) for one, two in weights)


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("small-cnn", (8,), r"\(channels, height, width\); got \(8,\)"),
        ("gcn", (1, 8, 8), r"\(features\); got \(1, 8, 8\)"),
        ("pointnet", (3,), r"\(points, coordinates\); got \(3,\)"),
    ],
)
def test_inputs_of_another_sort_are_refused(name, inputs, message):
    with pytest.raises(ValueError, match=f"network '{name}' takes inputs of shape {message}"):
        models.build(name, inputs=inputs)


def test_a_sparse_matrix_is_left_as_it_was():
    parts = np.array([1.0, 2.0], np.float32), np.array([2, 0]), np.array([0, 2, 2])
    given = scipy.sparse.csr_array(parts, shape=(2, 3))
    found = Sparse.of(given)
    assert given.indices.tolist() == [2, 0]
    given.data[:] = 9.0
    assert (found @ torch.eye(3)).tolist() == [[2.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
