"""Drawn focus stacks: repeatable; what each frame, the truth, the depth and the covered part show."""

import dataclasses

import cv2
import numpy as np
import pytest

from ufafuse.runtime.arrays import Floats
from ufafuse.runtime.errors import InputError
from ufafuse.train import drawing
from ufafuse.train.drawing import Rng
from ufafuse.train.optics import SceneLayer, aperture, seen, visible_depth
from ufafuse.train.scenes import MACRO_BOARDS, PRESETS, SceneOptions, draw_scene
from ufafuse.train.stacks import Stack, draw_stack

SIDE = 72
CLEAN = SceneOptions(
    slides=0,
    unsharp_ground=0,
    relief=0,
    lights=0,
    soft=0,
    noise=0,
    jpeg=0,
    gain=0,
    shift=0,
    margins=0,
    dark=0,
    min_radius=12,
    max_radius=24,
)
PLAIN = dataclasses.replace(CLEAN, boards=1)


def texture(rng: Rng) -> np.ndarray:
    return drawing.picture(160, rng)


def stack(seed: int, options: SceneOptions = CLEAN, side: int = SIDE, frames: int | None = None) -> Stack:
    return draw_stack(np.random.default_rng(seed), side, options, texture, frames=frames)


def kernel(radius: float) -> Floats:
    return aperture(np.random.default_rng(0))(radius)


def look(layers: list[SceneLayer], plane: float | None, radius: float = 10.0, power: int = 1) -> Floats:
    return seen(layers, plane, radius, aperture(np.random.default_rng(0)), power, 0.0)


def even(level: float, cover: Floats | None = None, depth: float | Floats = 0.5) -> SceneLayer:
    return SceneLayer(np.full((64, 64, 3), level, np.float32), cover, depth)


def test_the_same_seed_draws_the_same_stack_and_another_seed_another() -> None:
    one, again, other = (
        stack(1, SceneOptions()),
        stack(1, SceneOptions()),
        stack(2, SceneOptions(), frames=len(stack(1).frames)),
    )
    for field in dataclasses.fields(Stack):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(again, field.name))
    assert not np.array_equal(one.truth, other.truth)


@pytest.mark.parametrize("frames", [2, 5, 12])
def test_there_are_as_many_frames_as_asked_for(frames: int) -> None:
    drawn = stack(3, SceneOptions(), frames=frames)
    assert drawn.frames.shape == (frames, SIDE, SIDE, 3)
    assert drawn.covered.shape == (frames, SIDE, SIDE)
    assert drawn.truth.shape == (SIDE, SIDE, 3)
    assert drawn.depth.shape == (SIDE, SIDE)
    assert {drawn.frames.dtype, drawn.covered.dtype, drawn.truth.dtype} == {np.dtype(np.uint8)}
    assert drawn.depth.dtype == np.float32


def test_without_a_number_there_are_as_many_as_the_options_say() -> None:
    counts = {len(stack(seed, dataclasses.replace(CLEAN, min_frames=3, max_frames=5), side=16).frames) for seed in range(24)}
    assert counts == {3, 4, 5}
    with pytest.raises(InputError, match="at least 2 frames, got 1"):
        stack(0, frames=1)


@pytest.mark.parametrize("seed", range(6))
def test_the_sharpest_frame_at_each_pixel_is_that_of_depth_and_shows_the_truth(seed: int) -> None:
    drawn = stack(seed, frames=6, side=120)
    truth = drawn.truth.astype(np.float32)
    errors = np.stack([cv2.blur(np.abs(frame - truth).sum(2), (5, 5)) for frame in drawn.frames])
    best, second = np.sort(errors, 0)[:2]
    textured = second - best > 4
    inside = cv2.erode(_even(drawn.depth).astype(np.uint8), np.ones((9, 9))) > 0  # blur of what is in front hides the edges
    check = textured & inside & ~np.isnan(drawn.depth)
    assert check.mean() > 0.01
    apart = np.abs(errors.argmin(0) - drawn.depth)[check]
    assert (apart < 0.66).mean() > 0.97  # half way between two frames either may be the better one
    at_a_frame = np.abs(drawn.depth[check] - np.rint(drawn.depth[check])) < 0.2
    assert (apart[at_a_frame] >= 0.5).sum() <= 0.03 * at_a_frame.sum()


def _even(depth: Floats) -> np.ndarray:
    """Where the depth is that of the neighbours."""
    known = np.nan_to_num(depth, nan=-9)
    return cv2.dilate(known, np.ones((3, 3))) - cv2.erode(known, np.ones((3, 3))) < 1e-6


