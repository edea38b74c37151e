import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.frames import BGR_BYTES, FrameKind
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.gaps import CELL, SCALES, TOLD, FocusGaps, cell_energies, decided, fitted
from ufafuse.runtime.stacks.inverse import COUNT, inverses
from ufafuse.runtime.stacks.octaves import OctaveSums
from ufafuse.runtime.stacks.options import MOST_RESTORED, StackOptions

STEP = 2.2  # pixels: radius of the blur one frame away from the plane in focus


def psnr(a, b):
    return float(10 * np.log10(255**2 / max(np.square(a.astype(float) - b).mean(), 1e-12)))


def disc(picture, radius):
    """Blurred as a lens blurs; drawn eight times as large, for radii below a pixel."""
    if radius == 0:
        return picture
    side = 2 * int(np.ceil(radius)) + 3
    large = np.zeros((8 * side, 8 * side), np.float32)
    cv2.circle(large, (4 * side, 4 * side), round(8 * radius), 1, -1)
    kernel = cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
    return cv2.filter2D(picture, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)


def plane(truth, offset, count=6, noise=1.0, step=STEP):
    """Frames of an even plane that lies `offset` frames behind one of them."""
    rng = np.random.default_rng(7)
    away = [step * abs(number - count // 2 - offset) for number in range(count)]
    frames = [disc(truth.astype(np.float32), radius) for radius in away]
    return [np.clip(frame + rng.normal(0, noise, frame.shape), 0, 255).round().astype(np.uint8) for frame in frames]


def shares_of(frames, fused=None, kind=BGR_BYTES, covered=None):
    gaps = FocusGaps(frames[0].shape[:2], kind)
    for number, frame in enumerate(frames):
        gaps.add(frame, None if covered is None else covered[number])
    return gaps.shares(frames[len(frames) // 2] if fused is None else fused)


@pytest.fixture
def truth(make_texture):
    return make_texture(152, 200, seed=5).round().astype(np.uint8)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("frequency", [0.03, 0.08, 0.2])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_energy_of_a_wave_is_that_of_its_second_derivative(dtype, frequency, across):
    wave = 127 + 100 * np.cos(2 * np.pi * frequency * np.arange(400)[None].repeat(400, 0))
    energies = cell_energies(np.ascontiguousarray(wave.T if across else wave).astype(dtype))
    for scale, energy in zip(SCALES, np.moveaxis(energies, 2, 0), strict=True):
        step = 1 if scale < 2 else 2  # pixels; the second derivative is that of samples so far apart
        left = np.exp(-2 * (np.pi * frequency * scale) ** 2) * (np.cos(np.pi * frequency) if step == 2 else 1)
        curved = (2 - 2 * np.cos(2 * np.pi * frequency * step)) / step**2
        expected = (100 / 255 * left * curved) ** 2 / 2
        assert energy[5:-5, 5:-5].mean() == pytest.approx(expected, rel=0.05, abs=1e-7)


def test_strips_of_a_frame_have_the_energies_of_the_whole(monkeypatch):
    grey = np.random.default_rng(1).integers(0, 256, (213, 90)).astype(np.uint8)
    whole = cell_energies(grey)
    monkeypatch.setattr("ufafuse.runtime.stacks.gaps._STRIP", 32)
    np.testing.assert_array_equal(cell_energies(grey), whole)


@pytest.mark.parametrize("size", [(1, 1), (8, 3), (61, 75)])
def test_every_pixel_is_in_a_cell(size):
    grey = np.random.default_rng(1).integers(0, 256, size).astype(np.uint8)
    energies = cell_energies(grey)
    assert energies.shape == (-(-size[0] // CELL), -(-size[1] // CELL), 2)
    assert np.isfinite(energies).all()
    assert (energies >= 0).all()


@pytest.mark.parametrize(("offset", "step", "gain"), [(0.25, 3.3, 0.4), (0.5, 2.2, 0.2), (0.5, 3.3, 0.5), (0.5, 4.4, 0.2)])
def test_a_plane_that_was_missed_comes_nearer_to_the_truth(fuser, truth, offset, step, gain):
    frames = plane(truth, offset, step=step)
    plain = fuse_sources(fuser, of_arrays(frames), StackOptions(restore=1))
    restored = fuse_sources(fuser, of_arrays(frames), StackOptions())
    assert psnr(restored.fused, truth) > psnr(plain.fused, truth) + gain
    assert plain.restored == (0.0, 1.0)
    share, most = restored.restored
    assert share > 0.25
    assert 1.2 < most <= MOST_RESTORED


def test_a_plane_that_was_hit_stays_as_it_is(fuser, truth):
    for step in (2 * STEP, STEP / 4):
        frames = plane(truth, 0.0, step=step)
        plain = fuse_sources(fuser, of_arrays(frames), StackOptions(restore=1))
        restored = fuse_sources(fuser, of_arrays(frames), StackOptions())
        assert psnr(restored.fused, truth) > psnr(plain.fused, truth) - 0.15
        assert shares_of(frames).sum(2).mean() < 0.05


def fine_surface(kind):
    """What has more detail of a pixel or two than a lens would leave of it, 128 x 128."""
    rng = np.random.default_rng(3)
    if kind == "gauze":
        x, y = np.meshgrid(np.arange(128), np.arange(128))
        grey = 128 + 90 * np.sign(np.sin(2 * np.pi * x / (3.3 + y / 64)))
    elif kind == "cloth":  # as a camera sharpens it
        soft = cv2.GaussianBlur(rng.normal(128, 60, (128, 128)), (0, 0), 0.6)
        grey = soft + 1.5 * (soft - cv2.GaussianBlur(soft, (0, 0), 1))
    else:
        grey = rng.normal(128, 30, (128, 128))
    return cv2.cvtColor(np.clip(grey, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)


@pytest.mark.parametrize("step", [1.5, 2.0, 2.5, 3.0, 4.0])
@pytest.mark.parametrize("surface", ["sand", "cloth", "gauze"])
def test_the_finest_detail_in_full_focus_is_no_blur(surface, step):
    frames = plane(fine_surface(surface), 0.0, step=step)
    assert shares_of(frames).max() < 0.02


@pytest.mark.parametrize("noise", [0, 1, 2])
@pytest.mark.parametrize("offset", [0.0, 0.5])
def test_what_is_told_is_what_was_changed(fuser, noise, offset):
    """Of even parts nothing: any filter does no harm there, and the network asks for some."""
    truth = np.full((160, 192, 3), 120, np.uint8)
    cv2.rectangle(truth, (20, 20), (100, 130), (40, 90, 200), -1)
    cv2.rectangle(truth, (120, 60), (170, 150), (210, 60, 30), -1)
    frames = plane(truth, offset, noise=noise, step=3)
    plain, result = (fuse_sources(fuser, of_arrays(frames), StackOptions(restore=most)) for most in (1, 2.2))
    changed = np.abs(plain.fused.astype(int) - result.fused).max(2).reshape(20, CELL, 24, CELL).max((1, 3))
    assert 0.9 * (changed > 2).mean() <= result.restored[0] <= (changed > 0).mean()
    assert result.restored[0] < 0.5


def test_what_the_last_frame_has_sharp_stays_as_it_is(fuser, truth):
    for step in (STEP, 2 * STEP):
        for frames in (plane(truth, 0.0, step=step)[:4], plane(truth, 0.0, step=step)[3:]):
            plain, restored = (fuse_sources(fuser, of_arrays(frames), StackOptions(restore=most)).fused for most in (1, 2.2))
            assert psnr(restored, truth) > psnr(plain, truth) - 1


@pytest.mark.parametrize("noise", [0, 0.5, 3, 12])
def test_nothing_but_noise_is_not_raised(noise):
    rng = np.random.default_rng(2)
    frames = [np.clip(rng.normal(120, noise, (160, 160, 3)), 0, 255).round().astype(np.uint8) for _ in range(9)]
    assert shares_of(frames).max() < 0.1
    averaged = np.mean(frames, axis=0).round().astype(np.uint8)
    assert shares_of(frames, averaged).max() < 0.1


def test_the_order_of_the_frames_does_not_matter(truth):
    frames = plane(truth, 0.4)
    expected = shares_of(frames, frames[3])
    for order in ((5, 4, 3, 2, 1, 0), (2, 5, 0, 3, 1, 4)):
        np.testing.assert_array_equal(shares_of([frames[index] for index in order], frames[3]), expected)


def test_two_frames_say_nothing_of_what_lies_between(fuser, truth):
    frames = plane(truth, 0.5)[2:4]
    assert not shares_of(frames, frames[0]).any()
    options = StackOptions(want_height=True)  # which takes two frames for a stack
    np.testing.assert_array_equal(
        fuse_sources(fuser, of_arrays(frames), options).fused,
        fuse_sources(fuser, of_arrays(frames), StackOptions(want_height=True, restore=1)).fused,
    )


def test_what_fewer_than_three_frames_show_stays_as_it_is(fuser, truth):
    frames = plane(truth, 0.5)
    alpha = [np.full(truth.shape[:2], 255, np.uint8) for _ in frames]
    for number in (0, 1, 4, 5):
        alpha[number][:, :61] = 0
    shown = [np.dstack([frame, mask]) for frame, mask in zip(frames, alpha, strict=True)]
    plain, restored = (fuse_sources(fuser, of_arrays(shown), StackOptions(restore=most)) for most in (1, 2.2))
    changed = (plain.fused != restored.fused).any(2)
    assert not changed[:, :56].any()
    assert changed[:, 72:].mean() > 0.3


def test_what_a_frame_hides_does_not_matter(truth):
    frames = plane(truth, 0.5)
    covered = [np.ones(truth.shape[:2], np.uint8) for _ in frames]
    covered[1][30:90, 40:120] = covered[4][:20] = 0
    expected = shares_of(frames, frames[3], covered=covered)
    for value in (0, 255):
        hidden = [frame.copy() for frame in frames]
        for frame, mask in zip(hidden, covered, strict=True):
            frame[mask == 0] = value
        np.testing.assert_array_equal(shares_of(hidden, frames[3], covered=covered), expected)


@pytest.mark.parametrize(
    ("dtype", "channels", "white", "order"),
    [(np.uint8, 0, 255, "bgr"), (np.uint16, 3, 65535, "bgr"), (np.uint16, 3, 4095, "rgb"), (np.float32, 3, 1, "bgr")],
)
def test_every_kind_of_frame_is_raised_alike(truth, dtype, channels, white, order):
    frames = [cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) for frame in plane(truth, 0.5, step=3.3)]
    expected = shares_of([cv2.merge([frame] * 3) for frame in frames])
    kind = FrameKind(np.dtype(dtype), channels, float(white), order)
    scaled = [(frame.astype(float) * white / 255).astype(dtype) for frame in frames]
    got = shares_of([cv2.merge([frame] * 3) for frame in scaled] if channels else scaled, kind=kind)
    np.testing.assert_allclose(got, expected, atol=0.08)
    assert expected.mean() > 0.03


def sums_of(picture, kind=BGR_BYTES, stride=32):
    height, width = picture.shape[:2]
    sums = OctaveSums((height, width), kind, (2, 8), stride=stride, threads=2)
    sums.begin(picture, None)
    sums.add((slice(0, height), slice(0, width)), np.ones((height, width, 3), np.float32))
    return sums, sums.fused(picture)


KERNELS = [each.kernel for each in inverses(MOST_RESTORED)]


def test_raised_detail_is_what_the_filters_make_of_the_brightness(truth):
    sums, fused = sums_of(truth)
    np.testing.assert_array_equal(fused, truth)
    shares = np.float32([0.4, 0.1, 0, 0.3])
    changed = sums.raise_detail(fused, np.broadcast_to(shares, (19, 25, COUNT)), KERNELS)
    grey = truth @ np.array([0.114, 0.587, 0.299])
    padded = np.pad(grey, 5, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (11, 11))
    added = sum(share * (windows * kernel).sum((2, 3)) for share, kernel in zip(shares, KERNELS, strict=True))
    beside = np.lib.stride_tricks.sliding_window_view(np.pad(grey, 1, mode="edge"), (3, 3))
    least, most = beside.min((2, 3)), beside.max((2, 3))
    beyond = 0.1 * (most - least)
    raised = np.clip(grey + added, least - beyond, most + beyond)
    expected = np.clip(truth + (raised - grey)[..., None], 0, 255)
    assert np.abs(fused - expected).max() <= 0.6
    assert np.abs(raised - grey).max() > 3
    by_cells = np.abs(raised - grey).reshape(19, CELL, 25, CELL).max((1, 3))
    np.testing.assert_allclose(255 * changed, by_cells, atol=0.01)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0, 4.0])
def test_an_edge_becomes_steeper_without_lines_beside_it(sigma):
    """Whatever it was blurred by."""
    edge = np.where(np.arange(96) < 47, 40, 210).astype(np.float32)[None].repeat(96, 0)
    picture = cv2.cvtColor(cv2.GaussianBlur(edge, (0, 0), sigma).round().astype(np.uint8), cv2.COLOR_GRAY2BGR)
    sums, fused = sums_of(picture)
    sums.raise_detail(fused, np.full((12, 12, COUNT), 1 / COUNT, np.float32), KERNELS)
    assert fused.min() >= 40 - 4
    assert fused.max() <= 210 + 4
    steepest = [np.abs(np.diff(each[48, :, 0].astype(int))).max() for each in (picture, fused)]
    assert steepest[1] >= steepest[0]


def test_nothing_more_changes_not_a_bit(truth):
    rng = np.random.default_rng(3)
    for picture in (truth, rng.random((97, 131, 3)).astype(np.float32), rng.integers(0, 65536, (40, 33)).astype(np.uint16)):
        white = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[picture.dtype.type]
        kind = FrameKind(picture.dtype, 3 if picture.ndim == 3 else 0, float(white), "bgr")
        sums, fused = sums_of(picture, kind)
        before = fused.copy()
        shares = np.zeros((*(-(-side // CELL) for side in picture.shape[:2]), COUNT), np.float32)
        shares[-1, -1] = 0.25  # so that something is done at all
        sums.raise_detail(fused, shares, KERNELS)
        np.testing.assert_array_equal(fused[: -2 * CELL, : -2 * CELL], before[: -2 * CELL, : -2 * CELL])
        assert (fused != before).any()


def test_the_bundled_numbers_are_a_network_that_shares_out(truth):
    layers = fitted()
    assert layers[0][0].shape[0] == TOLD
    told = np.random.default_rng(4).normal(0.5, 1, (500, TOLD)).astype(np.float32)
    shares = decided(told, layers)
    assert shares.shape == (500, COUNT)
    assert shares.min() == 0
    assert shares.sum(1).max() <= 1
    missed = shares_of(plane(truth, 0.5, step=3.3))
    assert missed.min() >= 0
    assert 0.5 < missed.sum(2).max() <= 1


@pytest.mark.parametrize("restore", [0.5, 3, -1, float("nan"), float("inf")])
def test_a_factor_that_is_none_is_refused(restore):
    with pytest.raises(InputError, match=r"`restore=.*give 1"):
        StackOptions(restore=restore)


def test_the_factor_is_bounded_by_what_was_asked(fuser, truth):
    frames = plane(truth, 0.5)
    changes, before = [], fuse_sources(fuser, of_arrays(frames), StackOptions(restore=1)).fused
    for most in (1.1, 1.5, 2.2):
        result = fuse_sources(fuser, of_arrays(frames), StackOptions(restore=most))
        assert 1 < result.restored[1] <= most
        changes.append(np.abs(result.fused.astype(float) - before).mean())
    assert changes[0] < changes[1] / 2 < changes[1] < changes[2]


@pytest.mark.parametrize("count", [3, 4, 6, 12])
@pytest.mark.parametrize("blur", [2.0, 5.0, 12.0])
def test_what_two_frames_have_sharp_was_not_missed(fuser, make_stack, count, blur):
    frames, truth = make_stack(count, blur=blur)
    plain, restored = (fuse_sources(fuser, of_arrays(frames), StackOptions(restore=most)).fused for most in (1, 2.2))
    assert np.square(restored - truth.astype(float)).mean() < np.square(plain - truth.astype(float)).mean() + 8


@pytest.mark.parametrize("photo", [False, True])
@pytest.mark.parametrize("sigma", [1.0, 2.5, 6.0])
def test_parts_that_are_sharp_in_one_frame_each_stay_as_they_are(fuser, truth, photo, sigma):
    if photo:
        truth = np.random.default_rng(8).integers(0, 256, truth.shape).astype(np.uint8)
    soft = cv2.GaussianBlur(truth, (0, 0), sigma)
    frames = []
    for part in range(4):
        mask = np.zeros(truth.shape[:2], bool)
        mask[(part // 2) * 76 : (part // 2 + 1) * 76, (part % 2) * 100 : (part % 2 + 1) * 100] = True
        frames.append(np.where(mask[..., None], truth, soft))
    assert shares_of(frames, truth).sum(2).mean() < 0.05


def test_strips_and_columns_leave_no_seam(truth, monkeypatch):
    """What is raised is the same whether the picture is gone through in one strip or in many."""
    rng = np.random.default_rng(6)
    shares = np.where(rng.random((19, 25, 1)) < 0.06, np.float32([0.3, 0.2, 0.2, 0.3]), 0).astype(np.float32)  # here and there
    results = []
    for pixels in (10**6, 200 * CELL):
        monkeypatch.setattr("ufafuse.runtime.stacks.octaves._STRIP_PIXELS", pixels)
        sums, fused = sums_of(truth, stride=8)
        sums.raise_detail(fused, shares, KERNELS)
        results.append(fused)
    np.testing.assert_array_equal(*results)
    whole = cv2.resize(shares.sum(2), (200, 152), interpolation=cv2.INTER_LINEAR) > 0.3
    assert (results[0] != truth).any(2)[whole].mean() > 0.7
