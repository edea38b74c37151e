"""Every classical method: better than averaging on a pair whose truth is known, and exact where its transform should be."""

import cv2
import numpy as np
import pytest
import pywt
from scipy import optimize

from ufafuse.benchmarks.methods import (
    directional,
    is_rival,
    matting,
    method,
    methods,
    pyramid,
    sparse,
    variation,
    wavelets,
)
from ufafuse.benchmarks.methods.base import choose_larger, without_small_regions
from ufafuse.benchmarks.metrics import score, truth
from ufafuse.network.rivals.maps import guided_filter
from ufafuse.runtime.errors import InputError

NAMES = ("average", "sf", "gff", "dsift", "lap", "mp", "dwt", "swt", "dtcwt", "cvt", "nsct", "sr", "imf", "mwgf", "gtf")
COMPETITORS = NAMES[1:-1]  # gtf is for other pairs than these

MARGIN = {"sf": 6, "gff": 12, "dsift": 15, "lap": 14, "mp": 2, "dwt": 4, "swt": 12, "dtcwt": 11, "cvt": 6, "nsct": 10}
MARGIN |= {"sr": 14, "imf": 11, "mwgf": 13}
"""By how many decibels each is above the mean of the two frames, at least."""


@pytest.fixture(scope="module")
def fused(synthetic):
    """Every method's picture of the synthetic pair, and its scores."""
    near, far, truth = synthetic
    pictures = {name: method(name).fuse(near, far) for name in NAMES}
    return {name: (picture, score(near, far, picture, truth)) for name, picture in pictures.items()}


def test_the_registry_holds_the_methods_of_the_papers_table():
    assert tuple(name for name in methods() if not is_rival(name)) == NAMES
    assert all(entry.citation and entry.label for entry in methods().values())


def test_an_unknown_method_is_answered_with_the_known_ones():
    with pytest.raises(InputError, match="no method 'foo': choose from average, sf, gff"):
        method("foo")


@pytest.mark.parametrize("name", COMPETITORS)
def test_each_method_beats_plain_averaging(fused, name):
    floor, scores = fused["average"][1], fused[name][1]
    assert scores["Qabf"] > floor["Qabf"] + 0.09
    assert scores["PSNR"] > floor["PSNR"] + MARGIN[name]


@pytest.mark.parametrize("name", NAMES)
def test_each_method_returns_eight_bit_pictures_of_the_pairs_size(fused, name):
    picture, _ = fused[name]
    assert picture.dtype == np.uint8
    assert picture.shape == (104, 120, 3)


@pytest.mark.parametrize("name", NAMES)
def test_each_method_fuses_grey_frames_of_odd_sizes(synthetic, name):
    near, far, _ = (picture[:61, :67, 1] for picture in synthetic)
    assert method(name).fuse(near, far).shape == (61, 67)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("error")
def test_each_method_fuses_frames_smaller_than_its_windows(synthetic, name):
    for size in ((1, 1), (1, 9), (5, 17), (7, 7), (33, 2)):
        near, far, _ = (np.ascontiguousarray(picture[: size[0], : size[1]]) for picture in synthetic)
        fused = method(name).fuse(near, far)
        assert fused.shape == near.shape
        even = np.full_like(near, 7)
        assert np.abs(method(name).fuse(even, even).astype(int) - 7).max() <= 1


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"sr"}))
def test_each_method_gives_a_frame_fused_with_itself_back(synthetic, name):
    _, _, truth = synthetic
    difference = np.abs(method(name).fuse(truth, truth).astype(int) - truth)
    assert difference.max() <= 1


def test_sparse_representation_gives_a_frame_back_within_its_tolerance(synthetic):
    truth = synthetic[2][:40, :40]
    difference = method("sr").fuse(truth, truth).astype(float) - truth
    assert np.sqrt(np.mean(difference**2)) < 2


def test_a_grey_and_a_colour_frame_give_a_colour_picture(synthetic):
    near, far, _ = synthetic
    assert method("lap").fuse(near[..., 1], far).shape == far.shape


def test_halves_are_rounded_up():
    near, far = np.full((8, 8), 10, np.uint8), np.full((8, 8), 11, np.uint8)
    assert (method("average").fuse(near, far) == 11).all()
    assert (method("average").fuse(near + 1, far + 1) == 12).all()


def test_frames_of_different_sizes_are_refused(synthetic):
    near, far, _ = synthetic
    with pytest.raises(InputError, match="must have one size"):
        method("dwt").fuse(near, far[:-1])


def test_the_dual_tree_inverts():
    plane = np.random.default_rng(0).random((64, 96))
    assert wavelets.inverse_dual_tree(*wavelets.dual_tree(plane)) == pytest.approx(plane, abs=1e-6)


def test_the_dual_trees_energy_hardly_moves_when_the_picture_is_shifted():
    bar = np.zeros((64, 64))
    bar[:, 20:36] = 1.0

    def spread(transform, level):
        energies = [transform(np.roll(bar, shift, axis=1), level) for shift in range(8)]
        return max(energies) / min(energies)

    def complex_energy(plane, level):
        return sum(np.sum(np.abs(band) ** 2) for band in wavelets.dual_tree(plane)[1][level])

    def real_energy(plane, level):
        return sum(np.sum(band**2) for band in pywt.wavedec2(plane, "db2", "periodization", 3)[-1 - level])

    assert spread(complex_energy, 1) < spread(real_energy, 1) / 3
    assert spread(complex_energy, 2) < spread(real_energy, 2) / 3


