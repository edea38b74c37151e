import cv2
import numpy as np
import pytest

from ufafuse.runtime.frames import BGR_BYTES, FrameKind
from ufafuse.runtime.levels import kind_with_levels
from ufafuse.runtime.outputs import Outputs, write_beside
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stacks import relief
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.height import Height, ScorePeaks, filled, shaded
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.relief import HeightOptions, heights_everywhere, known_or_filled, write_heights, write_mesh


def peaks_of(depth, places, sharpness=3.0):
    """Frames of fine noise that loses contrast evenly with defocus, scored by a network that sees the same."""
    peaks = ScorePeaks(depth.shape)
    noise = np.random.default_rng(1).normal(0, 0.2, depth.shape).astype(np.float32)
    for index in places:
        away = (depth - index) ** 2
        score = np.clip(48 - 6 * sharpness * away, -60, 60)
        grey = (0.5 + noise * np.exp(-0.4 * away)).astype(np.float32)
        peaks.add(index, np.exp(score).astype(np.float32), None, grey)
    return peaks


@pytest.mark.parametrize("count", [3, 9, 40])
def test_peaks_between_frames(count):
    depth = np.full((40, 400), 0.0, np.float32)
    for step in range(10):  # steps, not a slope: what is averaged is even
        depth[:, 40 * step : 40 * step + 40] = 1 + (count - 3) * step / 9 + (step - 4.5) / 12
    height = peaks_of(depth, range(count)).height()
    inner = np.zeros(depth.shape, bool)
    for step in range(10):
        inner[10:-10, 40 * step + 14 : 40 * step + 26] = True
    error = np.abs(height.position - depth)[inner]
    assert np.median(error) < 0.05
    assert error.max() < 0.25
    assert height.confidence[inner].min() > 0.5


@pytest.mark.parametrize("place", [0.0, 0.2, 0.35, 0.5])
@pytest.mark.parametrize("frame", [0, 3, 6])
@pytest.mark.parametrize("step", [1.5, 4.0])
def test_a_flat_surface_between_frames_and_at_the_ends(frame, place, step, make_texture):
    """Seven frames a step of blur apart; the surface lies between two of them, also where the best one is the last."""
    depth = frame - place if frame == 6 else frame + place
    grey = make_texture(160, 200, seed=3)[..., 1].astype(np.float32) / 255
    peaks = ScorePeaks(grey.shape)
    for index in range(7):
        away = abs(index - depth)
        seen = cv2.GaussianBlur(grey, (0, 0), max(0.05, 0.5 * step * away)) if away else grey
        weights = np.full(grey.shape, np.exp(-away - 1e-3 * (index != frame)), np.float32)
        peaks.add(index, weights, None, seen)
    error = np.abs(peaks.height().position - depth)[20:-20, 20:-20]
    # At an end a neighbour is missing: how steep the fall would be there is guessed.
    assert np.median(error) < (0.12 if frame == 3 else 0.3)


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("count", "step"), [(9, 0.9), (13, 0.6), (17, 0.7)])
def test_a_surface_in_the_plane_at_an_end_of_small_steps_is_there(count, step, last, make_texture):
    """Three frames on the round top of the peak: by a straight line it was 0.15 to 0.25 frames inwards."""
    grey = make_texture(160, 200, seed=5)[..., 1].astype(np.float32) / 255
    depth = count - 1 if last else 0
    peaks = ScorePeaks(grey.shape)
    for index in range(count):
        seen = cv2.GaussianBlur(grey, (0, 0), 0.5 + step * abs(index - depth))
        peaks.add(index, np.full(grey.shape, np.exp(-abs(index - depth)), np.float32), None, seen)
    error = np.abs(peaks.height().position - depth)[20:-20, 20:-20]
    assert np.median(error) < 0.1


def test_an_even_score_is_not_sure():
    height = peaks_of(np.full((20, 20), 3.0, np.float32), range(7), sharpness=0.0).height()
    assert height.confidence.max() < 0.05


def test_the_winner_may_not_be_covered():
    peaks = ScorePeaks((8, 8))
    covered = np.ones((8, 8), np.uint8)
    covered[:, :4] = 0
    grey = np.full((8, 8), 0.5, np.float32)
    peaks.add(0, np.full((8, 8), 2.0, np.float32), None, grey)
    peaks.add(1, np.full((8, 8), 9.0, np.float32), covered, grey)
    assert (peaks.winner()[:, :2] == 0).all()
    assert (peaks.winner()[:, 6:] == 1).all()


