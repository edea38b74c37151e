"""Small networks and pictures for the tests of training."""

from collections.abc import Iterator

import pytest

torch = pytest.importorskip("torch")

from ufafuse.train.spec import Spec  # noqa: E402 - after the check for torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


TINY = {
    "reconstruct": Spec("tiny", widths=(8,), fold=1, encoder_blocks=(2,), decoder_blocks=(1,), head="reconstruct"),
    "select": Spec(
        "tiny-select",
        widths=(8, 12, 16),
        fold=2,
        encoder_blocks=(2, 1, 2),
        decoder_blocks=(1, 2, 0),
        head="select",
        symmetric=True,
    ),
    "plain-select": Spec(
        "tiny-plain", widths=(5, 7), fold=3, encoder_blocks=(1, 2), decoder_blocks=(1, 1), head="select", residual=False
    ),
    "select-only": Spec(
        "tiny-only",
        widths=(4, 6),
        fold=1,
        encoder_blocks=(1, 1),
        decoder_blocks=(1, 0),
        head="select",
        symmetric=True,
        residual=False,
    ),
    "deep-reconstruct": Spec(
        "tiny-deep", widths=(4, 6), fold=2, encoder_blocks=(1, 2), decoder_blocks=(1, 1), head="reconstruct"
    ),
}


@pytest.fixture(params=TINY.values(), ids=TINY.keys())
def tiny_spec(request: pytest.FixtureRequest) -> Spec:
    spec: Spec = request.param
    return spec