def test_what_stands_in_front_hides_what_lies_behind() -> None:
    cover = np.zeros((64, 64), np.float32)
    cover[16:48, 16:48] = 1
    layers = [even(200, depth=1.0), even(40, cover, depth=0.0)]
    truth, near, far = look(layers, None), look(layers, 0.0), look(layers, 1.0)
    for picture in (truth, near):
        assert np.all(picture[20:44, 20:44] == 40)
        assert np.allclose(picture[:10], 200, atol=1e-3)
    assert far[32, 32, 0] == pytest.approx(40, abs=1)
    assert 60 < far[32, 16, 0] < 180  # out of focus its edge is seen through
    assert 40 < far[32, 22, 0] < far[32, 12, 0] < 200
    np.testing.assert_array_equal(visible_depth(layers, np.array([0.0, 1.0])) == 0, cover > 0.5)


def test_only_the_plane_in_focus_is_sharp_and_blur_grows_with_the_distance() -> None:
    light = drawing.dead_leaves(64, np.random.default_rng(1))
    contrasts = [float(np.diff(look([SceneLayer(light, None, 0.5)], plane), axis=0).std()) for plane in (0.5, 0.3, 0.0)]
    np.testing.assert_array_equal(look([SceneLayer(light, None, 0.5)], 0.5), light)
    assert contrasts[0] > 1.3 * contrasts[1] > 1.3 * 1.3 * contrasts[2]


