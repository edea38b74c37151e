"""Small networks of every kind of the family."""

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from tests.networks import TINY  # noqa: E402 - after the check for torch
from ufafuse.network.spec import Spec  # noqa: E402


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=TINY.values(), ids=TINY.keys())
def tiny_spec(request: pytest.FixtureRequest) -> Spec:
    spec: Spec = request.param
    return spec
