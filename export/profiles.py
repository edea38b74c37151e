"""The frame sizes a TensorRT engine is built for, checked before any builder sees them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ufafuse.network.spec import Spec
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.fixed import fixed_batch, fixed_size
from ufafuse.runtime.parameters import Size, size_from

FREE_DIMS = ("batch", "height", "width")
_REDUCED = re.compile(r"(height|width)_([1-9]\d*)_([1-9]\d*)")  # rounded up to a multiple of the first, over the second
_DIGITS = re.compile(r"\s*\d{1,9}\s*", re.ASCII)
_LARGEST_TENSOR = 2**31 - 1  # elements; TensorRT counts a tensor's volume in 31 bits


def reduced(side: str, spec: Spec, scale: int) -> str:
    """The name of a feature map's free dimension: of ``"height"`` or ``"width"``, padded to the stride, over the scale's."""
    return f"{side}_{spec.stride}_{spec.fold * 2**scale}"


def is_free(name: str) -> bool:
    """Whether a dimension of this name follows from batch, height and width."""
    return name in FREE_DIMS or _REDUCED.fullmatch(name) is not None


def dim_size(name: str, batch: int, height: int, width: int) -> int:
    """The size of a free dimension."""
    sizes = {"batch": batch, "height": height, "width": width}
    if match := _REDUCED.fullmatch(name):
        side, stride, step = match.groups()
        return -(-sizes[side] // int(stride)) * int(stride) // int(step)
    return sizes[name]


@dataclass(frozen=True)
class Profile:
    """One optimisation profile: the engine serves every size from ``smallest`` to ``largest``, fastest at ``best``.

    Sizes are (height, width) in pixels; batches are numbers of pairs. Narrow profiles make faster engines: a camera's
    one size wants a profile of its own (`Profile.static`).

    Raises:
        InputError: smallest <= best <= largest does not hold, or a size is below 1 or beyond what an engine can index.
    """

    smallest: Size
    best: Size
    largest: Size
    batches: tuple[int, int, int] = (1, 1, 1)

    def __post_init__(self) -> None:
        rows = (
            ("batch", *self.batches),
            ("height", self.smallest[0], self.best[0], self.largest[0]),
            ("width", self.smallest[1], self.best[1], self.largest[1]),
        )
        for name, low, middle, high in rows:
            if not 1 <= low <= middle <= high:
                raise InputError(
                    f"the profile {self} is impossible: its {name} is min {low}, opt {middle}, max {high}. "
                    "Give 1 <= min <= opt <= max."
                )

    @classmethod
    def static(cls, size: Size, batch: int = 1) -> "Profile":
        """A profile of exactly one size."""
        return cls(size, size, size, (batch, batch, batch))

    def __str__(self) -> str:
        sizes = ", ".join(f"{height}x{width}" for height, width in (self.smallest, self.best, self.largest))
        return f"[{sizes}; batch {', '.join(map(str, self.batches))}]"

    def shapes(self, name: str, dims: Sequence[int | str]) -> tuple[tuple[int, ...], ...]:
        """The (min, opt, max) shapes of one graph input.

        Args:
            name: The input's name, for the error.
            dims: Its dimensions: numbers, or names that `is_free` knows.

        Raises:
            InputError: The largest shape holds more elements than an engine can index.
        """
        choices = [(batch, *size) for batch, size in zip(self.batches, (self.smallest, self.best, self.largest), strict=True)]
        shapes = tuple(tuple(d if isinstance(d, int) else dim_size(d, *choice) for d in dims) for choice in choices)
        volume = 1
        for dim in shapes[2]:
            volume *= dim
        if volume > _LARGEST_TENSOR:
            raise InputError(
                f"the profile {self} makes the input {name} {volume} elements large; an engine indexes at most "
                f"{_LARGEST_TENSOR}: lower the largest size or `batch`, and let the runtime tile larger frames."
            )
        return shapes

    def to_dict(self) -> dict[str, list[int]]:
        """For the engine's manifest: sizes as [H, W], batches as [min, opt, max]."""
        return {
            "min": list(self.smallest),
            "opt": list(self.best),
            "max": list(self.largest),
            "batch": list(self.batches),
        }


def profiles_from_options(
    minima: Sequence[str], optima: Sequence[str], maxima: Sequence[str], statics: Sequence[str], batches: str
) -> tuple[Profile, ...]:
    """The profiles that ``--min``, ``--opt``, ``--max``, ``--static`` (each repeatable) and ``--batch`` ask for.

    Args:
        minima: Texts of ``--min``, one a profile; likewise ``optima`` and ``maxima``.
        statics: Texts of ``--static``, one more profile each.
        batches: ``"N"`` or ``"MIN,OPT,MAX"``, for all of them.

    Raises:
        InputError: No profile, differing numbers of the three options, or an impossible profile.
    """
    if not len(minima) == len(optima) == len(maxima):
        raise InputError(
            f"{len(minima)} `minima`, {len(optima)} `optima` and {len(maxima)} `maxima` were given: a profile has one of each."
        )
    if not minima and not statics:
        raise InputError(
            "no size was given: add `statics=520x520` for a camera of one size, or `minima=256x256`, `optima=1080x1920` and "
            "`maxima=2160x3840`."
        )
    batch = _parse_batches(batches)
    free = [
        Profile(size_from(low, "minima"), size_from(mid, "optima"), size_from(high, "maxima"), batch)
        for low, mid, high in zip(minima, optima, maxima, strict=True)
    ]
    fixed = [Profile(size, size, size, batch) for size in (size_from(text, "statics") for text in statics)]
    return (*free, *fixed)


def profiles_of(onnx: Path) -> tuple[Profile, ...]:
    """The profile of a file whose sizes are fixed; none where they are free. Raises: as `read_manifest`."""
    manifest = read_manifest(onnx)
    size = fixed_size(manifest)
    return () if size is None else (Profile.static(size, fixed_batch(manifest) or 1),)


def _parse_batches(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) not in (1, 3) or not all(map(_DIGITS.fullmatch, parts)):
        raise InputError(f"`batch={text:.40}` is not a number of pairs: give one number, or MIN,OPT,MAX such as 1,1,4.")
    numbers = [int(part) for part in parts] * (3 if len(parts) == 1 else 1)
    return numbers[0], numbers[1], numbers[2]


def input_shapes(profile: Profile, inputs: Mapping[str, Sequence[int | str]]) -> dict[str, tuple[tuple[int, ...], ...]]:
    """(min, opt, max) shapes of every graph input. Raises: InputError, as `Profile.shapes`."""
    return {name: profile.shapes(name, dims) for name, dims in inputs.items()}
