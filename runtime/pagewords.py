"""What a report says of a fusion, in words with units, for the page that people look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

_Wording = Callable[[Any], str]


def _share(value: float) -> str:
    return f"{100 * value:.3g} % of the picture"


def _factors(values: Sequence[float]) -> str:
    """One factor, or one for each channel, which are often alike."""
    told = dict.fromkeys(f"{value:.3g}" for value in values)
    return " / ".join(told)


def _crop(values: Sequence[int]) -> str:
    top, bottom, left, right = values
    return f"rows {top} to {bottom}, columns {left} to {right}"


def _each(wording: _Wording) -> _Wording:
    return lambda values: "; ".join(f"{name}: {wording(value)}" for name, value in values.items())


def _restored(values: Sequence[float]) -> str:
    share, most = values
    return f"in {_share(share)}, up to {most:.3g} times"


def _banding(value: Mapping[str, Any]) -> str:
    return f"{value['bands']:g} across the {value['across']}, up to {100 * value['depth']:.2g} % either way"


def _heights(value: Mapping[str, Any]) -> str:
    return f"{value['first']:g} to {value['last']:g} {value['unit']}, known in {_share(value['known'])}"


def _tiles(value: Mapping[str, Any]) -> str:
    return f"{value['count']} of {' x '.join(map(str, value['window']))} pixels"


# In this order; everything that is not here follows as it is.
_WORDS: dict[str, tuple[str, _Wording]] = {
    "method": ("method", str),
    "reference": ("reference", str),
    "crop": ("shown by all frames", _crop),
    "order": ("order", str),
    "order_of_focus": ("in the order of focus", ", ".join),
    "white": ("level of white", "{:g}".format),
    "white_found": ("level of white found by", str),
    "gain": ("exposure of the others times", lambda value: ", ".join(map(_factors, value))),
    "matched": ("exposure matched, times", _each(_factors)),
    "curves": ("levels matched by a curve", ", ".join),
    "banding": ("bands of light evened", _banding),
    "hot_pixels": ("hot pixels mended", str),
    "dust": ("spots of dust lightened", str),
    "restored": ("detail between planes of focus raised", _restored),
    "smoothing": ("frames averaged more readily, times", "{:.3g}".format),
    "noise": ("noise", "{:.2g} of 255 levels".format),
    "lights": ("clipped lights bloom", _share),
    "stark": ("black and white turn grey", _share),
    "disagreement": ("frames show different things", _share),
    "strayed": ("what moved is left out", _each(_share)),
    "registered_to": ("registered to", _each(str)),
    "heights": ("heights", _heights),
    "depth": ("heights written to", str),
    "depth_view": ("view of them written to", str),
    "mesh": ("mesh written to", str),
    "conflicts": ("map of conflicts written to", str),
    "tiles": ("tiles", _tiles),
}
# What the page shows elsewhere, or says twice.
_ELSEWHERE = frozenset(("more", "map", "confidence", "alignment", "left_out", "report", "seen_as_white"))


def told_in_words(details: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A report's entries as rows of a table: what each is, and what it says.

    Args:
        details: One of ``outputs`` of `ufa fuse --json`, without its pictures, size and time.
    """
    known = [(name, wording(details[key])) for key, (name, wording) in _WORDS.items() if key in details]
    return known + [(key, str(value)) for key, value in details.items() if key not in _WORDS and key not in _ELSEWHERE]
