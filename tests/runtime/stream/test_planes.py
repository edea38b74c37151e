"""One camera that moves its focus: settled frames of each setting are fused, whatever is lost between them."""

import math

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.messages import Frame, plane_names
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pairing import PlanePairing
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.planes import sorter_for
from ufafuse.runtime.stream.sources import IterableSource, SimSettings, SimSource, Source

SIZE = (96, 128)


def scene(planes, seed=0):
    """A sharp picture, and how each focus setting shows it: parts of it sharp, the rest blurred."""
    rng = np.random.default_rng(seed)
    sharp = cv2.GaussianBlur(rng.integers(0, 256, (*SIZE, 3), np.uint8), (0, 0), 0.8)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 3)
    depth = np.arange(SIZE[1]) * 2 * planes // SIZE[1] % planes
    return sharp, [np.where((depth == plane)[np.newaxis, :, np.newaxis], sharp, blurred) for plane in range(planes)]


def recorded(shown, settle, hold, count, *, lost=0.0, seed=1, back=False):
    """What such a camera gives: each setting in turn, frames between two of them first; some get lost."""
    rng = np.random.default_rng(seed)
    frames = []
    shown = [*shown, *shown[-2:0:-1]] if back else shown
    for number in range(count):
        step, place = divmod(number, settle + hold)
        now, before = shown[step % len(shown)], shown[(step - 1) % len(shown)]
        moving = cv2.GaussianBlur(cv2.addWeighted(now, 0.5, before, 0.5, 0), (0, 0), 2)
        if rng.random() >= lost:
            frames.append(moving if place < settle else now)
    return frames


def fuse_sharpest(*frames):
    """The sharpest frame of each part: nothing to do with a network, and as good as it can be here."""
    energy = np.stack([cv2.GaussianBlur(np.abs(cv2.Laplacian(it, cv2.CV_32F)).sum(axis=2), (0, 0), 4) for it in frames])
    best = energy.argmax(axis=0)
    return np.choose(best[..., np.newaxis], frames)


def psnr(a, b):
    error = float(np.square(a.astype(np.float64) - b).mean())
    return 10 * math.log10(255**2 / max(error, 1e-9))


def run(source, fuse=fuse_sharpest, **options):
    items = []
    pipeline = Pipeline(source, None, fuse, on_frame=items.append, options=PipelineOptions(**options))
    return items, pipeline.run(), pipeline


def assert_adds_up(summary, came):
    for plane, count in enumerate(summary["frames_in"]):
        assert count == summary["fused"] + summary["dropped"] + summary["unmatched_by_side"][plane], summary
    assert sum(summary["frames_in"]) + summary["passed_over"] == came


@pytest.mark.parametrize("lost", [0.0, 0.02])
@pytest.mark.parametrize("wanted", [None, "auto", "known"])
@pytest.mark.parametrize(("planes", "settle", "hold"), [(2, 1, 2), (2, 1, 1), (3, 0, 1), (3, 1, 1), (4, 2, 2)])
def test_as_good_as_paired_by_hand_though_frames_get_lost(planes, settle, hold, wanted, lost):
    _, shown = scene(planes)
    frames = recorded(shown, settle, hold, 60 * (settle + hold), lost=lost)
    asked = settle if wanted == "known" else wanted
    items, summary, _ = run(IterableSource(frames), planes=planes, settle=asked)
    by_hand = fuse_sharpest(*shown)
    assert len(items) >= 0.8 * 60 / planes
    assert all(len(item.pair.frames) == planes for item in items)
    assert min(psnr(item.fused, by_hand) for item in items) > 100, "each setting by a settled frame"
    assert summary["planes"] == planes
    assert summary["cycle"] == {"frames": planes * (settle + hold), "frames_a_plane": settle + hold}
    assert_adds_up(summary, len(frames))


