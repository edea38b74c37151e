import numpy as np
import pytest

from ufafuse.runtime.bfloat16 import narrowed, strips, widened


def test_every_bfloat16_goes_there_and_back():
    bits = np.arange(1 << 16, dtype=np.uint16)
    numbers = widened(bits)
    assert numbers.dtype == np.float32
    known = ~np.isnan(numbers)
    np.testing.assert_array_equal(narrowed(numbers[known]), bits[known])
    assert widened(np.array([0x3F80, 0xC000, 0x7F80], np.uint16)).tolist() == [1.0, -2.0, np.inf]


def test_the_nearest_is_taken():
    numbers = np.random.default_rng(0).normal(0, 1000, (7, 31, 5)).astype(np.float32)
    given = widened(narrowed(numbers[:, ::2]))
    apart = np.abs(given - numbers[:, ::2])
    for step in (-1, 1):
        other = widened((narrowed(numbers[:, ::2]).astype(np.int32) + step).astype(np.uint16))
        assert (apart <= np.abs(other - numbers[:, ::2])).all()


def test_float32_is_left_as_it_is():
    numbers = np.ones((2, 3), np.float32)
    assert widened(numbers) is numbers


@pytest.mark.parametrize("shape", [(1,), (70_000,), (3, 100_000), (5, 0, 4), (900, 16, 12)])
def test_strips_are_all_rows_once(shape):
    rows = np.concatenate([np.arange(shape[0])[strip] for strip in strips(shape)])
    np.testing.assert_array_equal(rows, np.arange(shape[0]))
