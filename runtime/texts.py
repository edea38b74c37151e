"""Texts that hold names and words from outside: file names, a server's reasons, a camera's errors."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError

_PARTICULARS = re.compile(r"\([^)]*\)|\S*[\d/]\S*|\S+\.\w{2,4}\b")
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # Unicode's control, format, surrogate, ... categories
_OF_A_KIND = 3  # texts that are told in full
_OBEYED = {  # controls but for line ends and tabs, and what turns the direction of writing
    code: chr(code).encode("ascii", "backslashreplace").decode() if code > 127 else f"\\x{code:02x}"
    for code in (*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def one_line(text: object) -> str:
    r"""``text`` as one line that a terminal and a journal can be given.

    White space, line ends included, becomes a single space; what would not be seen but obeyed (escape sequences, bidirectional
    controls, bytes of a file name that are no UTF-8) is written out as ``\x1b``.
    """
    return written_out(" ".join(str(text).split()), keep="")


def written_out(text: str, keep: str = "\n\t") -> str:
    """``text`` with all that would be obeyed instead of seen written out, but for the characters in ``keep``."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if character in keep else _shown(character) for character in text)


def as_utf8(text: str) -> bytes:
    """A text of several lines for a file: what would be obeyed is written out, and so are bytes of names that are no UTF-8."""
    return text.translate(_OBEYED).encode("utf-8", "backslashreplace")


def suffix_words(path: Path) -> str:
    """``path`` and its suffix, or that it has none, as an error begins."""
    return f"{path} has the suffix {path.suffix!r}" if path.suffix else f"{path} has no suffix"


def examples(names: Sequence[str], most: int = 3) -> str:
    """The first of some names, and how many more there are: ``"a, b, c and 2 more"``."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def few_of_a_kind(texts: Iterable[str]) -> list[str]:
    """``texts`` in their order, without those of a kind beyond the first three, whose number the last one of them tells.

    Of a kind are texts that differ in what stands before the first colon, in names and numbers, and between brackets.
    """
    kinds: dict[str, list[str]] = {}
    for text in texts:
        kinds.setdefault(kind_of(text.partition(": ")[2] or text), []).append(text)
    found: list[str] = []
    for alike in kinds.values():
        first, more = alike[:_OF_A_KIND], len(alike) - _OF_A_KIND
        if more > 0:
            first[-1] += f" ({more} more of this kind: all are in the JSON)"
        found += first
    return found


def kind_of(text: str) -> str:
    """``text`` without names and numbers, and what stands between brackets."""
    return _PARTICULARS.sub("", text)


def json_text(values: Mapping[str, Any], *, lines: bool = False) -> str:
    """``values`` as JSON that every reader takes: a number that is not finite, which JSON has no word for, becomes null.

    Args:
        values: What to write.
        lines: A line for each entry, and for each row of a list or a mapping of rows; otherwise all is one line.
    """
    finite = _finite(values)
    return _in_lines(finite, "") if lines else json.dumps(finite, allow_nan=False)


def _in_lines(values: Any, margin: str) -> str:  # noqa: ANN401 - whatever JSON can hold
    inner = margin + "  "
    if isinstance(values, Mapping) and (not margin or any(map(_holds_more, values.values()))):
        entries = [
            f"{json.dumps(key if isinstance(key, str) else json.dumps(key))}: {_in_lines(value, inner)}"
            for key, value in values.items()
        ]
        begin, end = "{}"
    elif isinstance(values, list) and any(isinstance(value, Mapping | list) for value in values):
        entries = [json.dumps(value, allow_nan=False) for value in values]
        begin, end = "[]"
    else:
        return json.dumps(values, allow_nan=False)
    return f"{begin}\n{inner}" + f",\n{inner}".join(entries) + f"\n{margin}{end}"


def _holds_more(value: Any) -> bool:  # noqa: ANN401 - whatever JSON can hold
    """Whether a value is more than a number, a text or a list of these."""
    return isinstance(value, Mapping) or (isinstance(value, list) and any(isinstance(each, Mapping | list) for each in value))


def usable_by_c(text: str, name: str = "") -> str:
    """``text``, a path or an address, if it can be handed to a C++ library: OpenCV and FFmpeg crash on what is no UTF-8.

    Raises:
        InputError: It cannot; the text names the parameter ``name`` where one is given.
    """
    if "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text):
        return text
    shown = f"`{name}={one_line(text)}`" if name else one_line(text)
    raise InputError(f"{shown} holds bytes that are no UTF-8: rename it, or use a link to it.")


def _finite(values: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if isinstance(values, float):
        return float(values) if math.isfinite(values) else None
    if isinstance(values, Mapping):
        return {key: _finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return values


def _shown(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else f"\\x{ord(character):02x}"
    if unicodedata.category(character) not in _UNSEEN:
        return character
    return character.encode("ascii", "backslashreplace").decode()