def test_a_relief_is_in_focus_where_the_plane_meets_it() -> None:
    light = drawing.dead_leaves(64, np.random.default_rng(1))
    slope = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32), (64, 64))
    error = np.abs(look([SceneLayer(light, None, slope)], 0.25, radius=16) - light).mean((0, 2))
    assert 10 <= int(np.argmin(cv2.blur(error[None], (5, 1)))) <= 22
    np.testing.assert_array_equal(look([SceneLayer(light, None, slope)], None), light)
    np.testing.assert_allclose(
        visible_depth([SceneLayer(light, None, slope)], np.linspace(0, 1, 5))[0], 4 * slope[0], atol=1e-5
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("radius", [0.5, 3.0, 12.0])
def test_a_lens_neither_adds_light_nor_takes_it(seed: int, radius: float) -> None:
    weights = aperture(np.random.default_rng(seed))(radius)
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert weights.min() >= 0
    y, x = np.indices(weights.shape) - weights.shape[0] // 2
    assert abs(float((weights * x).sum())) < 0.1
    assert np.sqrt(float((weights * (x**2 + y**2)).sum())) < 1.2 * radius + 1
    np.testing.assert_allclose(look([even(90)], 0.0, radius=4 * radius), 90, rtol=1e-4)


def test_lights_bloom_into_discs_out_of_focus_and_clip() -> None:
    light = np.full((64, 64, 3), 20, np.float32)
    light[31:34, 31:34] = 4000
    sharp, blurred = (look([SceneLayer(light, None, 0.5)], plane, radius=16) for plane in (0.5, 0.0))
    assert int((sharp[..., 0] > 250).sum()) == 9
    assert int((blurred[..., 0] > 120).sum()) > 100
    options = dataclasses.replace(CLEAN, lights=1, boards=0)
    stacks = [stack(seed, options, frames=4) for seed in range(12)]
    plain = [stack(seed, dataclasses.replace(options, lights=0), frames=4) for seed in range(12)]
    clipped, before = ([float((s.frames == 255).all(-1).mean()) for s in drawn] for drawn in (stacks, plain))
    assert np.mean(clipped) > np.mean(before) + 0.002


def test_what_is_beyond_the_range_of_focus_has_no_depth() -> None:
    options = dataclasses.replace(CLEAN, boards=0, unsharp_ground=1)
    depths = [stack(seed, options, frames=3).depth for seed in range(8)]
    assert any(np.isnan(depth).any() for depth in depths)
    planes = np.array([0.0, 0.5, 1.0])
    for depth, frame in ((0.25, 0.5), (1.2, 2.0), (1.3, np.nan), (-0.2, 0.0)):
        np.testing.assert_allclose(visible_depth([even(1, depth=depth)], planes), frame, atol=1e-6)


def test_frames_that_changed_places_keep_their_numbers_in_the_depth() -> None:
    planes = np.array([0.5, 0.0, 1.0])
    assert visible_depth([even(1, depth=0.5)], planes)[0, 0] == 0
    assert visible_depth([even(1, depth=0.0)], planes)[0, 0] == 1


def test_margins_are_black_and_some_frame_covers_every_pixel() -> None:
    options = dataclasses.replace(CLEAN, margins=1)
    uncovered = 0
    for seed in range(10):
        drawn = stack(seed, options, frames=2 + seed)
        uncovered += int((drawn.covered == 0).any())
        assert set(np.unique(drawn.covered)) <= {0, 1}
        assert (drawn.covered.max(0) == 1).all()
        assert not drawn.frames[drawn.covered == 0].any()
        middle = slice(SIDE // 8, -SIDE // 8)
        assert drawn.covered[:, middle, middle].all()
    assert uncovered >= 8
    assert all(stack(seed).covered.all() for seed in range(4))


def test_noise_is_in_the_frames_and_not_in_the_truth() -> None:
    options = dataclasses.replace(CLEAN, noise=1, min_noise=3, max_noise=3)
    noisy, clean = stack(5, options, frames=3), stack(5, CLEAN, frames=3)
    np.testing.assert_array_equal(noisy.truth, clean.truth)
    inside = (clean.frames > 15) & (clean.frames < 240)
    assert (noisy.frames.astype(int) - clean.frames)[inside].std() == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("effect", ["jpeg", "gain", "shift", "dark"])
def test_what_the_camera_adds_changes_the_frames(effect: str) -> None:
    clean, changed = (stack(5, dataclasses.replace(CLEAN, **{effect: share}), frames=3) for share in (0, 1))
    assert not np.array_equal(clean.frames, changed.frames)
    assert np.array_equal(clean.truth, changed.truth) == (effect != "dark")
    np.testing.assert_array_equal(clean.depth, changed.depth)


def test_a_dimmed_scene_is_as_dim_in_its_truth() -> None:
    clean, dim = (stack(7, dataclasses.replace(CLEAN, dark=share), frames=3) for share in (0, 1))
    ratio = float(dim.truth.mean() / clean.truth.mean())
    assert 0.04 < ratio < 0.75
    assert float(dim.frames.mean() / clean.frames.mean()) == pytest.approx(ratio, abs=0.02)


def test_softness_is_in_the_truth_too() -> None:
    clean, soft = (stack(8, dataclasses.replace(PLAIN, soft=share), frames=3) for share in (0, 1))
    sharpness = [float(np.diff(s.truth.astype(float), axis=0).std()) for s in (clean, soft)]
    assert sharpness[1] < 0.95 * sharpness[0]


def test_a_scene_has_a_ground_and_at_least_one_thing_before_it() -> None:
    for seed in range(12):
        layers = draw_scene(np.random.default_rng(seed), 48, SceneOptions(), texture)
        assert layers[0].cover is None
        assert len(layers) >= 2
        assert all(layer.cover is not None and 0 <= layer.cover.min() <= layer.cover.max() <= 1 for layer in layers[1:])
        depths = [float(np.mean(layer.depth)) for layer in layers if isinstance(layer.depth, float)]
        assert depths == sorted(depths, reverse=True)


def test_the_preset_of_macro_boards_is_what_it_says() -> None:
    assert PRESETS["macro-boards"] is MACRO_BOARDS
    assert PRESETS["any"] == SceneOptions()
    drawn = stack(1, MACRO_BOARDS, side=64)
    assert len(drawn.frames) == 8
    assert drawn.covered.all()
    assert not np.isnan(drawn.depth).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": 1.5}, "shares lie in"),
        ({"max_noise": -1}, "it lies from 0 to 255"),
        ({"min_frames": 1}, "at least 2 frames"),
        ({"min_radius": 70}, "no least one above its most"),
        ({"min_noise": 5}, "above max_noise"),
        ({"max_radius": float("nan")}, "it lies from 0 to 500"),
    ],
)
def test_options_that_cannot_be_drawn_are_refused(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SceneOptions(**change)


def test_a_least_radius_above_what_few_frames_allow_is_drawn_all_the_same() -> None:
    assert stack(1, dataclasses.replace(CLEAN, min_radius=30, max_radius=40), frames=2, side=24).frames.shape[0] == 2


def test_slides_are_dark_bodies_before_a_light_that_no_frame_has_in_focus() -> None:
    options = dataclasses.replace(CLEAN, slides=1, min_radius=8, max_radius=20)
    dark, lit = 0, 0
    for seed in range(12):
        drawn = stack(seed, options, frames=3)
        ground = np.isnan(drawn.depth)
        levels = drawn.truth.max(2)
        if 0.05 < ground.mean() < 0.95:
            assert levels[ground].mean() > levels[~ground].mean()
            dark += int((levels[~ground] < 120).sum())
            lit += int((levels[ground] == 255).sum())
    assert dark > 1000
    assert lit > 1000
