"""The metrics against hand-derived values, brute force, and the original code's values on real pictures."""

import csv
import math

import numpy as np
import pytest
from scipy import ndimage, signal

from ufafuse.benchmarks.metrics import (
    JUDGES,
    METRICS,
    contrast,
    edges,
    fidelity,
    information,
    levels,
    planes,
    score,
    similarity,
    truth,
    wavelets,
)
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.images import read_image

TOLERANCE = dict.fromkeys(METRICS, 1e-8) | {"Qcb": 1e-4, "Qc": 1e-2}
QC_MEAN_TOLERANCE = 1e-3


@pytest.fixture
def three(synthetic):
    """Near, far and their mean in float grey."""
    near, far, _ = (planes.grey(picture) for picture in synthetic)
    return near, far, (near + far) / 2


def test_average_gradient_of_a_ramp_is_its_slope_over_root_two():
    ramp = np.tile(np.arange(12.0) * 3, (9, 1))
    assert levels.average_gradient(ramp) == pytest.approx(3 / math.sqrt(2))


def test_average_gradient_uses_forward_differences_without_the_last_row_and_column():
    plane = np.array([[0.0, 4.0, 9.0], [3.0, 0.0, 9.0], [7.0, 7.0, 100.0]])
    squares = [(3, 4), (-4, 5), (4, -3), (7, 9)]
    assert levels.average_gradient(plane) == pytest.approx(np.mean([math.sqrt((v * v + h * h) / 2) for v, h in squares]))


def test_standard_deviation_divides_by_one_less_than_the_count():
    assert levels.standard_deviation(np.array([[0.0, 2.0], [4.0, 6.0]])) == pytest.approx(math.sqrt(20 / 3))


def test_entropy_of_equally_frequent_levels_is_their_logarithm():
    assert levels.entropy(np.tile(np.arange(8.0), (4, 1))) == pytest.approx(3.0)
    assert levels.entropy(np.full((4, 4), 9.0)) == 0.0


def test_edge_transfer_of_an_exact_copy_scores_the_gradient_itself_and_not_one():
    step = np.zeros((8, 8))
    step[:, 4:] = 50.0
    sigmoids = (0.9994 / (1 + math.exp(-15 * 39.5))) * (0.9879 / (1 + math.exp(-22 * 0.2)))
    assert edges.edge_transfer(step, step, step) == pytest.approx(sigmoids)


def test_edge_transfer_is_brute_force_sobel_with_true_convolution():
    rng = np.random.default_rng(3)
    near, far, fused = (rng.integers(0, 256, (16, 20)).astype(float) for _ in range(3))
    kernel_x = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    kernel_y = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]])

    def gradient(plane):
        x, y = (signal.convolve2d(plane, kernel, mode="same") for kernel in (kernel_x, kernel_y))
        return np.sqrt(x * x + y * y), np.where(x == 0, np.pi / 2, np.arctan(y / np.where(x == 0, 1, x)))

    (strength_fused, angle_fused), total, weight = gradient(fused), 0.0, 0.0
    for source in (near, far):
        strength, angle = gradient(source)
        for s, f, a, b in zip(strength.flat, strength_fused.flat, angle.flat, angle_fused.flat, strict=True):
            ratio = f / s if s > f else s / f if s < f else f
            agreement = 1 - abs(a - b) / (np.pi / 2)
            total += s * 0.9994 / (1 + np.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + np.exp(-22 * (agreement - 0.8)))
            weight += s
    assert edges.edge_transfer(near, far, fused) == pytest.approx(total / weight, abs=1e-12)


def test_edge_transfer_is_undefined_without_edges():
    black = np.zeros((8, 8))  # any other level would have an edge against the zeros outside
    assert math.isnan(edges.edge_transfer(black, black, black))


