"""What a request may ask for beside its frames: one set of names for ``POST /fuse``, REST and gRPC."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ufafuse.runtime.bayer import pattern_from
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.frames import check_order
from ufafuse.runtime.pictures.write import WriteOptions
from ufafuse.runtime.registration.guesses import MOTIONS
from ufafuse.runtime.stack import StackOptions

FORMATS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "tif": "image/tiff",
    "webp": "image/webp",
    "bmp": "image/bmp",
}
_ALSO = {"jpeg": "jpg", "tiff": "tif"}
_WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True)
class Asked:
    """The options of one request.

    Args:
        options: What is done to the frames.
        format: A key of `FORMATS`; empty: PNG, or TIFF for float frames.
        store: Quality and compression.
        timeout: Seconds that the client gives; None: the server's deadline.
        convert_profile: Pictures with another colour profile are converted to the first one's.
        strict: Damage inside a picture is an error.
    """

    options: StackOptions = field(default_factory=StackOptions)
    format: str = ""
    store: WriteOptions = field(default_factory=WriteOptions)
    timeout: float | None = None
    convert_profile: bool = False
    strict: bool = False

    def check_format(self) -> None:
        """Refuse a quality or compression that the format does not have (`UfaError`)."""
        if self.format:
            with as_file(self.format) as path:
                self.store.check_for(path)


@contextmanager
def as_file(suffix: str) -> Iterator[Path]:
    """A picture of this format as a file; what is wrong with it is told of the request's ``format`` (`OutputError`)."""
    path = Path(f"image.{suffix}")
    try:
        yield path
    except OutputError as error:
        told = str(error).replace(str(path), f"`format={suffix}`").replace("end it in .", "take .")
        raise OutputError(told) from error


def asked_from(values: Mapping[str, Any], *, timeout_unit: float = 1.0, beside: Sequence[str] = ()) -> Asked:
    """The options of a request.

    Args:
        values: By name; texts, or what JSON and gRPC have for them.
        timeout_unit: Seconds in one of ``timeout``: Triton's clients give microseconds.
        beside: Other names that a form may have, taken out of ``values`` already. An error then leaves ``order`` out, since a
            picture's file says how its colours lie.

    Raises:
        InputError: A name is not known, or a value is none of it; the text names it.
    """
    unknown = sorted(set(values) - set(_READERS))
    if unknown:
        known = [*(name for name in _READERS if not (beside and name == "order")), *beside]
        raise InputError(f"`{unknown[0]}` is not known: give any of {', '.join(known)}.")
    read = {name: _READERS[name](value, name) for name, value in values.items()}
    if "reference" in read:  # people count frames from 1
        read["reference"] -= 1
    if read.get("timeout") is not None:
        read["timeout"] *= timeout_unit

    def of(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - a dataclass, for which there is no type
        return {item.name: read[item.name] for item in fields(kind) if item.name in read}

    asked = Asked(options=StackOptions(**of(StackOptions)), store=WriteOptions(**of(WriteOptions)), **of(Asked))
    asked.check_format()
    return asked


def _flag(value: Any, name: str) -> bool:  # noqa: ANN401 - whatever a client sends
    found = value if isinstance(value, bool) else _WORDS.get(str(value).lower())
    if found is None:
        raise InputError(f"`{name}={value}` is neither true nor false.")
    return found


def _number(value: Any, name: str) -> float:  # noqa: ANN401
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not (math.isfinite(found) and found > 0):
        raise InputError(f"`{name}={value}` is not a number above 0.")
    return found


def _whole(value: Any, name: str) -> int:  # noqa: ANN401
    found = _number(value, name)
    if found != int(found):
        raise InputError(f"`{name}={value}` is not a whole number.")
    return int(found)


def _time(value: Any, name: str) -> float | None:  # noqa: ANN401
    """0 is no time of one's own, as Triton has it."""
    return None if value in (0, "0") and not isinstance(value, bool) else _number(value, name)


def _bayer(value: Any, _name: str) -> str:  # noqa: ANN401
    return pattern_from(str(value))


def _align(value: Any, name: str) -> str:  # noqa: ANN401
    if value not in ("off", *MOTIONS):
        raise InputError(f"`{name}={value}` is not known: give off, {', '.join(MOTIONS)}.")
    return str(value)


def _order(value: Any, _name: str) -> str:  # noqa: ANN401
    check_order(value)
    return str(value)


def _format(value: Any, name: str) -> str:  # noqa: ANN401
    found = str(value).lower().lstrip(".")
    found = _ALSO.get(found, found)
    if found not in FORMATS:
        raise InputError(f"`{name}={value}` is not known: give {', '.join(FORMATS)}.")
    return found


def _text(value: Any, _name: str) -> str:  # noqa: ANN401
    return str(value)


_READERS: dict[str, Callable[[Any, str], Any]] = {
    "align": _align,
    "match_gain": _flag,
    "crop": _flag,
    "white": _number,
    "order": _order,
    "method": _text,
    "smoothing": _number,
    "restore": _number,
    "reference": _whole,
    "keep_unregistered": _flag,
    "bayer": _bayer,
    "convert_profile": _flag,
    "strict": _flag,
    "format": _format,
    "quality": _whole,
    "compression": _text,
    "timeout": _time,
}
