"""Pairs from photographs: the paper's equation, and what lenses and cameras add."""

import dataclasses
from dataclasses import fields
from typing import Any

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.train.degrade import (
    BLURS,
    LEAST_ZOOM,
    MOST_OF_LENS,
    PAPER_SIZES,
    LensOptions,
    TrainingPair,
    blur,
    drawn_focus,
    lens_pair,
    paper_pair,
    paper_size,
)
from ufafuse.train.scenes import MOST_OF_SCENES, SceneOptions

EFFECTS = [
    "spread",
    "soft",
    "defocused",
    "bands",
    "highlights",
    "gain",
    "shift",
    "noise",
    "jpeg",
    "dark_blur",
    "vignette",
    "letter_box",
    "zoom",
    "other_mask",
    "drawn_mask",
]
NOTHING = dataclasses.replace(LensOptions(), max_radius=6.0, **dict.fromkeys(EFFECTS, 0.0))


def only(**effects: float) -> LensOptions:
    return dataclasses.replace(NOTHING, **effects)


def half_focus(shape: tuple[int, ...]) -> np.ndarray:
    focus = np.zeros(shape[:2], np.float32)
    focus[:, : shape[1] // 2] = 1
    return focus


def taken(picture: np.ndarray, options: LensOptions, seed: int = 0) -> tuple[TrainingPair, np.ndarray, np.ndarray]:
    """The pair, and the sharp picture and focus map where the pair is."""
    focus, inner = half_focus(picture.shape), (slice(options.margin, -options.margin),) * 2
    pair = lens_pair(picture, focus, np.random.default_rng(seed), options)
    return pair, picture[inner], focus[inner] > 0.5


@pytest.mark.parametrize("kind", BLURS)
@pytest.mark.parametrize("radius", [0.8, 3.0, 7.5, 26.0])
def test_blur_neither_darkens_the_border_nor_changes_the_brightness(kind: str, radius: float) -> None:
    flat = np.full((70, 81, 3), 200, np.float32)
    np.testing.assert_allclose(blur(flat, kind, radius), 200, atol=1e-2)


@pytest.mark.parametrize("kind", BLURS)
def test_a_wider_blur_leaves_less_detail(kind: str, picture: np.ndarray) -> None:
    details = [cv2.Laplacian(blur(picture.astype(np.float32), kind, r), cv2.CV_32F).std() for r in (1, 3, 5.9, 6.1, 12)]
    assert details == sorted(details, reverse=True)


def test_the_papers_pair_follows_equation_11(picture: np.ndarray) -> None:
    focus = half_focus(picture.shape)
    pair = paper_pair(picture, focus, 5)
    sharp, blurred, map_ = picture.astype(float), cv2.blur(picture.astype(float), (5, 5)), focus[..., None]
    np.testing.assert_allclose(pair.near, sharp * map_ + blurred * (1 - map_), atol=0.51)
    np.testing.assert_allclose(pair.far, blurred * map_ + sharp * (1 - map_), atol=0.51)
    np.testing.assert_array_equal(pair.truth, picture)


def test_filter_sizes_come_from_the_papers_groups() -> None:
    rng = np.random.default_rng(0)
    for group, (low, high) in enumerate(PAPER_SIZES):
        assert {paper_size(rng, group) for _ in range(60)} == set(range(low, high + 1))
    assert {paper_size(rng) for _ in range(300)} == {2, 3, 4, 5, 6, 7, 8, 9, 10}


def test_without_effects_each_frame_is_the_photograph_where_it_is_in_focus(picture: np.ndarray) -> None:
    for seed in range(6):
        pair, sharp, focus = taken(picture, NOTHING, seed)
        np.testing.assert_array_equal(pair.truth, sharp)
        np.testing.assert_array_equal(pair.near[focus], sharp[focus])
        np.testing.assert_array_equal(pair.far[~focus], sharp[~focus])
        assert np.abs(pair.near[~focus].astype(int) - sharp[~focus]).mean() > 1


def test_the_same_state_gives_the_same_pair(picture: np.ndarray) -> None:
    options = LensOptions(max_radius=8.0)
    one, two = (taken(picture, options, 3)[0] for _ in range(2))
    for name in ("near", "far", "truth"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


@pytest.mark.parametrize("effect", ["noise", "jpeg", "vignette"])
def test_what_the_camera_adds_to_the_frame_in_focus_is_in_the_truth(effect: str, picture: np.ndarray) -> None:
    for seed in range(4):
        pair, sharp, focus = taken(picture, only(**{effect: 1.0}), seed)
        np.testing.assert_allclose(pair.truth[focus], pair.near[focus], atol=1)
        np.testing.assert_allclose(pair.truth[~focus], pair.far[~focus], atol=1)
        assert not np.array_equal(pair.truth, sharp)


def test_the_truth_has_the_mean_brightness_of_both_frames(picture: np.ndarray) -> None:
    pair, sharp, focus = taken(picture, only(gain=1.0))
    ratios = [frame[part].mean() / sharp[part].mean() for frame, part in ((pair.near, focus), (pair.far, ~focus))]
    assert abs(ratios[0] - ratios[1]) > 0.01
    assert pair.truth.mean() / sharp.mean() == pytest.approx(sum(ratios) / 2, abs=0.004)


def test_a_bar_over_one_frame_shows_the_other_in_the_truth(picture: np.ndarray) -> None:
    bright = np.maximum(picture, 60)
    seen = set()
    for seed in range(40):
        pair, _, _ = taken(bright, only(letter_box=1.0), seed)
        hidden_near, hidden_far = ((frame.max(2) == frame.min(2)) & (frame[..., 0] < 30) for frame in (pair.near, pair.far))
        if hidden_near.any() and not hidden_far.any():
            np.testing.assert_array_equal(pair.truth[hidden_near], pair.far[hidden_near])
        elif hidden_far.any() and not hidden_near.any():
            np.testing.assert_array_equal(pair.truth[hidden_far], pair.near[hidden_far])
        elif hidden_near.any():
            np.testing.assert_array_equal(pair.truth[hidden_near], pair.near[hidden_near])
        else:
            continue
        seen.add((bool(hidden_near.any()), bool(hidden_far.any())))
    assert seen == {(True, False), (False, True), (True, True)}


def test_a_border_that_the_blur_darkened_is_not_in_the_truth(picture: np.ndarray) -> None:
    pair, sharp, focus = taken(picture, only(dark_blur=1.0, min_radius=5.0))
    np.testing.assert_array_equal(pair.truth, sharp)
    edge = ~focus[0]
    assert pair.near[0][edge].mean() < 0.75 * sharp[0][edge].mean()


def test_a_foreground_out_of_focus_spreads_over_its_edge(picture: np.ndarray) -> None:
    light = np.full_like(picture, 40)
    light[:, : light.shape[1] // 2] = 220
    pair, sharp, focus = taken(light, only(spread=1.0, min_radius=5.0))
    first = int(focus[0].sum())  # the first column of the background
    assert pair.far[:, first].mean() > sharp[:, first].mean() + 30
    np.testing.assert_array_equal(pair.near[focus], sharp[focus])
    assert np.abs(pair.near[:, first].astype(int) - 40).max() <= 1  # and the sharp foreground does not glow


def test_where_neither_frame_is_in_focus_the_truth_is_the_less_blurred(picture: np.ndarray) -> None:
    everywhere = set()
    for seed in range(8):
        pair, sharp, focus = taken(picture, only(defocused=1.0, min_radius=3.0), seed)
        np.testing.assert_array_equal(pair.truth[focus], pair.near[focus])
        np.testing.assert_array_equal(pair.truth[~focus], pair.far[~focus])
        original, truth, other = (
            np.abs(cv2.Laplacian(frame.astype(np.float32), cv2.CV_32F))[focus].mean() for frame in (sharp, pair.truth, pair.far)
        )
        assert original > truth > other
        everywhere.add(bool((np.abs(pair.truth.astype(int) - sharp).max(2) > 2).mean() > 0.9))
    assert everywhere == {True, False}  # the whole scene, or a part of it


def test_a_band_is_even_in_focus_and_has_a_gradient_out_of_it(picture: np.ndarray) -> None:
    found = []
    for seed in range(8):
        pair, sharp, focus = taken(picture, only(bands=1.0, min_radius=6.0), seed)
        np.testing.assert_array_equal(pair.truth[focus], pair.near[focus])
        band = (np.abs(pair.truth.astype(int) - sharp).max(2) > 2) & focus
        inner = cv2.erode(band.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
        if inner.sum() >= 50:
            slopes = [np.abs(cv2.Sobel(f.astype(np.float32), cv2.CV_32F, 1, 1)) for f in (pair.near, sharp, pair.far)]
            found.append([np.median(slope[inner]) for slope in slopes])
    in_focus, before, out_of_focus = np.transpose(found)
    assert len(found) >= 4
    assert (in_focus == 0).all()
    assert np.median(before) > 0
    assert np.median(out_of_focus) > 0


def test_without_bands_no_number_is_drawn_for_them(picture: np.ndarray) -> None:
    states = []
    for share in (0.0, 1e-12):
        rng = np.random.default_rng(5)
        lens_pair(picture, half_focus(picture.shape), rng, only(bands=share))
        states.append(rng.bit_generator.state["state"]["state"])
    drawn = np.random.default_rng(5)
    lens_pair(picture, half_focus(picture.shape), drawn, NOTHING)
    assert states[0] == drawn.bit_generator.state["state"]["state"] != states[1]


def test_highlights_bloom(picture: np.ndarray) -> None:
    dark = (picture // 4).astype(np.uint8)
    dark[45, 85:87] = 255
    plain, bright = (
        taken(dark, only(highlights=share, min_radius=3.0, max_radius=3.0), 1)[0].near.astype(int) for share in (0.0, 1.0)
    )
    assert bright.max() > plain.max() + 10


@pytest.mark.parametrize("seed", range(12))
def test_a_drawn_focus_map_has_two_values_and_often_both(seed: int) -> None:
    focus = drawn_focus((40, 60), np.random.default_rng(seed))
    assert focus.shape == (40, 60)
    assert set(np.unique(focus)) <= {0, 1}


def test_options_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match=r"noise is 1\.5"):
        LensOptions(noise=1.5)
    with pytest.raises(InputError, match="smallest radius"):
        LensOptions(min_radius=5, max_radius=3)
    with pytest.raises(InputError, match="together at most 1"):
        LensOptions(other_mask=0.7, drawn_mask=0.7)


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300, -1.0])
@pytest.mark.parametrize(("options", "most"), [(LensOptions, MOST_OF_LENS), (SceneOptions, MOST_OF_SCENES)])
def test_sizes_that_no_picture_has_are_refused(options: Any, most: dict[str, float], value: float) -> None:
    assert not {name for name in most if name not in {field.name for field in fields(options)}}
    for field in fields(options):
        with pytest.raises(
            InputError, match=rf"option {field.name} is \S+: (it lies from 0 to {most.get(field.name, 0):g}|shares)"
        ):
            options(**{field.name: value})


def test_pairs_of_the_largest_sizes_can_be_drawn() -> None:
    largest = LensOptions(
        **{name: most for name, most in MOST_OF_LENS.items() if not name.startswith("min")}, min_zoom=LEAST_ZOOM
    )
    side = 32 + 2 * largest.margin
    picture = np.full((side, side, 3), 90, np.uint8)
    pair = lens_pair(picture, np.zeros((side, side), np.float32), np.random.default_rng(0), largest)
    assert pair.near.shape == pair.far.shape == pair.truth.shape == (32, 32, 3)
