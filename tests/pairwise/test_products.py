import pytest
import torch

from sphuni.pairwise.tiles import _products

SHAPES = [(3, 4, 5), (200, 130, 90), (256, 300, 33), (300, 256, 700)]


def some(*shape, dtype=torch.float32):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


@pytest.fixture(params=[False, True])
def either_library(request, monkeypatch):
    """torch's own products, and oneDNN's on whatever processor."""
    monkeypatch.setattr(_products, "_made_by_amd", lambda: request.param)
    _products._onednn.cache_clear()
    yield
    _products._onednn.cache_clear()


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize(("r", "c", "d"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_those_of_the_definition(r, c, d, dtype):
    x, y = some(2, r, d, dtype=dtype), some(2, c, d, dtype=dtype)
    exact = torch.einsum("brd,bcd->brc", x.double(), y.double()).to(dtype)
    close = {"rtol": 1e-5, "atol": 1e-3} if dtype == torch.float32 else {}
    torch.testing.assert_close(_products.matmul(x, y), exact, **close)
    torch.testing.assert_close(_products.matmul(x[:1], y[:1]), exact[:1], **close)
    wide = torch.zeros(r, c + 7, dtype=dtype)
    assert _products.product(x[0], y[0], out=wide[:, 3:-4]).data_ptr() == wide[:, 3:].data_ptr()
    torch.testing.assert_close(wide[:, 3:-4], exact[0], **close)
    assert not wide[:, :3].any()
    assert not wide[:, -4:].any()


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize(("r", "c", "d"), SHAPES)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("beta", [0, 1])
def test_products_are_added_to_what_is_there(r, c, d, batch, transposed, beta):
    left, right, start = some(batch, r, c), some(batch, c, d), some(batch, r, d)
    exact = beta * start.double() + left.double() @ right.double()
    left = left.mT.contiguous().mT if transposed else left
    target = torch.full_like(start, torch.nan) if beta == 0 else start.clone()
    _products.add_product(target, left, right, beta)
    torch.testing.assert_close(target, exact.float(), rtol=1e-5, atol=1e-3)


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize("layout", ["gaps", "turned", "turned with gaps"])
def test_products_take_rows_of_any_layout(layout):
    store = some(340, 330)
    x = (store if layout == "gaps" else store.mT)[20:300, 7:290]
    x = x.mT.contiguous().mT if layout == "turned" else x
    torch.testing.assert_close(_products.product(x, x), x @ x.mT, rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(_products.own_products(x[None])[0], x @ x.mT, rtol=1e-5, atol=1e-3)


@pytest.mark.usefixtures("either_library")
def test_products_of_leaves_are_left_to_autograd():
    x = some(200, 150).requires_grad_()
    _products.product(x, x).sum().backward()
    assert x.grad is not None


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
@pytest.mark.parametrize("shape", [(5, 3), (2, 4, 6), (1, 7, 2)])
def test_products_of_rows_have_all_derivatives(shape):
    x = some(*shape, dtype=torch.float64).requires_grad_()
    torch.testing.assert_close(_products.row_products(x), x @ x.mT)
    assert torch.autograd.gradcheck(_products.row_products, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(_products.row_products, x)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_images_have_all_derivatives():
    x, matrix = some(5, 3, dtype=torch.float64).requires_grad_(), some(4, 3, dtype=torch.float64)
    torch.testing.assert_close(_products.images(x, matrix), x @ matrix.mT)
    assert torch.autograd.gradcheck(_products.images, (x, matrix), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda x: _products.images(x, matrix).square(), x)
    assert torch.autograd.gradcheck(_products.images, (x, matrix.clone().requires_grad_()))


@pytest.mark.usefixtures("either_library")
def test_images_of_many_rows_and_their_gradients():
    x, matrix, weights = some(300, 310).requires_grad_(), some(30, 310), some(300, 30)
    (ours,) = torch.autograd.grad(_products.images(x, matrix), x, weights)
    torch.testing.assert_close(ours, weights @ matrix, rtol=1e-5, atol=1e-3)


@pytest.mark.usefixtures("either_library")
@pytest.mark.parametrize("transposed", [False, True])
def test_products_of_many_rows_and_their_gradients(transposed):
    x = some(300, 310)
    x = (x.mT if transposed else x).requires_grad_()
    weights = some(*[x.shape[0]] * 2)
    found = _products.row_products(x)
    torch.testing.assert_close(found, x @ x.mT, rtol=1e-5, atol=1e-3)
    (ours,) = torch.autograd.grad(found, x, weights, retain_graph=True)
    (plain,) = torch.autograd.grad(x @ x.mT, x, weights)
    torch.testing.assert_close(ours, plain, rtol=1e-5, atol=1e-2)
    many = torch.autograd.grad(found, x, weights[None].expand(2, -1, -1), is_grads_batched=True)[0]
    torch.testing.assert_close(many[1], plain, rtol=1e-5, atol=1e-2)
