"""Several pairs in one run: the pictures are those of single runs."""

import numpy as np
import pytest

from ufafuse.runtime.batch import fuse_batch, most_pairs
from ufafuse.runtime.fuser import Fuser


@pytest.fixture
def fuser(small_engine, write_model):
    with Fuser(write_model(), backend="onnxruntime") as opened:
        yield opened


def pairs_of(rng, count, shape=(20, 24, 3), dtype=np.uint8):
    top = 1 if dtype == np.float32 else np.iinfo(dtype).max
    return [tuple((rng.random(shape) * top).astype(dtype) for _ in range(2)) for _ in range(count)]


@pytest.mark.parametrize(
    ("shape", "dtype"), [((20, 24, 3), np.uint8), ((20, 24), np.uint8), ((20, 24, 4), np.uint16), ((9, 8, 3), np.float32)]
)
def test_as_one_by_one(fuser, rng, shape, dtype):
    pairs = pairs_of(rng, 3, shape, dtype)
    fuser.session.calls.clear()
    together = fuse_batch(fuser, pairs, want_map=True)
    assert [call["near"][0] for call in fuser.session.calls] == [3]
    for made, pair in zip(together, pairs, strict=True):
        alone = fuser.fuse_pair(*pair, want_map=True)
        np.testing.assert_array_equal(made.fused, alone.fused)
        np.testing.assert_allclose(made.map, alone.map, atol=1e-6)
        assert made.levels == alone.levels


def test_unlike_levels_and_tiles_are_fused_one_by_one(fuser, rng, write_model, small_engine):
    bright, dark = pairs_of(rng, 1)[0], tuple(frame // 16 for frame in pairs_of(rng, 1)[0])
    fuser.session.calls.clear()
    together = fuse_batch(fuser, [bright, dark])
    assert [call["near"][0] for call in fuser.session.calls] == [1, 1]
    np.testing.assert_array_equal(together[1].fused, fuser.fuse(*dark))
    with Fuser(write_model(), backend="onnxruntime", tile=8) as tiled:
        made = fuse_batch(tiled, pairs_of(rng, 2))
        assert all(one.grid is not None for one in made)


def test_on_a_cpu_a_run_is_one_pair(fuser):
    assert most_pairs(fuser) == 1
    fuser.session.on_device = True
    fuser.session.manifest.extra["profiles"] = [{"batch": [1, 4, 8]}, {"batch": [1, 2, 4]}]
    assert most_pairs(fuser) == 4


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_real_engines_give_the_same_bytes(backend, sample_pair):
    pytest.importorskip(backend, reason="needs this engine")
    near, far = (frame[:96, :128] for frame in sample_pair[:2])
    pairs = [(np.roll(near, shift, 1), np.roll(far, shift, 1)) for shift in (0, 9)]
    with Fuser("ufa-nano", backend=backend, threads=1) as fuser:
        for made, pair in zip(fuse_batch(fuser, pairs), pairs, strict=True):
            np.testing.assert_array_equal(made.fused, fuser.fuse(*pair))