@pytest.mark.parametrize("lost", [0.0, 0.02])
@pytest.mark.parametrize("wanted", [None, "auto"])
@pytest.mark.parametrize(("planes", "settle", "hold", "start"), [(3, 0, 1, 1), (3, 1, 1, 0), (3, 1, 2, 7), (4, 1, 1, 5)])
def test_a_focus_that_goes_there_and_back_gives_one_result_a_way(planes, settle, hold, start, wanted, lost):
    _, shown = scene(planes)
    cycle = 2 * (planes - 1) * (settle + hold)
    frames = recorded(shown, settle, hold, 40 * cycle, lost=lost, back=True)[start:]
    items, summary, pipeline = run(IterableSource(frames), planes=planes, settle=wanted)
    assert summary["cycle"] == {"frames": cycle, "frames_a_plane": settle + hold, "back": True}
    assert "there and back" in next(event.text for event in pipeline.events if event.kind == "cycle")
    assert len(items) >= 0.8 * 39
    assert min(psnr(item.fused, fuse_sharpest(*shown)) for item in items) > 100
    order = [
        [next(k for k in range(planes) if np.array_equal(it.array, shown[k])) for it in item.pair.frames] for item in items
    ]
    assert order[0] in (list(range(planes)), list(range(planes))[::-1])
    assert all(of == order[0] for of in order)
    assert_adds_up(summary, len(frames))


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(("settle", "hold", "least"), [(1, 1, 0.7), (1, 2, 0.45)])
def test_where_the_scene_moves_and_frames_get_lost_no_setting_is_taken_for_another(settle, hold, least, told):
    """The sharp parts of the picture move by a quarter of themselves in a cycle, and the times tell what is lost or do not."""
    step, count = settle + hold, 400
    settings = SimSettings(size=(96, 192), rate=100, alternate=True, planes=3, settle=settle, hold=hold, speed=1)
    camera = SimSource(None, 0, settings)
    shown = [camera.picture_of(number) for number in range(count)]
    found = 0
    for seed in range(2, 5):
        rng = np.random.default_rng(seed)
        pairing = PlanePairing(3, sorter_for(3, "auto", "order", live=True, by_index=False, tell=lambda text: None))
        for place, number in enumerate(np.flatnonzero(rng.random(count) >= 0.02).tolist()):
            for pair in pairing.add(0, Frame(shown[number], number, (number if told else place) / 100, 0.0)):
                numbers = [frame.index for frame in pair.frames]
                assert numbers[-1] - numbers[0] < 3 * step, numbers
                assert all(number % step >= settle for number in numbers), numbers
                assert [number // step % 3 for number in numbers] in ([0, 1, 2], [1, 2, 0], [2, 0, 1]), numbers
                found += 1
        assert pairing.passed_over >= pairing.in_doubt
        assert told or hold > 1 or pairing.in_doubt
    assert found >= least * 3 * count / (3 * step)


def test_what_was_decided_is_told_and_where_nothing_is_to_be_said_nothing_is():
    _, shown = scene(2)
    _, _, settling = run(IterableSource(recorded(shown, 1, 2, 60)))
    told = [event.text for event in settling.events if event.kind == "cycle"]
    assert told == ["the focus moves in a cycle of 6 frames, 3 at each of 2 settings: 2 of them are passed over"]
    _, _, plain = run(IterableSource(recorded(shown, 0, 1, 60)))
    assert not [event for event in plain.events if event.kind == "cycle"]
    still = [np.zeros((*SIZE, 3), np.uint8)] * 400
    items, summary, hopeless = run(IterableSource(still), settle="auto")
    assert "no cycle of 2 focus settings can be seen" in next(it.text for it in hopeless.events if it.kind == "cycle")
    assert len(items) == 200
    assert summary["cycle"] == {}


def test_the_first_frame_is_near_or_with_swap_far():
    _, shown = scene(3)
    frames = recorded(shown, 0, 1, 30)
    for swap in (False, True):
        items, _, _ = run(IterableSource(frames), planes=3, swap=swap)
        order = [next(k for k in range(3) if np.array_equal(it.array, shown[k])) for it in items[0].pair.frames]
        assert order == ([2, 1, 0] if swap else [0, 1, 2])
        assert len(items) == 10


class Numbered(Source):
    """A camera that tells with each frame its number, or its focus setting, as chunk data does."""

    name = "numbered"
    live = True

    def __init__(self, frames):
        self._frames = iter(frames)

    def open(self):
        pass

    def read(self, timeout):
        from ufafuse.runtime.stream.sources import EndOfSource

        try:
            return next(self._frames)
        except StopIteration:
            raise EndOfSource from None


def plain(level):
    return np.full((*SIZE, 3), level, np.uint8)  # nothing in the pictures tells the settings apart


@pytest.mark.parametrize("settle", [0, 1])
def test_by_the_sources_number_lost_frames_shift_nothing(settle):
    step = settle + 1
    numbers = [number for number in range(300) if number % 7 != 3 and number % 11 != 5]
    frames = [Frame(plain(number // step % 3 * 50 + number % step), number, number / 30, 0.0) for number in numbers]
    items, summary, _ = run(
        Numbered(frames), planes=3, settle=settle, alternate_by="number", when_late="block", fuse=lambda *it: it[0].copy()
    )
    assert len(items) > 10
    for item in items:
        levels = [int(frame.array[0, 0, 0]) for frame in item.pair.frames]
        assert levels == [settle, 50 + settle, 100 + settle]
        assert item.pair.far.index - item.pair.near.index <= 2 * step
    assert_adds_up(summary, len(frames))


@pytest.mark.parametrize("by", ["number", "order"])
@pytest.mark.parametrize("settle", [2, "auto"])
def test_by_the_setting_that_the_source_tells(settle, by):
    """Steps of irregular length, a moving lens that says -1, settling frames that the driver does not know of."""
    rng = np.random.default_rng(4)
    _, shown = scene(3)
    frames, right = [], []
    for step in range(90):
        plane = step % 3
        for _ in range(int(rng.integers(0, 3))):
            frames.append(Frame(plain(9), len(frames), len(frames) / 60, 0.0, -1))
        for place in range(2 + int(rng.integers(1, 4))):
            moving = cv2.GaussianBlur(cv2.addWeighted(shown[plane], 0.5, shown[plane - 1], 0.5, 0), (0, 0), 2)
            right.append((plane, place >= 2))
            frames.append(Frame(moving if place < 2 else shown[plane], len(frames), len(frames) / 60, 0.0, plane))
    items, summary, _ = run(Numbered(frames), planes=3, settle=settle, alternate_by=by, when_late="block")
    assert len(items) >= (26 if settle == "auto" else 30)
    for item in items:
        assert all(np.array_equal(frame.array, shown[plane]) for plane, frame in enumerate(item.pair.frames))
    assert_adds_up(summary, len(frames))


def test_a_live_camera_whose_driver_loses_frames(assert_none_moving):
    """Through the clock: the simulated camera's stamps show what is missing; the lens needs a frame to settle."""
    settings = SimSettings(size=(96, 192), rate=100, alternate=True, planes=3, settle=1, hold=1, drop=0.02, speed=1, count=500)
    items, summary, pipeline = run(SimSource(None, 0, settings), planes=3, settle="auto", fuse=lambda *it: it[0].copy())
    assert summary["cycle"]["frames"] == 6, [event.text for event in pipeline.events]
    assert len(items) > 40
    assert_none_moving(items, settings)


@pytest.fixture(name="assert_none_moving")
def _assert_none_moving():
    def check(items, settings):
        wrong = 0
        for item in items:
            numbers = [frame.index for frame in item.pair.frames]
            planes = [number // 2 % 3 for number in numbers]
            settled = all(number % (settings.settle + settings.hold) >= settings.settle for number in numbers)
            wrong += not (settled and planes in ([0, 1, 2], [1, 2, 0], [2, 0, 1]))
        assert not wrong

    return check


def test_a_whole_moment_is_given_up_where_one_setting_is_missing():
    frames = [Frame(plain(0), number, float(number), 0.0) for number in range(12) if number != 4]
    pairing = PlanePairing(3, sorter_for(3, 0, "number", live=True, by_index=True, tell=print))
    pairs = [pair for frame in frames for pair in pairing.add(0, frame)]
    assert [[frame.index for frame in pair.frames] for pair in pairs] == [[0, 1, 2], [6, 7, 8], [9, 10, 11]]
    assert pairing.received == [4, 3, 4]
    assert pairing.unmatched == [1, 0, 1]


def test_what_cannot_be_asked_for():
    frames = [plain(0)]
    for options, said in [
        ({"planes": 1}, "`planes=1` is too little"),
        ({"planes": 1000}, "`planes=1000` is too many"),
        ({"settle": "often"}, "`settle=often` is no number of frames"),
        ({"settle": -1}, "`settle=-1`"),
    ]:
        with pytest.raises(InputError, match=said):
            run(IterableSource(frames), **options)
    with pytest.raises(InputError, match="`planes` is for one camera"):
        Pipeline(IterableSource(frames), IterableSource(frames), fuse_sharpest, options=PipelineOptions(planes=3))


def test_names_of_settings():
    assert plane_names(2) == ["near", "far"]
    assert plane_names(4) == ["near", "plane 2", "plane 3", "far"]