def test_visual_fidelity_is_the_recipe_with_full_two_dimensional_windows(three):
    numbers = []
    near, far, fused = three
    for scale, size in enumerate((17, 9, 5, 3)):
        offsets = np.arange(size) - size // 2
        window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * (size / 5) ** 2))
        window /= window.sum()

        def smooth(plane, window=window):
            return signal.correlate2d(plane, window, mode="valid")

        if scale:
            near, far, fused = (smooth(plane)[::2, ::2] for plane in (near, far, fused))
        gains, kept, held = [], [], []
        for source in (near, far):
            s1 = np.maximum(smooth(source**2) - smooth(source) ** 2, 0)
            s2 = np.maximum(smooth(fused**2) - smooth(fused) ** 2, 0)
            s12 = smooth(source * fused) - smooth(source) * smooth(fused)
            gain = s12 / (s1 + 1e-10)
            rest = s2 - gain * s12
            rest = np.maximum(np.where(gain < 0, s2, rest), 1e-10)
            gain = np.maximum(gain, 0)
            gains.append(gain)
            kept.append(np.log10(1 + gain**2 * s1 / (rest + 325.125)))
            held.append(np.log10(1 + s1 / 325.125))
        pick = gains[0] < gains[1]
        numbers.append(np.sum(np.where(pick, *kept) + 1e-7) / np.sum(np.where(pick, *held) + 1e-7))
    expected = (numbers[0] + 0.15 * numbers[2] + numbers[3]) / 2.15
    assert fidelity.visual_fidelity(*three) == pytest.approx(expected, abs=1e-10)


def test_visual_fidelity_at_the_smallest_side_is_defined():
    side = fidelity.SMALLEST_SIDE
    plane = np.random.default_rng(0).random((side, side))
    assert fidelity.visual_fidelity(plane, plane, plane) == pytest.approx(1.0, abs=1e-3)
    assert math.isnan(fidelity.visual_fidelity(*[plane[:-1]] * 3))


def test_structural_transfer_of_a_copy_of_both_is_one():
    plane = np.random.default_rng(1).random((24, 30))
    assert similarity.structural_transfer(plane, plane, plane) == pytest.approx(1.0, abs=1e-6)


def test_structural_transfer_of_textured_planes_is_the_recipe_with_a_two_dimensional_window():
    rng = np.random.default_rng(2)
    near, far, fused = rng.random((3, 20, 22))
    offsets = np.arange(-3, 4)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def smooth(plane):
        return signal.correlate2d(plane, window, mode="valid")

    parts = []
    for source in (near, far):
        m1, m2 = smooth(source), smooth(fused)
        s1, s2, s12 = smooth(source**2) - m1**2, smooth(fused**2) - m2**2, smooth(source * fused) - m1 * m2
        parts.append((4 * m1 * m2 * s12 / ((m1**2 + m2**2) * (s1 + s2) + 1e-10), s12))
    share = parts[0][1] / (parts[0][1] + parts[1][1] + 1e-10)
    quality = share * parts[0][0] + (1 - share) * parts[1][0]
    quality = np.where(share < 0, 0, np.where(share > 1, 1, quality))
    assert similarity.structural_transfer(near, far, fused) == pytest.approx(quality.mean(), abs=1e-9)


