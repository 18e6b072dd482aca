"""Let the tests of this folder import its helper."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))


@pytest.fixture(autouse=True, scope="session")
def tables_of_their_own(tmp_path_factory):
    """Keep simulated tables out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPHUNI_CACHE", str(tmp_path_factory.mktemp("tables")))
        yield
