import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.fusion import Fusion
from ufafuse.runtime.registration.covering import Crop
from ufafuse.runtime.registration.live import Registration
from ufafuse.runtime.stacks.options import Stacked
from ufafuse.runtime.stream.live_fuser import LiveFuser, LiveFuserOptions
from ufafuse.runtime.stream.sources.sim import SimSettings, SimSource

SHIFT = 6


@pytest.fixture(scope="module")
def line():
    return SimSource(None, 0, SimSettings(size=(240, 320), defocus=2))._strips[240, 320][0][0]


def pair(line, left, shift=SHIFT):
    """A window of the line, and the same moved by ``shift`` pixels."""
    near, far = line[:, left : left + 320], line[:, left + shift : left + shift + 320]
    return np.ascontiguousarray(near), np.ascontiguousarray(far)


def registered(**options):
    told = []
    return Registration("translation", every=options.pop("every", None), report=told.append), told


def difference(near, far):
    return cv2.absdiff(near, far)[20:-20, 20:-20].mean()


def test_one_estimate_serves_all_pairs(line, monkeypatch):
    registration, told = registered()
    for left in (50, 90, 130):
        near, far = pair(line, left)
        assert difference(near, registration.moved(near, far)) < difference(near, far) / 5
        monkeypatch.setattr("ufafuse.runtime.registration.live.estimate", lambda *_: pytest.fail("estimated again"))
    assert len(told) == 1
    assert "the farthest corner moves 6.0 pixels" in told[0]


def test_it_is_estimated_anew_when_told_and_a_refusal_keeps_the_last(line):
    registration, told = registered(every=0.0)
    near, far = pair(line, 50)
    registration.moved(near, far)
    good = registration.alignment
    blank = np.full_like(near, 80)
    assert registration.moved(blank, blank) is not blank
    assert registration.alignment is good
    assert "moved as before" in told[-1]
    near, far = pair(line, 50, shift=3)
    registration.moved(near, far)
    assert registration.alignment.moved == pytest.approx(3, abs=0.2)


def test_frames_that_cannot_be_registered_stay_and_are_reported_once(monkeypatch):
    monkeypatch.setattr("ufafuse.runtime.registration.live._RETRY_SECONDS", 0.0)
    registration, told = registered()
    blank = np.full((96, 96, 3), 80, np.uint8)
    for _ in range(3):
        assert registration.moved(blank, blank) is blank
    assert len(told) == 1
    assert "left as they are" in told[0]


def test_a_change_of_size_is_a_new_beginning(line):
    registration, told = registered()
    registration.moved(*pair(line, 50))
    small = [np.ascontiguousarray(picture[:120, :200]) for picture in pair(line, 60)]
    registration.moved(*small)
    assert len(told) == 2


def test_an_unknown_motion_is_refused():
    with pytest.raises(InputError, match="align=elastic"):
        Registration("elastic", every=None, report=print)


class StubFuser:
    """Stands for `Fuser`: the mean, and a map of ones."""

    backend, precision, model, why = "stub", "fp32", "stub.onnx", "asked for"

    def __init__(self, model, **options):
        self.options = options
        self.closed = False

    def fuse(self, near, far):
        return cv2.addWeighted(near, 0.5, far, 0.5, 0)

    def fuse_pair(self, near, far, *, white=None, levels=None, want_map=False):
        return Fusion(self.fuse(near, far), np.ones(near.shape[:2], np.float32) if want_map else None, None)

    def close(self):
        self.closed = True


def test_the_engine_gives_the_map_only_when_it_is_wanted(monkeypatch):
    monkeypatch.setattr("ufafuse.runtime.stream.live_fuser.Fuser", StubFuser)
    wanted = [False]
    picture = np.zeros((8, 8, 3), np.uint8)
    with LiveFuser(
        LiveFuserOptions(arguments={"threads": 1, "precision": "fp32"}), wants_map=lambda: wanted[0], report=print
    ) as fuser:
        assert isinstance(fuser.fuse(picture, picture), np.ndarray)
        wanted[0] = True
        assert fuser.fuse(picture, picture)[1].shape == (8, 8)
        assert fuser.to_json() == {"backend": "stub", "precision": "fp32", "why": "asked for", "model": "stub.onnx"}
        stub = fuser._fuser
        assert stub.options == {"threads": 1, "precision": "fp32"}
    assert stub.closed


def test_the_engine_registers_before_it_fuses(line):
    near, far = pair(line, 50)
    options = LiveFuserOptions(model="copy", align="translation")
    with LiveFuser(options, wants_map=lambda: False, report=lambda text: None) as fuser:
        assert fuser.to_json()["alignment"] is None
        fused = fuser.fuse(near, far)
        assert np.array_equal(fused, near)
        assert fused is not near
        assert fuser.to_json()["alignment"]["moved_px"] == pytest.approx(6, abs=0.2)


def test_exposures_of_planes_are_matched_only_where_that_is_asked(monkeypatch):
    """A stack of files is matched by itself; what is live would flicker."""
    asked = []

    def stacked(_fuser, frames, options):
        asked.append((options.match_gain, [frame.mean() for frame in frames]))
        return Stacked(frames[0], Crop(0, 8, 0, 8))

    monkeypatch.setattr("ufafuse.runtime.stream.live_fuser.Fuser", StubFuser)
    monkeypatch.setattr("ufafuse.runtime.stream.live_fuser.fuse_stack", stacked)
    frames = [np.full((8, 8, 3), level, np.uint8) for level in (100, 100, 60)]
    for match, darkest in ((False, 60), (True, 100)):
        options = LiveFuserOptions(match_gain=match, planes=3)
        with LiveFuser(options, wants_map=lambda: False, report=print) as fuser:
            fuser.fuse(*frames)
        without, levels = asked.pop()
        assert without is False
        assert min(levels) == pytest.approx(darkest, abs=1)