def test_contrast_preservation_is_the_recipe_with_a_full_transform_and_window(three):
    height, width = three[0].shape
    rows = 2 * (np.arange(height) - height // 2) / height
    columns = 2 * (np.arange(width) - width // 2) / width
    radius = np.hypot(width / 30 * columns[None], height / 30 * rows[:, None])
    filtered = np.exp(-((radius / 15.3870) ** 2)) - 0.7622 * np.exp(-((radius / 1.3456) ** 2))
    offsets = np.arange(-15, 16)
    squares = offsets[:, None] ** 2 + offsets[None] ** 2
    contrasts = []
    for plane in three:
        stretched = np.floor((plane - plane.min()) / (plane.max() - plane.min()) * 255 + 0.5)
        seen = np.real(np.fft.ifft2(np.fft.fft2(stretched) * np.fft.ifftshift(filtered)))
        narrow, wide = (
            ndimage.correlate(seen, np.exp(-squares / (2 * s * s)) / (2 * np.pi * s * s), mode="constant") for s in (2, 4)
        )
        value = np.abs(narrow / wide - 1)
        contrasts.append(value**3 / (value**2 + 0.0001))
    near, far, fused = contrasts
    kept = [np.minimum(source, fused) / np.maximum(source, fused) for source in (near, far)]
    expected = np.mean((near**2 * kept[0] + far**2 * kept[1]) / (near**2 + far**2))
    assert contrast.contrast_preservation(*three) == pytest.approx(expected, abs=1e-9)


def test_multiscale_edges_of_a_copy_of_both_is_three():
    plane = np.random.default_rng(4).random((16, 20))
    assert wavelets.multiscale_edges(plane, plane, plane) == pytest.approx(3.0)


def test_multiscale_edges_of_one_block_is_worked_out_by_hand():
    near = np.zeros((4, 4))
    near[0, 0] = 1.0  # details of level 1: -1/2, -1/2, +1/2 in one block; of level 2: the same quarters
    flat = np.zeros((4, 4))
    level_one = 3 * math.exp(-0.5)
    level_two = 3 * math.exp(-0.25)
    expected = level_one ** (2 / 3) * level_two ** (1 / 3)
    assert wavelets.multiscale_edges(near, flat, flat) == pytest.approx(expected)


def test_multiscale_edges_crops_to_multiples_of_four():
    plane = np.random.default_rng(5).random((19, 23))
    assert wavelets.multiscale_edges(plane, plane, plane) == pytest.approx(3.0)


def qmi(*planes):
    return information.shared_and_correlated(*planes)[0]


def qncie(*planes):
    return information.shared_and_correlated(*planes)[1]


def test_shared_information_of_few_levels_is_worked_out_by_hand():
    four, two, one = np.array([[0.0, 1, 2, 3]] * 2), np.array([[0.0, 0, 9, 9]] * 2), np.full((2, 4), 5.0)
    # The entropies are 2, 1 and 0 bits; two levels made of four tell 1 bit of them.
    assert qmi(two, two, two) == pytest.approx(2.0)
    assert qmi(two, one, two) == pytest.approx(1.0)
    assert qmi(four, one, two) == pytest.approx(2 / 3)
    assert math.isnan(qmi(one, two, one))


def test_nonlinear_correlation_of_few_levels_is_worked_out_by_hand():
    two = np.array([[0.0, 0, 9, 9]] * 2)

    def from_eigenvalues(*values):
        return 1 + sum(value / 3 * math.log(value / 3, 256) for value in values)

    # One bit shared is 1/8 of a digit of base 256: 1 on the diagonal, 1/8 beside it.
    assert qncie(two, two, two) == pytest.approx(from_eigenvalues(1.25, 0.875, 0.875))
    across = np.array([[0.0, 0, 0, 0], [1, 1, 1, 1]])
    assert qncie(two, across, two) == pytest.approx(from_eigenvalues(1.125, 1, 0.875))
    one = np.full((2, 4), 5.0)
    assert qncie(two, across, one) == pytest.approx(1 - math.log(3, 256))


def test_weighted_similarity_in_two_windows_is_worked_out_by_hand():
    near, far, fused = np.random.default_rng(6).random((3, 11, 12))
    near[:, 1:] *= 0.3
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()
    qualities, weights = [], []
    for cut in (np.s_[:, :11], np.s_[:, 1:]):
        f = fused[cut] * 255
        likeness, variance = [], []
        for source in (near, far):
            s = source[cut] * 255
            (ms, mf), (vs, vf) = ((np.sum(window * p) for p in pair) for pair in ((s, f), (s * s, f * f)))
            vs, vf, both = vs - ms**2, vf - mf**2, np.sum(window * s * f) - ms * mf
            likeness.append((2 * ms * mf + 6.5025) * (2 * both + 58.5225) / (ms**2 + mf**2 + 6.5025) / (vs + vf + 58.5225))
            variance.append(vs)
        qualities.append(np.average(likeness, weights=variance))
        weights.append(max(variance))
    expected = np.mean(qualities), np.average(qualities, weights=weights)
    assert similarity.weighted_similarity(near, far, fused) == pytest.approx(expected, abs=1e-9)


def test_weighted_similarity_takes_the_source_that_has_detail():
    textured, flat = np.random.default_rng(7).random((16, 16)), np.full((16, 16), 0.5)
    assert similarity.weighted_similarity(textured, flat, textured) == pytest.approx((1, 1), abs=1e-9)
    assert similarity.weighted_similarity(textured, flat, flat)[1] < 0.1
    assert similarity.weighted_similarity(flat, flat, flat) == pytest.approx((1, 1))
    assert all(map(math.isnan, similarity.weighted_similarity(*[flat[:10]] * 3)))


def test_psnr_of_one_level_everywhere_is_forty_eight_decibels():
    black = np.zeros((16, 16, 3), np.uint8)
    assert truth.psnr(black, black + 1) == pytest.approx(20 * math.log10(255))


def test_psnr_of_equal_pictures_is_finite_and_above_any_other():
    black = np.zeros((16, 16), np.uint8)
    almost = black.copy()
    almost[0, 0] = 2
    assert truth.psnr(black, almost) < truth.psnr(black, black) < math.inf


def test_ssim_matches_scikit_image_inside_the_border(synthetic):
    structural = pytest.importorskip("skimage.metrics").structural_similarity
    near, _, sharp = synthetic
    _, full = structural(
        sharp, near, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, full=True
    )
    assert truth.ssim(sharp, near) == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-9)


def test_score_names_every_metric_in_the_order_of_the_paper(synthetic):
    near, far, sharp = synthetic
    assert tuple(score(near, far, near)) == (*METRICS, *JUDGES)
    assert tuple(score(near, far, near, sharp)) == (*METRICS, *JUDGES, "PSNR", "SSIM")


def test_score_of_a_grey_pair_equals_the_same_pair_as_three_equal_channels(synthetic):
    grey = [picture[..., 1] for picture in synthetic]
    colour = [picture[..., None].repeat(3, axis=2) for picture in grey]
    assert score(*grey) == pytest.approx(score(*colour), abs=1e-4)  # Qcb rounds ties


def test_score_reads_sixteen_bit_and_float_pictures_as_the_same_levels(synthetic):
    expected = score(*synthetic)
    assert score(*(picture.astype(np.uint16) * 257 for picture in synthetic)) == pytest.approx(expected)
    assert score(*(picture / 255.0 for picture in synthetic)) == pytest.approx(expected)


def test_score_mixes_a_grey_with_a_colour_picture(synthetic):
    near, far, sharp = synthetic
    assert set(score(near[..., 1], far, sharp, sharp[..., 1])) == {*METRICS, *JUDGES, "PSNR", "SSIM"}


@pytest.mark.parametrize(
    ("far", "message"),
    [
        (np.zeros((9, 8, 3), np.uint8), "must have one size, found near 8x8, far 9x8"),
        (np.zeros((8, 8, 3), np.int32), "int32 samples"),
        (np.zeros((8, 8, 2), np.uint8), "array of shape"),
    ],
)
def test_score_refuses_what_it_is_not_defined_on(far, message):
    near = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(InputError, match=message):
        score(near, far, near)


def _check(reference_folder, lytro, rows):
    deviations = []
    for row in rows:
        number = row["image"].split("-")[1]
        fused = read_image(next((reference_folder / "fused" / row["method"]).glob(f"{row['image']}.*")))
        found = score(read_image(lytro / f"lytro_{number}_A.jpg"), read_image(lytro / f"lytro_{number}_B.jpg"), fused)
        for metric in METRICS:
            assert found[metric] == pytest.approx(float(row[metric]), abs=TOLERANCE[metric]), (row["image"], metric)
        deviations.append(found["Qc"] - float(row["Qc"]))
    return deviations


def _rows(reference_folder):
    with (reference_folder / "reference_metrics.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_score_equals_the_original_code_on_real_pictures(reference_folder, lytro):
    rows = [row for row in _rows(reference_folder) if row["image"] in ("lytro-01", "lytro-07")]
    _check(reference_folder, lytro, rows[::5])


@pytest.mark.slow
def test_score_equals_the_original_code_on_the_whole_reference(reference_folder, lytro):
    rows = _rows(reference_folder)
    assert len(rows) == 80
    deviations = _check(reference_folder, lytro, rows)
    assert abs(np.mean(deviations)) < QC_MEAN_TOLERANCE


@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, None, "fused.png"])
def test_what_is_no_picture_is_not_scored(which, broken):
    """NaN counted as black, and of infinity the level of white was looked for without an end."""
    pictures = [np.random.default_rng(seed).random((40, 50, 3)).astype(np.float32) for seed in range(4)]
    if isinstance(broken, float):
        pictures[which][3:9] = broken
    elif which == 3 and broken is None:
        return
    else:
        pictures[which] = broken
    with pytest.raises(InputError, match="a metric was asked of"):
        score(*pictures)