@pytest.mark.parametrize("missing", [0, 2, 5, 8])
def test_a_surface_stays_where_it_is_without_one_of_the_frames(missing):
    depth = np.repeat(np.linspace(1, 7, 10, dtype=np.float32), 40)[None].repeat(40, 0)
    places = [place for place in range(9) if place != missing]
    whole, without = (peaks_of(depth, of) for of in (range(9), places))
    inner = np.abs(depth - missing) > 1.2
    error = np.abs(without.height().position - whole.height().position)[inner]
    assert np.median(error) < 0.05
    assert error.max() < 0.5  # beside the gap a neighbour is missing
    np.testing.assert_array_equal(without.winner()[inner], whole.winner()[inner])
    known = without.height().confidence[inner] - whole.height().confidence[inner]
    assert np.abs(known).max() < 0.2


def test_filling_follows_the_pictures_edges():
    picture = np.zeros((80, 120, 3), np.uint8)
    picture[:, 60:] = 200
    position = np.where(picture[..., 0] > 0, 6.0, 2.0).astype(np.float32)
    confidence = np.zeros_like(position)
    confidence[::9, ::9] = 0.9
    unknown = np.where(confidence > 0, position, np.float32(0))
    result = filled(Height(unknown, confidence), picture)
    assert np.abs(result[:, :56] - 2).max() < 0.2
    assert np.abs(result[:, 64:] - 6).max() < 0.2


def test_heights_in_files(tmp_path):
    position = np.full((20, 50), 0.5, np.float32)
    position[:, 25:] = 3.25
    confidence = np.full(position.shape, 0.9, np.float32)
    confidence[:5] = 0.1
    height = Height(position, confidence)
    fused = np.full((20, 50, 3), 90, np.uint8)
    fused[:, 25:] = 200
    options = HeightOptions(z_step=0.05, z_unit="mm")
    everywhere = heights_everywhere(height, fused, BGR_BYTES)
    heights = known_or_filled(everywhere, height, options)
    assert np.isnan(heights[:5]).all()
    told = write_heights(tmp_path / "h.tif", heights, frames=5, options=options, force=False)
    assert (told["unit"], told["known"]) == ("mm", 0.75)
    read = cv2.imread(str(tmp_path / "h.tif"), cv2.IMREAD_UNCHANGED)
    expected = np.where(np.arange(50) < 25, 0.5, 3.25) * 0.05  # beside the edge between
    np.testing.assert_allclose(read[5:, 28:], np.tile(expected[28:], (15, 1)), atol=2e-3)
    np.testing.assert_allclose(read[5:, :22], np.tile(expected[:22], (15, 1)), atol=2e-3)
    told = write_heights(tmp_path / "h.png", heights, frames=5, options=options, force=False)
    levels = cv2.imread(str(tmp_path / "h.png"), cv2.IMREAD_UNCHANGED)
    assert levels.dtype == np.uint16
    assert (levels[:5] == 0).all()
    np.testing.assert_allclose((levels[5:] - 1.0) * told["per_level"], read[5:], atol=1e-5)
    full = known_or_filled(everywhere, height, HeightOptions(fill=True))
    assert np.isfinite(full).all()


