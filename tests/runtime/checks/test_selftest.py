"""The packed pair that tells a wrong picture from a right one."""

import numpy as np
import pytest

from ufafuse.runtime.checks.cases import Case, save_reference
from ufafuse.runtime.checks.selftest import find_reference, self_test
from ufafuse.runtime.errors import CheckFailed, ModelError
from ufafuse.runtime.frames import check_pair
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.packing import to_planes

pytestmark = pytest.mark.usefixtures("small_engine")


@pytest.fixture
def pack(small, tmp_path, rng):
    """Packs what the small network gives for a pair of each size, changed by ``levels``."""

    def write(name="small.reference.npz", sizes=((24, 40), (40, 24)), sha="0" * 64, levels=0.0, folder=tmp_path):
        cases, net = [], small.Net()
        for size in sizes:
            near, far = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
            planes = [to_planes(frame, check_pair(near, far)) for frame in (near, far)]
            fused = net.fuse(*planes, *map(net.means, planes))[0][0, ::-1].transpose(1, 2, 0)
            cases.append(Case(f"{size}", near, far, (fused * 255 + levels).astype(np.float32)))
        save_reference(folder / name, cases, variant="small", weights_sha256=sha)
        return folder / name

    return write


@pytest.mark.parametrize("io", ["float", "uint8"])
def test_passes_on_loading(write_model, pack, io):
    pack(sizes=((64, 64), (24, 40)))
    with Fuser(write_model(io=io), backend="onnxruntime", self_test=True) as fuser:
        assert fuser.session.calls[0]["near"][-3:] in ((3, 24, 40), (24, 40, 3))  # the smallest pair only


def test_a_wrong_picture_closes_the_model_again(write_model, pack, small, monkeypatch):
    pack(levels=2.0)
    closed = []
    monkeypatch.setattr(small.Session, "close", lambda self: closed.append(self))  # noqa: PLW0108 - builtins do not bind
    with pytest.raises(CheckFailed, match="1 of 1 pairs miss the tolerance"):
        Fuser(write_model(), backend="onnxruntime", self_test=True)
    assert len(closed) == 1


def test_found_by_the_weights_not_by_the_name(write_model, pack, tmp_path):
    pack("a.reference.npz", sha="1" * 64)
    right = pack("z.reference.npz")
    model = write_model()
    assert find_reference(model, "0" * 64)[0] == right
    with pytest.raises(ModelError, match=r"no reference result is packed for small\.onnx: run `ufa export --reference"):
        find_reference(model, "2" * 64)


def test_the_bundled_folder_is_searched_too(write_model, pack, tmp_path, monkeypatch):
    (tmp_path / "bundled").mkdir()
    monkeypatch.setattr("ufafuse.runtime.checks.selftest.FOLDER", tmp_path / "bundled")
    path = pack(folder=tmp_path / "bundled")
    assert find_reference(write_model(), "0" * 64)[0] == path


def test_an_engine_that_serves_no_packed_size(write_model, pack):
    pack()
    profiles = [{"min": [512, 512], "opt": [512, 512], "max": [512, 512], "batch": [1, 1, 1]}]
    fuser = Fuser(write_model(profiles=profiles), backend="onnxruntime")
    with pytest.raises(ModelError, match=r"serves 512x512, and .* holds no pair of such a size"):
        self_test(fuser.session, fuser.model)


def test_a_broken_package(write_model, tmp_path):
    (tmp_path / "small.reference.npz").write_bytes(b"PK\x03\x04 but no more")
    with pytest.raises(ModelError, match="holds no reference pairs"):
        Fuser(write_model(), backend="onnxruntime", self_test=True)