def test_the_contourlet_bands_add_up_to_the_plane():
    plane = np.random.default_rng(1).random((40, 53))
    low, levels = directional.contourlets(plane)
    assert low + sum(band for bands in levels for band in bands) == pytest.approx(plane, abs=1e-10)


def test_matching_pursuit_finds_the_atoms_that_made_the_signals():
    dictionary = sparse.cosine_dictionary(8, 8)  # orthonormal when it is not overcomplete
    codes = np.zeros((3, 64))
    codes[0, [3, 40]], codes[1, 7], codes[2, [5, 6, 60]] = (30.0, -20.0), 50.0, (10.0, 20.0, -30.0)
    found, norms = sparse.matching_pursuit(codes @ dictionary, dictionary, tolerance=1e-6, most_atoms=5)
    assert found == pytest.approx(codes @ dictionary, abs=1e-6)
    assert norms == pytest.approx([50, 50, 60], abs=1e-4)


def test_matching_pursuit_leaves_at_most_the_tolerance():
    signals = np.random.default_rng(2).normal(size=(20, 64)) * 10
    found, _ = sparse.matching_pursuit(signals, sparse.cosine_dictionary(8, 16), tolerance=8.0, most_atoms=60)
    assert np.linalg.norm(signals - found, axis=1).max() <= 8.0


def test_matting_moves_a_misplaced_border_to_the_edge_of_the_image():
    image = np.zeros((30, 40, 3))
    image[:, 22:] = (0.9, 0.5, 0.2)
    known = np.zeros((30, 40))
    known[:, 20:] = 1.0  # two columns off the true edge
    unknown = np.zeros((30, 40), bool)
    unknown[:, 16:27] = True
    alpha = matting.closed_form_alpha(image, known, unknown)
    assert alpha[8:-8, :22].max() < 0.25
    assert alpha[8:-8, 22:].min() > 0.75


def test_the_guided_filter_keeps_a_plane_that_is_linear_in_its_guide():
    guide = np.random.default_rng(3).random((30, 30))
    assert guided_filter(guide, 2 * guide + 1, 3, 1e-9) == pytest.approx(2 * guide + 1, abs=1e-4)


def test_choose_larger_compares_magnitudes_in_a_window_and_by_vote():
    near, far = np.array([[1.0, -9.0, 1.0]]), np.array([[2.0, 3.0, 4.0]])
    assert choose_larger(near, far).tolist() == [[2.0, -9.0, 4.0]]
    assert choose_larger(near, far, window=3).tolist() == [[1.0, -9.0, 1.0]]
    assert choose_larger(near, far, verify=True).tolist() == far.tolist()


def test_small_regions_turn_into_their_surroundings():
    mask = np.zeros((20, 20), bool)
    mask[:, 10:] = True
    cleaned = mask.copy()
    mask[3:5, 3:5], mask[15, 15] = True, False
    assert (without_small_regions(mask, 5) == cleaned).all()


def test_the_morphological_pyramid_keeps_what_is_as_wide_as_its_element_and_takes_single_pixels_as_detail():
    plane = np.full((32, 32), 50.0)
    plane[9:13, 9:14], plane[20, 20] = 90.0, 200.0
    details, _ = pyramid._morphological(plane)
    assert details[0][20, 20] == 150
    assert np.abs(details[0][8:15, 8:15]).max() <= 40


def test_total_variation_with_absolute_differences_finds_the_minimum_that_a_linear_programme_finds():
    row = np.cumsum(np.random.default_rng(0).normal(size=(1, 16)), axis=1) * 8
    side, weight = row.size, 2.0
    one, step, none = np.eye(side), np.diff(np.eye(side), axis=0), np.zeros
    bounds = [
        [one, -one, none((side, side - 1))],
        [-one, -one, none((side, side - 1))],
        [step, none((side - 1, side)), -np.eye(side - 1)],
        [-step, none((side - 1, side)), -np.eye(side - 1)],
    ]
    costs = np.repeat([0, 1, weight], [side, side, side - 1])
    right = np.concatenate([row[0], -row[0], none(2 * side - 2)])
    free, positive = [(None, None)] * side, [(0, None)] * (2 * side - 1)
    least = optimize.linprog(costs, np.block(bounds), right, bounds=free + positive).fun
    for plane in (row, row.T):
        found = variation.smoothed_by_variation(plane, weight, steps=1000).ravel()
        assert np.abs(found - row[0]).sum() + weight * np.abs(np.diff(found)).sum() == pytest.approx(least, rel=1e-3)


def test_gradient_transfer_gives_an_infrared_frames_levels_the_visible_frames_detail():
    rows, columns = np.mgrid[:96, :96]
    warm = (columns - 34) ** 2 + (rows - 40) ** 2 < 18**2
    levels = np.where(warm | ((columns - 70) ** 2 + (rows - 62) ** 2 < 16**2), 200.0, 70.0)
    detail = cv2.GaussianBlur(np.random.default_rng(4).normal(size=(96, 96)), (0, 0), 1.2)
    detail *= 12 / detail.std()
    ground = np.where(columns < 60, 110.0, 140.0)
    infrared, visible, sought = (
        np.clip(plane, 0, 255).round().astype(np.uint8) for plane in (levels, ground + detail, levels + detail)
    )
    mean, fused = (truth.psnr(sought, method(name).fuse(infrared, visible)) for name in ("average", "gtf"))
    assert fused > mean + 6