@pytest.mark.parametrize("step", [1e-30, 1e-14, 1.0, 1e30])
def test_heights_in_any_unit_that_float32_holds(tmp_path, step):
    count = 65_535
    position = np.tile(np.linspace(0, count - 1, 50, dtype=np.float32), (20, 1))
    fused, options = np.full((20, 50, 3), 90, np.uint8), HeightOptions(z_step=step, pixel_size=step)
    height = Height(position, np.ones_like(position))
    with np.errstate(all="raise"):
        everywhere = heights_everywhere(height, fused, BGR_BYTES)
        heights = known_or_filled(everywhere, height, options)
        told = [
            write_heights(tmp_path / name, heights, frames=count, options=options, force=False) for name in ("h.tif", "h.png")
        ]
        write_mesh(tmp_path / "m.ply", everywhere, fused, BGR_BYTES, frames=count, options=options, force=False)
    read = cv2.imread(str(tmp_path / "h.tif"), cv2.IMREAD_UNCHANGED)
    in_frames = known_or_filled(everywhere, height, HeightOptions())
    np.testing.assert_allclose(read / step, in_frames, rtol=1e-5)
    levels = cv2.imread(str(tmp_path / "h.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_allclose((levels - 1.0) * (told[1]["per_level"] / step), in_frames, atol=1)


def test_a_mesh_is_a_whole_ply(tmp_path):
    position = np.random.default_rng(1).random((31, 43)).astype(np.float32) * 4
    fused = np.random.default_rng(2).integers(0, 256, (31, 43, 3)).astype(np.uint8)
    write_mesh(tmp_path / "m.ply", position, fused, BGR_BYTES, frames=5, options=HeightOptions(), force=False)
    data = (tmp_path / "m.ply").read_bytes()
    header, body = data.split(b"end_header\n", 1)
    assert b"element vertex 1333" in header
    assert b"element face 2520" in header
    assert len(body) == 1333 * 15 + 2520 * 13
    vertices = np.frombuffer(body[: 1333 * 15], [("xyz", "<f4", 3), ("rgb", "u1", 3)])
    np.testing.assert_array_equal(vertices["rgb"][0], fused[0, 0, ::-1])
    faces = np.frombuffer(body[1333 * 15 :], [("count", "u1"), ("corners", "<i4", 3)])
    assert (faces["count"] == 3).all()
    assert faces["corners"].max() == 1332


def test_a_mesh_of_float_levels_beyond_1_has_the_pictures_colours(tmp_path):
    fused = np.linspace(0, 4, 20 * 30 * 3, dtype=np.float32).reshape(20, 30, 3)
    kind, _ = kind_with_levels([fused, fused])
    position = np.ones((20, 30), np.float32)
    options = HeightOptions()
    write_mesh(tmp_path / "m.ply", position, fused, kind, frames=5, options=options, force=False)
    body = (tmp_path / "m.ply").read_bytes().split(b"end_header\n", 1)[1]
    colours = np.frombuffer(body[: 600 * 15], [("xyz", "<f4", 3), ("rgb", "u1", 3)])["rgb"]
    assert colours.min() == 0
    assert colours.max() == 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_mesh_has_the_nearest_colours(tmp_path, dtype):
    """Of 16 bits and floats they were cut off, half a level darker in the mean."""
    levels = np.random.default_rng(4).random((20, 30, 3))
    full = 1 if dtype == np.float32 else np.iinfo(dtype).max
    fused = (levels if full == 1 else np.rint(levels * full)).astype(dtype)
    position, kind = np.ones((20, 30), np.float32), FrameKind(np.dtype(dtype), 3, float(full), "bgr")
    write_mesh(tmp_path / "m.ply", position, fused, kind, frames=5, options=HeightOptions(), force=False)
    body = (tmp_path / "m.ply").read_bytes().split(b"end_header\n", 1)[1]
    colours = np.frombuffer(body[: 600 * 15], [("xyz", "<f4", 3), ("rgb", "u1", 3)])["rgb"].reshape(20, 30, 3)[..., ::-1]
    assert np.abs(colours - fused.astype(float) * (255 / full)).max() < 0.501


def test_heights_are_averaged_once_for_all_that_is_written(fuser, make_stack, tmp_path, monkeypatch):
    """A map, a view and a mesh each did it anew, which took longer than writing them; without them nobody asks for it."""
    calls = []
    monkeypatch.setattr(relief, "filled", lambda *given: calls.append(given) or filled(*given))
    result = fuse_sources(fuser, of_arrays(make_stack(3)[0]), StackOptions(want_height=True))
    paths = {name: tmp_path / file for name, file in (("depth", "d.png"), ("depth_view", "v.png"), ("mesh", "m.ply"))}
    told = write_beside(result, Outputs(tmp_path / "f.png", **paths), order="bgr", force=False, inputs=[])
    assert {name: told[name] for name in paths} == {name: str(path) for name, path in paths.items()}
    assert len(calls) == 1
    write_beside(result, Outputs(tmp_path / "f.png"), order="bgr", force=False, inputs=[])
    assert len(calls) == 1


def test_a_view_is_a_picture():
    view = shaded(np.tile(np.linspace(0, 5, 60, dtype=np.float32), (40, 1)))
    assert view.shape == (40, 60, 3)
    assert view.std() > 10
