"""Every parser of what people type is given anything: an answer of its kind, or one sentence."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufafuse.commands.quantities import megabytes_from, seconds_from, sides_from
from ufafuse.runtime.bayer import pattern_from
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.parameters import as_options, size_from
from ufafuse.runtime.stream.sources.params import Params
from ufafuse.runtime.stream.web.address import parse_address

PIECES = [
    "1",
    "0",
    "-",
    ".",
    "e9",
    "e999",
    "nan",
    "inf",
    "x",
    "X",
    "ms",
    "s",
    "GB",
    "MiB",
    "Bayer",
    "RG8",
    "RGGB12p",
    ":",
    "٣",
    "²",
    "_",
    " ",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=12)

PARSERS = {
    "a size": (size_from, lambda size: min(size) > 0),
    "sides": (sides_from, lambda sides: min(sides) > 0),
    "memory": (lambda text: megabytes_from("--max-memory", text), lambda amount: amount is None or 0 < amount < math.inf),
    "a time": (lambda text: seconds_from("--gap", text), lambda time: 0 <= time < math.inf),
    "a mosaic": (pattern_from, lambda pattern: sorted(pattern) == sorted("rggb")),
    "an address": (lambda text: parse_address(text, "view"), lambda address: 0 <= address[1] <= 65535),
    "a number": (lambda text: Params(f"k={text}", "sim:").number("k", 1.0), math.isfinite),
    "a whole number": (lambda text: Params(f"k={text}", "sim:").whole("k", 1), lambda number: number >= 0),
    "spans": (lambda text: Params(f"k={text}", "sim:").spans("k"), lambda spans: all(math.isfinite(a + b) for a, b in spans)),
    "options": (lambda text: as_options(text, {"max_memory": "--max-memory"}), lambda text: isinstance(text, str)),
}


@pytest.mark.parametrize("what", PARSERS)
@given(text=TEXTS)
@settings(max_examples=200, deadline=None)
def test_anything_is_of_its_kind_or_one_sentence(what, text):
    parse, is_right = PARSERS[what]
    try:
        found = parse(text)
    except InputError as error:
        assert str(error).strip()
        return
    assert is_right(found), (text, found)
