"""Options of a wrong type are refused with a sentence that names them, whichever field it is."""

from dataclasses import fields

import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stacks.options import StackOptions
from ufafuse.runtime.stacks.relief import HeightOptions

VALUES = {
    "text": "3",
    "a fraction": 1.5,
    "True": True,
    "whole": 2,
    "nothing": None,
    "a list": [1],
    "bytes": b"affine",
    "an array": np.ones(3),
    "complex": 1j,
    "an object": object(),
    "a function": len,
}
# Of each kind of field, which of these fit.
TEXT, NUMBER, WHOLE = {"text"}, {"a fraction", "whole"}, {"whole"}
FIT = {
    StackOptions: {
        **dict.fromkeys(("order", "align", "method"), TEXT),
        "bayer": TEXT | {"nothing"},
        **dict.fromkeys(("smoothing", "restore"), NUMBER),
        "white": NUMBER | {"nothing"},
        "reference": WHOLE | {"nothing"},
        "on_aligned": {"a function", "nothing"},
    },
    HeightOptions: {"z_unit": TEXT, **dict.fromkeys(("z_step", "pixel_size"), NUMBER | {"nothing"})},
}
CASES = [
    (options, field.name, what)
    for options, fit in FIT.items()
    for field in fields(options)
    for what in VALUES
    if what not in fit.get(field.name, {"True"})
]


@pytest.mark.parametrize(("options", "name", "what"), CASES)
def test_a_value_of_another_type_is_refused_by_name(options, name, what):
    with pytest.raises(InputError, match=rf"`{name}=.*: give (a|True|some)"):
        options(**{name: VALUES[what]})


def test_values_of_numpy_are_taken():
    options = StackOptions(
        align="affine", reference=np.int64(1), smoothing=np.float32(2), crop=np.True_, white=np.uint16(4095), restore=1
    )
    assert options.reference == 1
    assert HeightOptions(z_step=np.float32(0.5), fill=np.bool_(True)).z_step == 0.5


@pytest.mark.parametrize("name", ["z_step", "pixel_size"])
@pytest.mark.parametrize("value", [1e300, -1e300, 1e39, 1e-300, 1e-46, 0, -1.0, float("inf"), float("nan")])
def test_sizes_that_float32_does_not_hold_are_refused(name, value):
    with pytest.raises(InputError, match=rf"`{name}=.*` is no size: give a number above 0, from 1e-30 to 1e\+30"):
        HeightOptions(**{name: value})
