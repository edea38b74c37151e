"""Every parser of what people type is given anything: an answer of its kind, or one sentence."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufafuse.commands.quantities import megabytes_from, seconds_from, sides_from
from ufafuse.runtime.bayer import pattern_from
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.parameters import as_options, size_from
from ufafuse.runtime.serving.options import model_spec
from ufafuse.runtime.stream.alarms import alarms_from
from ufafuse.runtime.stream.sources.numbers import Numbers
from ufafuse.runtime.stream.sources.opencv import device_source
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
    "sharp",
    "<",
    "usual",
    " for ",
    "*",
    "@",
    "=",
    "\0",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=12)


def numbers_in_names(text):
    names, numbers = [text, text[::-1], f"{text}1", f"2{text}"], Numbers()
    numbers.learn(names)
    return [numbers.of(name) for name in names if numbers.sure(name) is not None]


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
    "an alarm": (lambda text: alarms_from([text]), lambda alarms: all(math.isfinite(a.value + a.seconds) for a in alarms)),
    "a figure's alarm": (lambda text: alarms_from([f"sharp<0.6{text}"]), lambda alarms: alarms[0].seconds >= 0),
    "a model": (model_spec, lambda spec: bool(spec.name and spec.model)),
    "a device": (lambda text: device_source(f"0?{text}", "near"), lambda source: source.name == "/dev/video0"),
    "names with numbers": (numbers_in_names, lambda found: all(number is None or number.number >= 0 for number in found)),
    "options": (lambda text: as_options(text, {"max_memory": "--max-memory"}), lambda text: isinstance(text, str)),
}


@pytest.mark.parametrize("what", PARSERS)
@given(text=TEXTS)
@settings(max_examples=100, deadline=None)
def test_anything_is_of_its_kind_or_one_sentence(what, text):
    parse, is_right = PARSERS[what]
    try:
        found = parse(text)
    except InputError as error:
        assert str(error).strip()
        return
    assert is_right(found), (text, found)
