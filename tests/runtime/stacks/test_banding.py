"""Bands of light that differ from frame to frame."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.details import details_of
from ufafuse.runtime.frames import FrameKind
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stack import fuse_stack
from ufafuse.runtime.stacks import room
from ufafuse.runtime.stacks.banding import find_banding
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.passing import Passing

BYTES = FrameKind(np.dtype(np.uint8), 3, 255.0, "bgr")
STARTS = [0.1, 0.45, 0.8, 0.3, 0.65, 0.95, 0.2]  # of the bands in each frame, in periods


def stack(count=5, size=(240, 320), seed=3):
    """A scene that is sharp in another band of each frame and grows a little from one to the next, float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    fine = cv2.GaussianBlur(rng.normal(size=(*size, 3)).astype(np.float32), (0, 0), 1.2)
    coarse = cv2.resize(rng.normal(size=(6, 8, 3)).astype(np.float32), size[::-1], interpolation=cv2.INTER_CUBIC)
    scene = np.clip(0.45 + 0.14 * fine / fine.std() + 0.06 * coarse, 0.1, 0.85)
    place = np.linspace(0, count - 1, size[1])[None, :, None]
    frames = []
    for number in range(count):
        grown = cv2.getRotationMatrix2D((size[1] / 2, size[0] / 2), 0, 1 + 0.003 * number)
        seen = cv2.warpAffine(scene, grown, size[::-1], borderMode=cv2.BORDER_REFLECT)
        share = np.clip(np.abs(place - number) / 2, 0, 1).astype(np.float32)
        frames.append(seen * (1 - share) + cv2.GaussianBlur(seen, (0, 0), 3) * share)
    return frames


def banded(frames, cycles, depth, *, down=True, starts=STARTS):
    """With bands, in the light before a camera's curve."""
    rows = np.arange(frames[0].shape[0 if down else 1]) / frames[0].shape[0 if down else 1]
    made = []
    for frame, start in zip(frames, starts, strict=False):
        light = (1 + depth * np.sin(2 * np.pi * (cycles * rows + start))) ** (1 / 2.2)
        spread = light.astype(np.float32)[:, None] if down else light.astype(np.float32)[None]
        made.append(frame * (spread[..., None] if frame.ndim == 3 else spread))
    return made


def in_levels(frames, dtype=np.uint8, white=255):
    return [
        np.clip(frame * white, 0, white).astype(dtype)
        if dtype == np.float32
        else np.rint(np.clip(frame, 0, 1) * white).astype(dtype)
        for frame in frames
    ]


def apart(frames, others):
    return float(np.mean([np.abs(a.astype(float) - b).mean() for a, b in zip(frames, others, strict=True)]))


@pytest.mark.parametrize("down", [True, False])
@pytest.mark.parametrize(("cycles", "depth"), [(6, 0.15), (6.4, 0.3), (40, 0.15), (15.3, 0.08)])
def test_bands_are_found_and_evened(cycles, depth, down):
    clean = in_levels(stack())
    given = in_levels(banded(stack(), cycles, depth, down=down))
    found = find_banding(given, BYTES)
    assert found is not None
    assert (found.down, found.cycles) == (down, pytest.approx(cycles, abs=0.3))
    assert found.depth == pytest.approx(depth / 2.2, rel=0.25)
    assert apart([found.evened(frame) for frame in given], clean) < 0.35 * apart(given, clean)


@pytest.mark.parametrize(("dtype", "white"), [(np.uint16, 65535), (np.uint16, 4095), (np.float32, 1)])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_bands_in_all_that_frames_are(dtype, white, channels):
    def made(frames):
        frames = in_levels(frames, dtype, white)
        if channels in (0, 1):
            return [frame[..., 1] if channels == 0 else np.ascontiguousarray(frame[..., 1:2]) for frame in frames]
        alpha = np.full((*frames[0].shape[:2], channels - 3), white, dtype)
        return [np.concatenate([frame, alpha], axis=2) for frame in frames]

    kind = FrameKind(np.dtype(dtype), channels, float(white), "bgr")
    clean, given = made(stack()), made(banded(stack(), 12, 0.2))
    found = find_banding(given, kind)
    assert found is not None
    evened = [found.evened(frame) for frame in given]
    assert all((a.dtype, a.shape) == (b.dtype, b.shape) for a, b in zip(evened, given, strict=True))
    assert apart(evened, clean) < 0.3 * apart(given, clean)
    if channels == 4:
        assert all((frame[..., 3] == white).all() for frame in evened)


