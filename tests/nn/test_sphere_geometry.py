"""Sphere convolutions of every geometry against patches cut out one tap at a time."""

import itertools

import pytest
import torch
import torch.nn.functional as TF

import sphuni.nn as snn

F64 = torch.float64
CONVOLUTIONS = {1: snn.SphereConv1d, 2: snn.SphereConv2d, 3: snn.SphereConv3d}
TRANSPOSED = {
    1: snn.SphereConvTranspose1d,
    2: snn.SphereConvTranspose2d,
    3: snn.SphereConvTranspose3d,
}
SIZES, KERNELS = (7, 6, 5), (3, 2, 2)


def rand(*shape, seed=0):
    return torch.randn(*shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def patches(x, kernel, stride, dilation):
    """(batch, channels, taps, *positions) of an input that is padded already."""
    rank = len(kernel)
    counts = [
        (x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(rank)
    ]
    taps = []
    for tap in itertools.product(*map(range, kernel)):
        starts = [tap[i] * dilation[i] for i in range(rank)]
        window = [
            slice(s, s + stride[i] * (counts[i] - 1) + 1, stride[i]) for i, s in enumerate(starts)
        ]
        taps.append(x[(slice(None), slice(None), *window)])
    return torch.stack(taps, dim=2)


def cosines(windows, filters, groups, eps):
    """Cosines of patches and filters (out, in / groups, taps), group by group."""
    batch, channels, taps, *places = windows.shape
    cut = windows.reshape(batch, groups, channels // groups * taps, -1)
    rows = filters.reshape(groups, len(filters) // groups, -1)
    products = torch.einsum("bgcl,gfc->bgfl", cut, rows)
    lengths = (cut.square().sum(2) + eps).sqrt()[:, :, None]
    answer = products / lengths / (rows.square().sum(-1) + eps).sqrt()[None, :, :, None]
    return answer.reshape(batch, len(filters), *places)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [0, 1, "same", "valid"])
@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel lengths")
def test_sphere_convolution_equals_a_naive_unfold(rank, mode, padding):
    x = rand(2, 4, *SIZES[:rank])
    for groups, dilation, stride in itertools.product((1, 2, 4), (1, 2), (1, 2)):
        if padding == "same" and stride == 2:
            continue  # torch has no such convolution
        layer = CONVOLUTIONS[rank](
            4,
            8,
            KERNELS[:rank],
            stride,
            padding,
            dilation,
            groups,
            padding_mode=mode,
            dtype=F64,
        )
        sides = layer._reversed_padding_repeated_twice
        padded = TF.pad(x, sides, mode="constant" if mode == "zeros" else mode)
        windows = patches(padded, layer.kernel_size, layer.stride, layer.dilation)
        expected = cosines(windows, layer.weight.flatten(2), groups, layer.eps)
        torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=1e-10)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_convolution_is_that_of_the_input_with_zeros_inserted(rank, groups, stride):
    x = rand(2, 4, *(4, 3, 3)[:rank])
    for dilation, padding, extra in itertools.product((1, 2), (0, 1), (0, 1)):
        if extra >= max(stride, dilation):
            continue  # torch has no such convolution
        layer = TRANSPOSED[rank](
            4, 8, KERNELS[:rank], stride, padding, extra, groups, dilation=dilation, dtype=F64
        )
        stuffed = x.new_zeros(2, 4, *[(n - 1) * stride + 1 for n in x.shape[2:]])
        stuffed[(slice(None), slice(None), *[slice(None, None, stride)] * rank)] = x
        sides = []
        for size in reversed(layer.kernel_size):
            least = dilation * (size - 1) - padding
            sides += [least, least + extra]
        filters = layer.weight.reshape(groups, 4 // groups, 8 // groups, -1).transpose(1, 2)
        windows = patches(TF.pad(stuffed, sides), layer.kernel_size, (1,) * rank, layer.dilation)
        expected = cosines(windows, filters.flip(-1).flatten(0, 1), groups, layer.eps)
        torch.testing.assert_close(layer(x), expected, atol=1e-12, rtol=1e-10)


def test_transposed_convolution_has_bias_kinds_and_an_output_size():
    layer = snn.SphereConvTranspose2d(
        3, 4, 3, 2, padding=1, bias=True, kind="learnable-sigmoid", dtype=F64
    )
    with torch.no_grad():
        layer.bias.copy_(torch.arange(4.0))
    x = rand(2, 3, 4, 4)
    assert layer(x).shape == (2, 4, 7, 7)
    assert layer(x, [8, 8]).shape == (2, 4, 8, 8)
    assert (layer(x) - layer.bias[:, None, None]).abs().max() <= 1
    torch.testing.assert_close(layer(x[0]), layer(x)[0])
    torch.autograd.gradcheck(layer, rand(1, 3, 2, 2).requires_grad_())
    with pytest.raises(ValueError, match=r"input must have shape \(batch, 3, size, size\)"):
        layer(torch.ones(2, 4, 4, 4))


def test_the_patch_norm_is_a_convolution_with_ones():
    layer = snn.SphereConv2d(4, 6, 2, stride=2, padding=1, groups=2, dtype=F64)
    x = rand(2, 4, 5, 5)
    norms = TF.conv2d(x.square(), torch.ones_like(layer.weight), None, 2, 1, 1, 2).sqrt()
    geometry = (layer.stride, layer.padding, layer.dilation)
    found = layer._patch_norms(x, layer.eps, lambda sums: layer._box(sums, geometry))
    torch.testing.assert_close(found, norms, atol=1e-3, rtol=1e-6)


@pytest.mark.parametrize("kind", ["cosine", "sigmoid"])
@pytest.mark.parametrize(
    "options",
    [{"padding": 1}, {"kernel_size": (3, 2), "stride": 2}, {"groups": 2}, {"dilation": 2}],
    ids=str,
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_an_export_to_onnx_gives_the_same_answers(kind, options, tmp_path):
    """Pooling with a divisor of its own would come out as another scale of the cosines."""
    onnx_reference = pytest.importorskip("onnx.reference")
    layer = snn.SphereConv2d(4, 6, **{"kernel_size": 3, **options}, kind=kind).eval()
    x, file = rand(2, 4, 7, 6).float(), tmp_path / "layer.onnx"
    torch.onnx.export(layer, (x,), file, dynamo=False, input_names=["x"])
    (found,) = onnx_reference.ReferenceEvaluator(str(file)).run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), layer(x).detach(), atol=1e-5, rtol=1e-5)
