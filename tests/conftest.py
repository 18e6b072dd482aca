"""What every test may use: a seeded generator and the tolerance that a dtype earns."""

import os

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # heeded only before Triton is imported

TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 2e-5,
    torch.float16: 4e-3,
    torch.bfloat16: 3e-2,
}
"""Relative, for sums of kernels at points that are not close."""


@pytest.fixture(autouse=True, scope="session")
def cache_of_their_own(tmp_path_factory):
    """One for the workers of a session: what tests simulate and compile stays out of the user's."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPHUNI_CACHE", str(shared / "cache"))
        yield


@pytest.fixture(scope="session")
def cpp_compiler():
    """Whatever torch.compile needs here; gcc alone is not enough for it."""
    from sphuni.pairwise import _inductor

    if reason := _inductor.compiler_missing():
        pytest.skip(reason)


@pytest.fixture
def set_threads():
    """`torch.set_num_threads` until the end of the test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def two_threads(set_threads):
    set_threads(2)


@pytest.fixture
def small_tables(monkeypatch):
    """Fewer simulated sets than users get, where the nulls of small layers are not the question."""
    monkeypatch.setattr("sphuni.stats.nulls._null._MANY", 1_999)


@pytest.fixture
def rng():
    return np.random.default_rng(20_240_229)


@pytest.fixture(params=list(TOLERANCE), ids=lambda dtype: str(dtype).removeprefix("torch."))
def dtype_and_tolerance(request):
    return request.param, TOLERANCE[request.param]
