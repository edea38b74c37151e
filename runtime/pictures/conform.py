"""Frames of several kinds brought to one: grey and colour, 8 and 16 bits, other sizes of the same scene, other profiles.

What is changed is a note for the user; what cannot be brought together is refused, by the file's name and what it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.levels import levels_from, peak_of
from ufafuse.runtime.pictures.lostrows import Rows, zero_rows
from ufafuse.runtime.pictures.metadata import Metadata
from ufafuse.runtime.pictures.picture import Picture
from ufafuse.runtime.pictures.source import FrameSource
from ufafuse.runtime.texts import examples

_SAME_SHAPE = 0.02  # by which width over height may differ between sizes of one scene
_WITH_CHANNELS = 3  # axes of a picture in colour
_LARGEST_STEP = 4.0  # between sizes of one scene
_SRGB = ("srgb", "iec61966-2.1", "iec 61966-2-1")
_SIGNIFICANT = (slice(0, 24), slice(36, 84), slice(100, None))  # of a profile: all but its date and its checksum


@dataclass(frozen=True)
class Common:
    """What all frames of a stack are brought to.

    Args:
        size: Height and width.
        channels: 0 (grey), 3 or 4.
        dtype: uint8, uint16 or float32.
        white: Level of white that 8-bit frames among 16-bit ones are scaled to.
        notes: What is done to which frames, for the user.
        profile: The colour profile that frames are converted to; None: they are not.
        colours: What the first frame in colour says of its colours, where some are grey.
    """

    size: tuple[int, int]
    channels: int
    dtype: np.dtype[Any]
    white: float
    notes: tuple[str, ...] = ()
    profile: bytes | None = None
    colours: Metadata | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of every frame."""
        return (*self.size, self.channels) if self.channels else self.size

    def of(self, array: Array, metadata: Metadata, name: str) -> Array:
        """A frame of this kind; the same array where nothing is to be done. Raises: InputError."""
        if self.profile is not None and not same_profile(metadata.icc, self.profile):
            array = converted(array, metadata.icc, self.profile, name)
        array = _with_channels(array, self.channels)
        if array.dtype != self.dtype:
            array = np.rint(array * np.float32(self.white / 255)).astype(self.dtype)
        if array.shape[:2] != self.size:
            shrinks = array.shape[0] > self.size[0]
            array = cv2.resize(array, self.size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
        return array


class ConformedFrame(FrameSource):
    """A frame that is brought to the kind of its stack whenever it is read, and whose damage and warnings are collected.

    Args:
        source: The frame as its file has it.
        common: What it is brought to.
        strict: Damage inside the file is an error.
        told: Takes what the user should know of the file, once.

    Attributes:
        white: Its level of white, once it was read.
        zeros: Rows of 0 at its ends, once it was read.
    """

    def __init__(self, source: FrameSource, common: Common, *, strict: bool, told: dict[str, None]) -> None:
        self.name, self.path = source.name, source.path
        self._source, self._common, self._strict, self._told = source, common, strict, told
        self.white: float | None = None
        self.zeros = Rows(0, 0, 1)

    @property
    def metadata(self) -> Metadata:
        """As `FrameSource.metadata`, with the profile that the frame has once it is brought to the common kind."""
        return self._brought(self._source.metadata)

    def _brought(self, metadata: Metadata) -> Metadata:
        (height, width), (tall, wide) = self._source.shape[:2], self._common.size
        if metadata.dpi is not None and (height, width) != (tall, wide):
            across, down = metadata.dpi
            metadata = metadata.with_dpi((across * wide / width, down * tall / height))
        if self._common.profile is not None:
            return replace(metadata, icc=self._common.profile)
        colours = self._common.colours
        if colours is not None and len(self._source.shape) < _WITH_CHANNELS:
            return replace(metadata, icc=colours.icc, colour=colours.colour)
        return metadata

    def picture(self) -> Picture:
        """Read it and bring it to the common kind. Raises: InputError, also for damage where that is an error."""
        picture = self._source.picture()
        if picture.damage and self._strict:
            raise InputError(f"{self.name} is damaged inside ({picture.damage}): record or copy it again, or omit strict.")
        self._told.update(dict.fromkeys(picture.told(self.name)))
        self.white = picture.white
        array = self._common.of(picture.array, picture.metadata, self.name)
        self.zeros = zero_rows(array)
        return replace(picture, array=array, metadata=self._brought(picture.metadata))

    def _shape_and_dtype(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        return self._common.shape, self._common.dtype


def told_of(names: Sequence[str], pictures: Sequence[Picture]) -> list[str]:
    """What the user should know of pictures that are compared as they are: damage, warnings, colours that differ.

    Args:
        names: What they are called.
        pictures: Likewise; the others are held against the first of their kind (grey, or in colour).
    """
    told, first = list[str](), dict[bool, int]()
    for at, (name, picture) in enumerate(zip(names, pictures, strict=True)):
        told += [sentence[:-1] for sentence in picture.told(name)]
        other = first.setdefault(picture.array.ndim == _WITH_CHANNELS, at)
        one, this = pictures[other].metadata, picture.metadata
        if not same_profile(one.icc, this.icc):
            told.append(f"{names[other]} has the colour profile {one.profile_name!r}, {name} has {this.profile_name!r}")
        elif one.colour_space != this.colour_space:
            had, has = (space or "sRGB" for space in (one.colour_space, this.colour_space))
            told.append(f"{names[other]} has the colour space {had}, {name} has {has}")
    return told


def common_kind(sources: Sequence[FrameSource], *, scale: bool = False, convert: bool = False) -> Common:
    """What the frames can be brought to.

    Args:
        sources: The frames; only their headers are read, where nothing has to be known of their levels.
        scale: Frames of other sizes may be scaled to the first one's (they are registered afterwards).
        convert: Frames with another colour profile are converted to the first one's.

    Raises:
        InputError: A frame cannot be read or belongs to none of these kinds; the text names it.
    """
    kinds = [(source.shape, source.dtype) for source in sources]
    notes: list[str] = []
    size = _common_size(sources, notes, scale=scale)
    dtype, white = _common_dtype(sources, notes)
    counts = Counter(shape[2] if len(shape) == 3 else 0 for shape, _ in kinds)
    channels = max(counts)
    if len(counts) > 1:
        few = [source.name for source, (shape, _) in zip(sources, kinds, strict=True) if len(shape) < 3]
        notes += [f"{examples(few)}: grey among colour, taken as colour without colour"] if few else []
        opaque = [source.name for source, (shape, _) in zip(sources, kinds, strict=True) if shape[2:] == (3,)]
        notes += [f"{examples(opaque)}: without alpha, taken as opaque"] if channels == 4 and opaque else []
    profile = _common_profile(sources, notes, convert=convert)
    colours = next((source.metadata for source in sources if len(source.shape) == _WITH_CHANNELS), None)
    return Common(size, channels, dtype, white, tuple(notes), profile, colours)


def _common_size(sources: Sequence[FrameSource], notes: list[str], *, scale: bool) -> tuple[int, int]:
    height, width = sources[0].shape[:2]
    others = [source for source in sources if source.shape[:2] != (height, width)]
    for source in others:
        found = source.shape[:2]
        size = f"{source.name} has {found[0]} x {found[1]} pixels, {sources[0].name} {height} x {width}"
        turned = found == (width, height)
        ratio = found[1] / found[0] / (width / height)
        step = max(found[0] / height, height / found[0])
        if turned or not 1 - _SAME_SHAPE < ratio < 1 + _SAME_SHAPE or step > _LARGEST_STEP:
            raise InputError(f"{size}: {'turn it' if turned else 'it is not the same view'}; give frames of one scene.")
        if not scale:
            raise InputError(f"{size}: register them, which scales too (`align=affine`), or bring them to one size.")
    if others:
        notes.append(f"{examples([source.name for source in others])}: scaled to {height} x {width}")
    return height, width


def _common_dtype(sources: Sequence[FrameSource], notes: list[str]) -> tuple[np.dtype[Any], float]:
    dtypes = {source.dtype for source in sources}
    if len(dtypes) == 1:
        return sources[0].dtype, 255.0
    floats = [source.name for source in sources if source.dtype == np.float32]
    if floats:
        others = [source.name for source in sources if source.dtype != np.float32]
        raise InputError(f"{examples(floats)}: float levels, {examples(others)}: whole ones. Save all frames alike.")
    deep = next(source for source in sources if source.dtype == np.uint16)
    picture = deep.picture()
    white = picture.white or levels_from(peak_of(picture.array), np.dtype(np.uint16)).white
    notes.append(f"{examples([s.name for s in sources if s.dtype == np.uint8])}: 8 bits among 16, scaled to white {white:g}")
    return np.dtype(np.uint16), white


def _with_channels(array: Array, channels: int) -> Array:
    have = array.shape[2] if array.ndim == 3 else 0
    if have == channels:
        return array
    if have == 0:
        array = cv2.cvtColor(array, cv2.COLOR_GRAY2BGR)
    if channels == 4:
        opaque = 1.0 if array.dtype == np.float32 else np.iinfo(str(array.dtype)).max
        array = np.dstack([array, np.full(array.shape[:2], opaque, array.dtype)])
    return np.ascontiguousarray(array)


def same_profile(one: bytes | None, other: bytes | None) -> bool:
    """Whether two profiles mean the same colours, as far as can be seen: no profile is sRGB."""
    if one is None or other is None:
        return one is other or _is_srgb(one or other)
    return [one[part] for part in _SIGNIFICANT] == [other[part] for part in _SIGNIFICANT] or (_is_srgb(one) and _is_srgb(other))


def _is_srgb(profile: bytes | None) -> bool:
    name = Metadata(icc=profile).profile_name.lower()
    return any(known in name for known in _SRGB)


def _common_profile(sources: Sequence[FrameSource], notes: list[str], *, convert: bool) -> bytes | None:
    """What frames are converted to; grey frames among those in colour have no say in it."""
    grey = [source for source in sources if len(source.shape) < _WITH_CHANNELS]
    colour = [source for source in sources if len(source.shape) == _WITH_CHANNELS]
    if colour and (named := [source for source in grey if source.metadata.icc is not None]):
        profile = named[0].metadata.profile_name
        notes.append(f"{examples([source.name for source in named])}: profile {profile!r} left out, the result is in colour")
    return _profile_of(colour or grey, notes, convert=convert)


def _profile_of(alike: Sequence[FrameSource], notes: list[str], *, convert: bool) -> bytes | None:
    """What frames that are all grey, or all in colour, are converted to; None: nothing is to be done."""
    first = alike[0].metadata
    for source in alike[1:]:
        if source.metadata.colour_space != first.colour_space:
            one, other = (space or "sRGB" for space in (first.colour_space, source.metadata.colour_space))
            raise InputError(f"{alike[0].name} has the colour space {one}, {source.name} has {other}: save them alike.")
    others = [source for source in alike[1:] if not same_profile(source.metadata.icc, first.icc)]
    if not others:
        return None
    if not convert:
        raise InputError(
            f"{alike[0].name} has the colour profile {first.profile_name!r}, {others[0].name} has "
            f"{others[0].metadata.profile_name!r}: convert them to one (`convert_profile`)."
        )
    if first.icc is None:
        raise InputError(f"{alike[0].name} has no colour profile to convert the others to: name a frame with one first.")
    notes.append(f"{examples([source.name for source in others])}: converted to the profile {first.profile_name!r}")
    return first.icc


def converted(array: Array, profile: bytes | None, wanted: bytes, name: str) -> Array:
    """A frame from one colour profile to another (relative colorimetric), by LittleCMS. Raises: InputError."""
    try:
        import imagecodecs
    except ImportError as error:
        raise InputError(f"{name} cannot be converted to another colour profile: pip install 'ufafuse[tiff]'.") from error
    try:
        spaces = {b"GRAY": "gray"}
        given = profile if profile is not None else imagecodecs.cms_profile("srgb")
        grey, made = (spaces.get(one[16:20], "rgb") for one in (given, wanted))
        if array.ndim == 2 and grey == "rgb":  # grey levels without a profile of their own
            array = cv2.cvtColor(array, cv2.COLOR_GRAY2BGR)
        colour = array if array.ndim == 2 else np.ascontiguousarray(array[..., 2::-1])
        # Relative colorimetric with black point compensation, as picture editors do it.
        done = imagecodecs.cms_transform(colour, given, wanted, colorspace=grey, outcolorspace=made, intent=1, flags=0x2000)
    except (imagecodecs.CmsError, ValueError, TypeError) as error:
        raise InputError(f"{name} cannot be converted to another colour profile ({error}): convert it by hand.") from error
    if done.ndim == 2:
        return np.ascontiguousarray(done)
    if array.ndim == 2:
        return np.ascontiguousarray(done[..., ::-1])
    result = np.array(array)
    result[..., :3] = done[..., ::-1]
    return result
