"""Amounts as people write them."""

import pytest

from ufafuse.commands.quantities import megabytes_from, sides_from
from ufafuse.runtime.bayer import pattern_from
from ufafuse.runtime.errors import InputError


@pytest.mark.parametrize(
    ("text", "value"),
    [("800", 800), ("800MB", 800), ("2GB", 2000), ("1.5g", 1500), ("2 GiB", 2**31 / 1e6), ("500000kB", 500), (".5GB", 500)],
)
def test_memory(text, value):
    assert megabytes_from("--max-memory", text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "0", "-1", "much", "2XB", "1e3", "nan", "2GB2"])
def test_no_memory(text):
    with pytest.raises(InputError, match="--max-memory"):
        megabytes_from("--max-memory", text)


@pytest.mark.parametrize(("text", "size"), [("480x640", (480, 640)), ("320", (320, 320)), (" 16 X 17 ", (16, 17))])
def test_sizes(text, size):
    assert sides_from(text) == size


@pytest.mark.parametrize("text", ["", "x", "0", "480x", "480x0", "-480x640", "4.5x6", "480x640x3"])
def test_no_size(text):
    with pytest.raises(InputError, match="`size="):
        sides_from(text)


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("rggb", "rggb"),
        ("RGGB", "rggb"),
        ("BayerRG8", "rggb"),
        ("BayerGB12p", "gbrg"),
        ("bayer_gr10", "grbg"),
        ("BayerBG", "bggr"),
    ],
)
def test_bayer_patterns(text, pattern):
    assert pattern_from(text) == pattern


@pytest.mark.parametrize("text", ["", "rgb", "Mono8", "BayerXY8", "rggb8"])
def test_no_bayer_pattern(text):
    with pytest.raises(InputError, match="Bayer pattern"):
        pattern_from(text)
