"""Texts that hold names and words from outside: file names, a server's reasons, a camera's errors."""

from __future__ import annotations

import unicodedata

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})  # Unicode's control, format, surrogate, ... categories


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


def _shown(character: str) -> str:
    if character.isascii():
        return character if character.isprintable() else f"\\x{ord(character):02x}"
    if unicodedata.category(character) not in _UNSEEN:
        return character
    return character.encode("ascii", "backslashreplace").decode()
