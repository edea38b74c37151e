"""Black that the other frame's light spills into is not taken for less sharp than that light."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime import Fuser
from ufafuse.runtime.batch import fuse_batch
from ufafuse.runtime.blacks import LIFT, lifted, spilled_share
from ufafuse.runtime.frames import BGR_BYTES
from ufafuse.runtime.levels import kind_with_levels
from ufafuse.runtime.packing import from_planes, to_planes
from ufafuse.runtime.stack import fuse_stack

SIDE = 160


def pair(scene, sigma=6):
    """A pair of a sharp scene, H x W x 3 float in [0, 1] and linear; each half is sharp in one frame. And the scene."""
    blurred = cv2.GaussianBlur(scene, (0, 0), sigma)
    near = np.concatenate([scene[:, : SIDE // 2], blurred[:, SIDE // 2 :]], 1)
    far = np.concatenate([blurred[:, : SIDE // 2], scene[:, SIDE // 2 :]], 1)
    return tuple(np.clip(each, 0, 1).astype(np.float32) ** np.float32(1 / 2.2) for each in (near, far, scene))


def cells():
    """Bright cells on black, as under a fluorescence microscope."""
    random = np.random.default_rng(3)
    scene = np.zeros((SIDE, SIDE), np.float32)
    for _ in range(30):
        centre, axes = random.integers(0, SIDE, 2), random.integers(3, 12, 2)
        cv2.ellipse(scene, centre.tolist(), axes.tolist(), int(random.integers(180)), 0, 360, random.uniform(0.1, 0.9), -1)
    return cv2.merge([scene * random.uniform(0.6, 1, scene.shape).astype(np.float32)] * 3)


def bar():
    """A black bar before a texture."""
    noise = cv2.GaussianBlur(np.random.default_rng(5).random((SIDE, SIDE, 3)).astype(np.float32), (0, 0), 1.5)
    scene = np.clip((noise - 0.5) * 2 + 0.35, 0.05, 0.8)
    scene[:, 20:60] = 0
    return scene


def psnr(found, truth, kept=slice(None)):
    return -10 * np.log10(np.mean((np.asarray(found, np.float64) - truth)[kept] ** 2) + 1e-12)


WHITES = {"8": 255, "16": 65535, "12": 4095, "float": 1, "hdr": 50, "grey": 255}


def as_kind(frame, kind):
    levels = WHITES[kind]
    frame = np.ascontiguousarray(frame[..., 1]) if kind == "grey" else frame
    if kind in ("float", "hdr"):
        return frame * np.float32(levels)
    return np.rint(frame * levels).astype(np.uint8 if levels == 255 else np.uint16)


@pytest.fixture(scope="module", params=["ufa-edge", "ufa-nano", "ufa-free"])
def fuser(request):
    pytest.importorskip("onnxruntime")
    with Fuser(request.param, backend="onnxruntime", precision="fp32") as made:
        yield made


@pytest.mark.parametrize("kind", ["8", "16", "12", "float", "hdr", "grey"])
@pytest.mark.parametrize("scene", [cells, bar])
def test_the_black_of_the_sharp_frame_stands(fuser, scene, kind):
    near, far, truth = (as_kind(frame, kind) for frame in pair(scene()))
    white = WHITES[kind]
    fused = fuser.fuse(near, far)
    best = max(psnr(frame / white, truth / white) for frame in (near, far))
    assert psnr(fused / white, truth / white) > best + 12
    low, high = np.minimum(near, far), np.maximum(near, far)
    assert (fused >= low).all()
    assert (fused <= high).all()


def test_one_way_for_tiles_stacks_and_batches(fuser):
    near, far, _ = (as_kind(frame, "8") for frame in pair(bar()))
    whole = fuser.fuse(near, far)
    assert np.array_equal(fuse_stack(fuser, [near, far]).fused, whole)
    for made in fuse_batch(fuser, [(near, far), (far, near)]):
        assert np.abs(made.fused.astype(int) - whole).max() <= 2
    with Fuser(fuser.model, backend="onnxruntime", precision="fp32", tile=96) as tiled:
        assert np.abs(tiled.fuse(near, far).astype(int) - whole).max() <= 1


def test_a_frame_with_itself_stays(fuser):
    for kind in ("8", "16", "float"):
        near = as_kind(pair(bar())[0], kind)
        far = near.copy()
        far[:9] = near[:9].max()  # somewhere the other one is lit where this one is black
        assert lifted(near, far, kind_with_levels([near, far])[0]).lift == LIFT
        assert np.array_equal(fuser.fuse(near, far)[120:], near[120:])


def test_only_black_that_is_lit_is_lifted():
    near, far, _ = (as_kind(frame, "8") for frame in pair(bar()))
    assert spilled_share(near, far, BGR_BYTES) > 0.05
    assert lifted(near, near.copy(), BGR_BYTES) is BGR_BYTES  # black in both: nothing to choose
    grey = np.maximum(near, 5), np.maximum(far, 5)
    assert lifted(*grey, BGR_BYTES) is BGR_BYTES
    assert lifted(near, far, BGR_BYTES).lift == LIFT
    assert not lifted(near, far, BGR_BYTES).plain


def test_a_network_for_stacks_sees_frames_as_they_are():
    pytest.importorskip("onnxruntime")
    near, far, _ = (as_kind(frame, "8") for frame in pair(bar()))
    with Fuser("ufa-stack", backend="onnxruntime", precision="fp32") as fuser:
        assert fuser.shown(near, far, BGR_BYTES) is BGR_BYTES


@pytest.mark.parametrize("kind", ["8", "16", "12", "float", "hdr", "grey"])
def test_there_and_back(kind):
    near, far, _ = (as_kind(frame, kind) for frame in pair(bar()))
    seen = lifted(near, far, kind_with_levels([near, far])[0])
    planes = to_planes(near, seen)
    assert planes.min() >= np.float32(LIFT) - 1e-6
    assert planes.max() <= 1 + 1e-6
    back = from_planes(planes, seen, near)
    assert np.array_equal(back, near) if near.dtype.kind == "u" else np.abs(back - near).max() < 1e-6 * seen.unit


def test_what_is_prepared_waits_for_nothing_when_black_is_lit_for_the_first_time(monkeypatch):
    near, far, _ = pair(bar())
    near, far = (as_kind(frame, "8") for frame in (near, far))
    with Fuser("ufa-nano", backend="openvino") as opened:
        opened.prepare(near.shape[:2])

        def compiled(*_given, **_how):
            raise AssertionError("compiled once more")

        monkeypatch.setattr(opened.session._core, "compile_model", compiled)
        monkeypatch.setattr(opened.session._core, "import_model", compiled)
        for frames in ((near, near), (near, far)):
            opened.fuse(*frames)
