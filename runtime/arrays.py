"""What arrays are called in type hints; their shapes stand where they are used."""

from dataclasses import Field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
Matrix = NDArray[np.float64]


def as_floats(picture: Array) -> Floats:
    """A picture in float32, as it is where it is that already: OpenCV does not say what it gives."""
    return np.asarray(picture, np.float32)


class Brief:
    """A dataclass that is shown without its arrays' numbers: what they are, and of the rest what is not as by default."""

    def __repr__(self) -> str:
        shown = [item.name for item in fields(self) if self._is_told(item)]  # type: ignore[arg-type]
        told = [f"{name}={in_short(getattr(self, name))}" for name in shown]
        return f"{type(self).__name__}({', '.join(told)})"

    def _is_told(self, item: "Field[Any]") -> bool:
        value = getattr(self, item.name)
        if isinstance(value, np.ndarray):
            return True
        return not (value is None or value == item.default or (isinstance(value, list | dict | str) and not value))


def in_short(value: object) -> str:
    """A value in a few words: of an array its type and its shape, of a list how many of what."""
    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {' x '.join(map(str, value.shape))}>"
    if isinstance(value, list) and len(value) > 1 and not isinstance(value[0], str):
        return f"<{len(value)} of {type(value[0]).__name__}>"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