def test_lamps_of_three_colours_flicker_each_by_itself():
    channels = [banded([frame[..., channel] for frame in stack()], 11, 0.1 + 0.1 * channel) for channel in range(3)]
    given, clean = in_levels([np.stack(planes, axis=-1) for planes in zip(*channels, strict=True)]), in_levels(stack())
    found = find_banding(given, BYTES)
    assert apart([found.evened(frame) for frame in given], clean) < 0.3 * apart(given, clean)


def test_a_lamp_that_is_switched_gives_bands_with_edges():
    """Dimmed to a third: a frame's rows see the lamp for a longer or a shorter time, in a wave that is no sine."""
    rows = np.arange(240) / 240
    steady, given = stack(), []
    for frame, start in zip(steady, STARTS, strict=False):
        lit = cv2.blur((((7 * rows + start) % 1) < 1 / 3).astype(np.float32), (1, 15), borderType=cv2.BORDER_REPLICATE)
        given.append(frame * ((0.7 + 0.3 * lit.reshape(-1, 1, 1)) ** (1 / 2.2)) * np.float32(0.95))
    levels = in_levels(given)
    found = find_banding(levels, BYTES)
    evened = [found.evened(frame) for frame in levels]
    right = in_levels([frame * np.float32(0.95 * 0.8 ** (1 / 2.2)) for frame in steady])
    assert np.isfinite(found.missing[1:]).any()
    assert apart(evened, right) < 0.3 * apart(levels, right)


def test_what_is_clipped_stays_white_and_a_black_frame_black():
    frames = stack()
    for frame in frames:
        frame[20:60, 30:80] = 1.4
    given = in_levels(banded(frames, 9, 0.2))
    found = find_banding(given, BYTES)
    assert all((found.evened(frame)[24:56, 34:76] == 255).all() for frame in given)
    black = np.zeros_like(given[0])
    assert found.evened(black) is black


def ruling(period, drift, contrast=0.3, blur=1.0):
    """Lines all across the picture, of a scene that moves from frame to frame, and is sharp in the middle one."""
    rows = np.arange(240, dtype=np.float32)[:, None, None]
    frames = []
    for number in range(5):
        lines = 1 + contrast * np.sin(2 * np.pi * (rows - drift(number)) / period)
        frame = np.repeat(0.4 * lines, 320, axis=1) * np.float32([0.8, 1, 1.1])
        frames.append(cv2.GaussianBlur(frame, (0, 0), 0.1 + blur * abs(number - 2)))
    return frames


def trembling_cloth(seed=6):
    """Stripes of a cloth whose weave can hardly be seen, by a rail that trembles."""
    rng = np.random.default_rng(seed)
    weave = cv2.GaussianBlur(rng.normal(size=(300, 320)), (0, 0), 1.2)
    stripes = 1 + 0.3 * np.sin(2 * np.pi * np.arange(300)[:, None] / 20)
    cloth = (0.4 * (1 + 0.003 * weave / weave.std()) * stripes).astype(np.float32)
    frames = []
    for number in range(7):
        move = np.array([[1, 0, 0], [0, 1, rng.uniform(-10, 10)]], np.float32)
        seen = cv2.warpAffine(cloth, move, (320, 300), flags=cv2.INTER_CUBIC)
        seen = cv2.GaussianBlur(seen, (0, 0), 0.3 + 0.5 * abs(number - 3))[30:-30]
        seen += rng.normal(0, 0.004, seen.shape).astype(np.float32)
        frames.append(np.dstack([seen * 0.9, seen, seen * 1.1]))
    return frames


