"""The form of an exported graph: its opset, and which of its sizes are fixed. What it computes is the same in each."""

import re
from dataclasses import dataclass
from typing import Any

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.parameters import Size
from ufafuse.runtime.values import check_fields, check_size

# The newest opset that every reader knows: the parsers of TensorRT 10.3 (Jetson) and of TensorRT-RTX read up to 20.
OPSET = 20
OLDEST, LATEST = 13, 23  # explicit axes and quantisers begin with 13; torch writes up to 23
_DIGITS = re.compile(r"\d{1,4}", re.ASCII)
_LARGEST_SIDE, _MOST_PAIRS = 1 << 14, 1 << 10


@dataclass(frozen=True)
class Form:
    """How a graph is written.

    Args:
        opset: Of its operators, from `OLDEST` to `LATEST`.
        size: (height, width) where the graph takes frames of one size; None: height and width are free.
        batch: How many pairs go in at once; None: free, with a size 1.
        opencv: Only operators, and only in ways, that OpenCV's dnn module computes rightly. Wants a size.

    Raises:
        InputError: A value is out of range, or opencv without a size.
    """

    opset: int = OPSET
    size: Size | None = None
    batch: int | None = None
    opencv: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.size is not None:
            object.__setattr__(self, "size", check_size(self.size, "static"))
        problem = ""
        if not OLDEST <= self.opset <= LATEST:
            problem = f"`opset={self.opset}` cannot be written: give {OLDEST} to {LATEST}, or latest"
        elif self.size is not None and not all(1 <= side <= _LARGEST_SIDE for side in self.size):
            problem = f"`static={self.size[0]}x{self.size[1]}` is no size for a frame: give 1 to {_LARGEST_SIDE} pixels a side"
        elif self.batch is not None and not 1 <= self.batch <= _MOST_PAIRS:
            problem = f"`batch={self.batch}` is no number of pairs: give 1 to {_MOST_PAIRS}"
        elif self.opencv and self.size is None:
            problem = "`opencv`: OpenCV's dnn needs fixed sizes: add `static=520x520`, the size of your frames"
        if problem:
            raise InputError(f"{problem}.")
        if self.size is not None and self.batch is None:
            object.__setattr__(self, "batch", 1)

    @property
    def fixed(self) -> frozenset[str]:
        """The names of the dimensions that are not free."""
        names = () if self.size is None else ("height", "width")
        return frozenset(names if self.batch is None else (*names, "batch"))

    def is_fixed(self, name: str) -> bool:
        """Whether a dimension of this name (see `ufafuse.export.profiles.is_free`) is fixed."""
        return name.split("_", maxsplit=1)[0] in self.fixed

    def to_dict(self) -> dict[str, Any]:
        """For the manifest: the opset, and what is fixed."""
        found: dict[str, Any] = {"opset": self.opset}
        if self.size is not None:
            found["static"] = list(self.size)
        if self.batch is not None:
            found["batch"] = self.batch
        return found


FREE = Form()


def opset_from(text: str) -> int:
    """The opset that ``"latest"`` or a number asks for. Raises: InputError for anything else."""
    if text == "latest":
        return LATEST
    if _DIGITS.fullmatch(text) is None:
        raise InputError(f"`opset={text:.40}` is not known: give {OLDEST} to {LATEST}, or latest.")
    return int(text)
