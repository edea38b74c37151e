"""Waves that all columns of frames have, and circles on which those of bands lie."""

import numpy as np
import pytest

from ufafuse.runtime.stacks.waves import RowLogarithms, middle_of_circle

ROWS, BLOCKS, FRAMES, CHANNELS = 300, 32, 5, 3
STARTS = np.array([0.0, 2.1, 4.4, 1.2, 5.6])


def logarithms(cycles, sizes, *, shape=(FRAMES, ROWS, BLOCKS, CHANNELS)):
    """Each frame's wave with a size for each block, or one for all; and where a row lies from the first to the last."""
    angles = 2 * np.pi * cycles * np.arange(shape[1]) / shape[1]
    waves = np.cos(angles[None, :] + STARTS[: shape[0], None])[:, :, None, None]
    return (np.broadcast_to(np.asarray(sizes, float).reshape(1, 1, -1, 1) * waves, shape) - 1.0).astype(np.float32)


@pytest.mark.parametrize("cycles", [3.3, 7.6, 17.3, 61.0])
def test_a_wave_is_found_with_its_size_and_phase(cycles):
    rows = RowLogarithms(logarithms(cycles, 0.1))
    assert rows.strongest() == pytest.approx(cycles, abs=0.06)
    waves, astray = rows.waves(cycles)
    assert waves.shape == astray.shape == (FRAMES, CHANNELS)
    np.testing.assert_allclose(waves, 0.1 * np.exp(1j * STARTS)[:, None].repeat(CHANNELS, 1), atol=0.006)
    assert astray.max() < 0.01


def test_what_is_of_no_use_takes_no_part():
    rng = np.random.default_rng(0)
    given = logarithms(17.3, 0.1)
    given[:, rng.random(ROWS) < 0.3] = np.nan  # dark rows
    for dark in (4, 16, 24):  # and a dark part
        given[:, :, 5 : 5 + dark] = np.nan
        waves, astray = RowLogarithms(given).waves(17.3)
        np.testing.assert_allclose(waves, 0.1 * np.exp(1j * STARTS)[:, None].repeat(CHANNELS, 1), atol=0.01)
        assert astray.max() < 0.2
    given[:, :, 3:] = np.nan
    waves, astray = RowLogarithms(given).waves(17.3)
    assert not waves.any()
    assert np.isinf(astray).all()


def test_an_edge_in_one_frame_is_no_wave():
    apart = np.zeros((FRAMES, ROWS, BLOCKS, CHANNELS), np.float32)
    assert RowLogarithms(apart).strongest() is None
    apart[1, 140:160] = 0.5
    assert RowLogarithms(apart).strongest() is None
    assert RowLogarithms(logarithms(3, 0.2)[:, :7] + 1).strongest() is None  # too few rows for any


@pytest.mark.parametrize("cycles", [12.0, 30.5])
def test_lines_in_a_part_of_the_picture_are_far_from_a_wave_of_all(cycles):
    whole = logarithms(cycles, 0.1)
    part = whole.copy()
    part[:, ROWS // 2 :] = -1
    assert RowLogarithms(part).waves(cycles)[1].min() > 0.5
    slanted = np.stack([np.roll(whole[:, :, block], -block, axis=1) for block in range(BLOCKS)], axis=2)
    assert RowLogarithms(slanted).waves(cycles)[1].min() > 0.5
    columns = logarithms(cycles, np.where(np.arange(BLOCKS) % 2, 0.1, 0.0))  # half of them
    assert RowLogarithms(columns).waves(cycles)[1].min() > 0.5


def test_waves_that_begin_anywhere_lie_on_a_circle():
    waves = (0.03 - 0.02j) + 0.1 * np.exp(1j * STARTS)
    middle, radius = middle_of_circle(waves)
    assert middle == pytest.approx(0.03 - 0.02j)
    assert radius == pytest.approx(0.1)
    rng = np.random.default_rng(1)
    middle, radius = middle_of_circle(waves + 0.004 * (rng.normal(size=5) + 1j * rng.normal(size=5)))
    assert abs(middle - (0.03 - 0.02j)) < 0.01
    assert radius == pytest.approx(0.1, rel=0.1)


@pytest.mark.parametrize(
    "waves",
    [
        0.1 * np.exp(1j * np.linspace(0, 0.9, 6)),  # all begin at about one place
        np.linspace(0.02, 0.2, 6) * np.exp(0.7j),  # one wave that is sharp in one frame and not in another
        0.1 * np.array([1, 0.5, 1.4, 0.6, 1.3, 0.7]) * np.exp(2j * np.pi * np.arange(6) / 6),  # of any size
        0.004 * np.exp(1j * STARTS),  # too small to be seen
        0.7 * np.exp(1j * STARTS),  # too large for a lamp
    ],
    ids=["in step", "a line", "any size", "small", "large"],
)
def test_what_lies_on_no_circle(waves):
    assert middle_of_circle(waves) is None