def lined(contrast, slant=0.0, period=8, starts=(0.0,) * 5):
    """A scene with lines across it, that need not be at the same place in all frames."""
    down, across = np.mgrid[:240, :320]
    phases = [2 * np.pi * ((down + slant * across / 320) / period + start) for start in starts]
    lines = [(1 + contrast * np.sin(phase))[..., None].astype(np.float32) for phase in phases]
    return [frame * each for frame, each in zip(stack(), lines, strict=True)]


NO_BANDS = {
    "cloth that trembles": trembling_cloth(),
    "slanted lines, other ones in each frame": lined(0.1, slant=6.3, period=14, starts=(0.6, 0.3, 0.0, 0.1, 0.8)),
    "bands on lines as fine": banded(lined(0.12), 30, 0.25),  # which would be taken with them
    "steady light": stack(),
    "in step": banded(stack(), 6, 0.3, starts=[0.3] * 5),  # the same in all frames
    "three frames": banded(stack(3), 6, 0.3),  # too few to tell
    "a ruling that goes by": ruling(14, lambda number: 14 * number / 5),
    "a ruling that trembles": ruling(30, lambda number: [0, 2.1, -1.7, 2.9, -2.2][number]),
    "a ruling that stays": ruling(30, lambda number: 0, blur=4),
}


@pytest.mark.parametrize("frames", NO_BANDS.values(), ids=NO_BANDS)
def test_what_is_no_band_of_light(frames):
    given = in_levels(frames)
    assert find_banding(given, BYTES) is None


def test_lines_in_a_scene_that_moves_are_its_own():
    """Cloth with stripes, seen by a rail that trembles: they move with the weave."""
    shifts = [0, 5, -6, 9, 3]
    cloth = np.repeat(stack(1, (280, 320))[0][:, :, :1], 3, axis=2)
    rows = np.arange(280, dtype=np.float32)[:, None, None]
    striped = cloth * (1 + 0.15 * np.sin(2 * np.pi * rows / 20))
    frames = [striped[20 + shift : 260 + shift] for shift in shifts]
    assert find_banding(in_levels(frames), BYTES) is None
    lit = banded([cloth[20 + shift : 260 + shift] for shift in shifts], 17, 0.3)
    assert find_banding(in_levels(lit), BYTES) is not None


@pytest.mark.parametrize("model", ["ufa-stack", "ufa-nano"])
def test_a_stack_under_a_lamp_that_flickers(model):
    frames = stack(7, (240, 320))
    steady, given = in_levels(frames), in_levels(banded(frames, 12, 0.3))
    with Fuser(model) as fuser:
        expected = fuse_stack(fuser, steady, StackOptions(align="affine"))
        result = fuse_stack(fuser, given, StackOptions(align="affine"))
    assert expected.banding is None
    assert apart([result.fused], [expected.fused]) < 1.5
    assert [text for text in result.warnings if "bands of light, 12 from top to bottom" in text and "evened" in text]
    told = details_of(of_arrays(given, [f"{n}.png" for n in range(7)]), result, StackOptions())["banding"]
    assert told == {"across": "rows", "bands": 12.0, "depth": pytest.approx(0.3 / 2.2, rel=0.25)}


def test_frames_that_are_not_kept_are_evened_alike(make_fuser, monkeypatch):
    given = in_levels(banded(stack(7), 12, 0.3))
    sources = of_arrays(given, [f"{number}.png" for number in range(7)])
    kept = fuse_sources(make_fuser(), sources, StackOptions(align="affine"))
    monkeypatch.setattr(room, "Held", Passing)
    passing = fuse_sources(make_fuser(), sources, StackOptions(align="affine"))
    assert kept.banding is not None
    assert passing.banding is not None
    assert kept.banding.to_json() == passing.banding.to_json()
    assert apart([passing.fused], [kept.fused]) < 0.2
