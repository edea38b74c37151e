import cv2
import numpy as np
import pytest

from ufafuse.runtime.stacks.growth import PATCH, BlurGrowth


@pytest.fixture
def surface(make_texture):
    return cv2.cvtColor(make_texture(320, 384, seed=11).astype(np.float32), cv2.COLOR_BGR2GRAY)


def disc(picture, radius):
    if radius < 0.05:
        return picture
    side = 2 * int(np.ceil(radius)) + 1
    places = (np.arange(16 * side) - (8 * side - 0.5)) / 16  # drawn 16 times as large
    inside = (np.hypot(places[:, None], places[None]) <= radius).astype(np.float32)
    kernel = cv2.resize(inside, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def taken(surface, growth, places, count=6, noise=1.0):
    """Frames of a surface in strips that lie at `places`, in frames; blur grows by so many pixels a frame."""
    rng, strip = np.random.default_rng(5), surface.shape[1] // len(places)
    frames = []
    for number in range(count):
        strips = [disc(surface[:, i * strip : (i + 1) * strip], growth * abs(number - at)) for i, at in enumerate(places)]
        frame = np.concatenate(strips, 1)
        frames.append(np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).round().astype(np.uint8))
    return frames


def growth_of(frames, covered=None):
    growth = BlurGrowth(frames[0].shape[:2])
    for number, frame in enumerate(frames):
        growth.add(frame, None if covered is None else covered[number])
    return growth.found()


@pytest.mark.parametrize("pixels", [0.9, 1.6, 2.5, 4.0, 6.0])
@pytest.mark.parametrize("places", [(2.0,), (2.5,), (1.3, 2.5), (2.0, 3.4)])
def test_how_fast_blur_grows_is_found(surface, pixels, places):
    found = growth_of(taken(surface, pixels, places))
    assert found.radius == pytest.approx(pixels, rel=0.3)
    assert found.patches > 20
    assert 0 <= found.misfit < 0.6


@pytest.mark.parametrize("noise", [0, 3, 6])
def test_noise_is_not_taken_for_detail(surface, noise):
    found = growth_of(taken(surface, 3.0, (1.3, 2.5), noise=noise))
    assert found.radius == pytest.approx(3.0, rel=0.35)


def test_frames_that_are_all_alike_show_no_growth(surface):
    rng = np.random.default_rng(1)
    frames = [np.clip(surface + rng.normal(0, 1, surface.shape), 0, 255).astype(np.uint8) for _ in range(5)]
    assert growth_of(frames).radius < 0.6


def test_the_order_of_the_frames_does_not_matter(surface):
    frames = taken(surface, 2.5, (1.2, 2.6))
    expected = growth_of(frames)
    for order in ((5, 4, 3, 2, 1, 0), (3, 0, 5, 1, 4, 2)):
        found = growth_of([frames[number] for number in order])
        assert found[:4] == expected[:4]
        np.testing.assert_array_equal(found.local, expected.local)


@pytest.mark.parametrize("noise", [0, 5])
def test_of_what_has_no_detail_nothing_is_known(noise):
    rng = np.random.default_rng(2)
    frames = [np.clip(rng.normal(120, noise, (200, 200)), 0, 255).astype(np.uint8) for _ in range(6)]
    found = growth_of(frames)
    assert (found.radius, found.patches) == (0, 0)


@pytest.mark.parametrize("size", [(PATCH - 1, 300), (300, PATCH - 1), (1, 1)])
def test_of_frames_smaller_than_a_patch_nothing_is_known(surface, size):
    found = growth_of([frame[: size[0], : size[1]] for frame in taken(surface, 2.5, (1.3,))])
    assert (found.radius, found.patches) == (0, 0)


def test_two_frames_say_nothing(surface):
    assert growth_of(taken(surface, 2.5, (0.4,), count=2)).radius == 0


def test_what_a_frame_hides_does_not_matter(surface):
    frames = taken(surface, 2.5, (1.2, 2.6))
    covered = [np.ones(frame.shape, np.uint8) for frame in frames]
    covered[2][40:120, 30:200] = covered[3][200:] = 0
    results = []
    for value in (0, 255):
        hidden = [np.where(mask > 0, frame, value).astype(np.uint8) for frame, mask in zip(frames, covered, strict=True)]
        results.append(growth_of(hidden, covered))
    assert results[0][:4] == results[1][:4]
    np.testing.assert_array_equal(results[0].local, results[1].local)
    assert results[0].radius == pytest.approx(2.5, rel=0.3)


def test_large_frames_are_looked_at_in_no_more_patches():
    rng = np.random.default_rng(3)
    large = BlurGrowth((2000, 3000))
    for _ in range(3):
        large.add(rng.integers(0, 256, (2000, 3000), np.uint8))
    local = large.found().local
    assert 150 < local.size <= 256
    assert local.shape[0] < local.shape[1]


def test_the_patches_reach_to_the_borders(surface):
    frames = taken(surface, 2.5, (1.2, 2.6))
    expected = growth_of(frames)
    changed = [np.where(np.arange(384) < 340, frame, 128).astype(np.uint8) for frame in frames]
    assert not np.array_equal(growth_of(changed).local[:, -1], expected.local[:, -1])
    np.testing.assert_allclose(growth_of(changed).local[:, :6], expected.local[:, :6], atol=0.3)


def test_where_the_law_does_not_hold_is_said(surface):
    """On the left the surface goes out of focus as a lens has it, on the right it is sharp in one frame and gone in others."""
    frames = taken(surface, 2.5, (1.3, 2.5))
    for number in range(6):
        frames[number][:, 192:] = 128 if number != 2 else surface[:, 192:].round().astype(np.uint8)
    growth = BlurGrowth(surface.shape)
    for frame in frames:
        growth.add(frame)
    found = growth.found()
    over = growth.misfit_over(found, (40, 48), 8)
    assert over.shape == (40, 48)
    assert over[:, :18].mean() < 0.5
    assert over[:, 32:].mean() > 1
    np.testing.assert_allclose(
        growth.misfit_over(found._replace(local=np.full_like(found.local, 0.7)), (40, 48), 8), 0.7, rtol=1e-6
    )
