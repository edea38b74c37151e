"""What `ufa stream` fuses with."""

import numpy as np
import pytest

from ufafuse.runtime import precision
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.stack import StackOptions, fuse_stack
from ufafuse.runtime.stream.live_fuser import LiveFuser, LiveFuserOptions


@pytest.mark.parametrize("prefer", ["quality", "speed"])
def test_the_engine_opens_the_int8_file_for_speed(prefer, monkeypatch):
    pytest.importorskip("openvino")
    monkeypatch.setattr(precision, "multiplies_bytes", lambda: True)
    with LiveFuser(
        LiveFuserOptions(arguments={"backend": "openvino", "prefer": prefer}), wants_map=lambda: False, report=print
    ) as fuser:
        assert fuser.to_json()["precision"].startswith("int8") == (prefer == "speed")


@pytest.fixture
def live(write_model, selecting_engine):
    """``live(**options)``: a `LiveFuser` of the small network, and what it told."""
    opened = []

    def make(**options):
        told = []
        arguments = {"backend": "onnxruntime"}
        made = LiveFuser(
            LiveFuserOptions(model=str(write_model()), arguments=arguments, **options),
            wants_map=lambda: False,
            report=pytest.fail,  # of registered frames, and none are
            warn=told.append,
        )
        opened.append(made)
        return made, told

    yield make
    for made in opened:
        made.close()


def as_files(write_model, near, far, **options):
    """What `ufa fuse` makes of the pair."""
    with Fuser(str(write_model()), backend="onnxruntime") as fuser:
        return fuse_stack(fuser, [near, far], StackOptions(**options)).fused


class TestAsFilesAreFused:
    def test_what_alpha_hides_is_taken_from_the_other_frame(self, live, write_model, rng):
        near, far = (rng.integers(0, 256, (32, 48, 4), np.uint8) for _ in range(2))
        near[..., 3] = far[..., 3] = 255
        near[:, :10, 3] = 0
        fused = live()[0].fuse(near, far)
        np.testing.assert_array_equal(fused, as_files(write_model, near, far))
        assert (fused[..., 3] == 255).all()

    def test_lights_that_are_made_brighter_are_not_cut_off(self, live, write_model):
        near = np.full((96, 128), 300, np.uint16)
        near[::2] = 420
        far = near // 2
        far[40:44, 40:44] = 700  # in the near frame out of focus: 10 bits would do, but not for twice as much
        fused = live(match_gain=True)[0].fuse(near, far)
        np.testing.assert_array_equal(fused, as_files(write_model, near, far, match_gain=True))
        assert fused.max() > 1023

    def test_stark_pairs_are_told_once(self, live):
        near = np.zeros((96, 128, 3), np.uint8)
        near[:, 32:96] = 255
        far = np.full_like(near, 128)
        fuser, told = live()
        for _ in range(2):
            fuser.fuse(near, far)
        assert len(told) == 1
        assert "`model=ufa-stack` fuses such pairs better" in told[0]
