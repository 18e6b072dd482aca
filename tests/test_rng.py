"""Seeds: same seed, same numbers; nothing global is read or set."""

import inspect

import numpy as np
import pytest
import torch

import sphuni
from sphuni import _rng
from sphuni._rng import numpy_generator, seeds, torch_generator


@pytest.mark.parametrize(
    "make",
    [
        lambda: 7,
        lambda: np.int64(7),
        lambda: np.random.default_rng(7),
        lambda: torch.Generator().manual_seed(7),
    ],
    ids=["int", "numpy int", "numpy", "torch"],
)
def test_equal_seeds_give_equal_numbers(make):
    assert seeds(make(), 4) == seeds(make(), 4)
    draws = [numpy_generator(make()).integers(1 << 60) for _ in range(2)]
    assert draws[0] == draws[1]
    draws = [torch.rand(3, generator=torch_generator(make())) for _ in range(2)]
    assert torch.equal(*draws)


def test_a_generator_moves_on_and_none_is_fresh():
    for generator in (np.random.default_rng(1), torch.Generator().manual_seed(1)):
        assert seeds(generator, 2) != seeds(generator, 2)
    assert seeds(None, 2) != seeds(None, 2)
    own = torch.Generator()
    assert torch_generator(own) is own


def test_a_seed_does_not_depend_on_how_many_are_asked_for():
    assert seeds(3, 10)[:4] == seeds(3, 4)
    assert len(set(seeds(3, 1000))) == 1000
    assert all(0 <= seed < 1 << 63 for seed in seeds(3, 1000))


def test_no_global_state_is_read_or_set():
    np.random.seed(0)  # noqa: NPY002  (the global state is what is tested)
    torch.manual_seed(0)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = sphuni.random_points(4, 3, rng=5), sphuni.sphere.random_rotation(3, rng=5)
    sphuni.polarization(first[0], method="bounds")
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])
    torch.manual_seed(1)
    np.testing.assert_array_equal(sphuni.random_points(4, 3, rng=5), first[0])


@pytest.mark.parametrize("bad", [1.5, "7", True, [1]])
def test_other_types_are_refused(bad):
    with pytest.raises(TypeError, match="rng must be an int, a numpy Generator"):
        inspect.unwrap(_rng._draw)(bad)


@pytest.mark.parametrize("bad", [-1, 1 << 63, 1 << 80])
def test_seeds_out_of_range_are_refused(bad):
    for function in (numpy_generator, torch_generator, lambda rng: seeds(rng, 1)):
        with pytest.raises(ValueError, match=r"rng must be a seed between 0 and 2\^63 - 1"):
            function(bad)
