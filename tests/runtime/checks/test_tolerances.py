"""The one table of tolerances, and the distances that it judges."""

import numpy as np
import pytest

from ufafuse.runtime.checks.tolerances import IDENTICAL_DB, NOISE_FACTOR, compare, psnr, ssim, tolerance_for
from ufafuse.runtime.errors import InputError


@pytest.fixture
def picture():
    return np.random.default_rng(0).uniform(0, 255, (40, 50, 3)).astype(np.float32)


def test_equal_pictures_have_no_distance(picture):
    row = compare(picture, picture)
    assert (row["max_abs"], row["mean_abs"], row["psnr"], row["finite"]) == (0, 0, IDENTICAL_DB, True)
    assert row["ssim"] == pytest.approx(1)


def test_a_level_is_one_of_255(picture):
    row = compare(picture + 1, picture)
    assert row["max_abs"] == pytest.approx(1, rel=1e-4)
    assert row["psnr"] == pytest.approx(48.13, abs=0.01)


def test_one_pixel_of_nan_is_the_worst_there_is(picture):
    spoilt = picture.copy()
    spoilt[3, 4, 1] = np.nan
    row = compare(spoilt, picture)
    assert (row["finite"], row["psnr"], row["max_abs"]) == (False, 0, 255)
    assert not tolerance_for("int8", "float").met_by(row)


def test_ssim_falls_with_structure_and_not_with_size(picture):
    blurred = np.repeat(picture.mean(axis=1, keepdims=True), 50, axis=1)
    assert ssim(blurred, picture) < 0.5
    assert ssim(picture[:1, :1], picture[:1, :1]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("precision", "io", "row", "ok"),
    [
        ("fp32", "float", {"max_abs": 0.0025, "psnr": 100}, True),
        ("fp32", "float", {"max_abs": 0.0026, "psnr": 100}, False),
        ("fp32", "float", {"max_abs": 0.0026, "psnr": 100, "noise": 0.0026 / NOISE_FACTOR + 1e-9}, True),
        ("fp32", "uint8", {"max_abs": 1.0, "psnr": 40}, True),
        ("fp32", "uint8", {"max_abs": 2.0, "psnr": 80}, False),
        ("fp16", "float", {"max_abs": 9.0, "psnr": 50.0}, True),
        ("bf16", "uint8", {"max_abs": 0.0, "psnr": 49.9}, False),
        ("int8", "uint8", {"max_abs": 9.0, "psnr": 45.0}, True),
        ("int8+bf16", "float", {"max_abs": 0.0, "psnr": 44.9}, False),
    ],
)
def test_the_table(precision, io, row, ok):
    assert tolerance_for(precision, io).met_by({"finite": True, **row}) is ok


@pytest.mark.parametrize(("precision", "io"), [("fp8", "float"), ("fp32", "nhwc")])
def test_what_is_not_in_the_table_is_refused(precision, io):
    with pytest.raises(InputError, match="no tolerance"):
        tolerance_for(precision, io)


def test_psnr_of_nothing_is_finite():
    assert psnr(0.0) == IDENTICAL_DB
    assert psnr(1e-30) == IDENTICAL_DB
