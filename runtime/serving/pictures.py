"""Encoded pictures of a request: looked at by their headers, decoded, brought to one kind; and the result as a file's bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ufafuse.runtime.arrays import Array
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.files import metadata_of_result
from ufafuse.runtime.frames import frame_names
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.lights import Lights
from ufafuse.runtime.pictures.conform import ConformedFrame, common_kind
from ufafuse.runtime.pictures.decode import decode_picture
from ufafuse.runtime.pictures.kinds import SNIFFED, kind_of
from ufafuse.runtime.pictures.lostrows import lost_rows
from ufafuse.runtime.pictures.sizes import size_of
from ufafuse.runtime.pictures.source import ArrayFrame, FrameSource
from ufafuse.runtime.pictures.write import check_holds, encoded
from ufafuse.runtime.pixels import check_pixels
from ufafuse.runtime.serving.asking import Asked, as_file
from ufafuse.runtime.stack import Stacked, StackOptions, made_comparable
from ufafuse.runtime.stacks.rule import by_one_rule

_BYTES_A_PIXEL = 4  # of a decoded picture, as far as its header tells everywhere
_EXPANSION = 8  # times a file's bytes, where its header tells no size


@dataclass(frozen=True)
class Upload:
    """A picture as it came: what its sender calls it, and its bytes."""

    name: str
    data: bytes


@dataclass
class Brought:
    """The frames of a request, ready to be fused.

    Args:
        frames: Alike in shape and dtype.
        sources: Where they come from; empty for tensors.
        options: As asked, with what the files say.
        told: What the client should know.
        looked_at: What was found of a pair (`look`).
        lights: What clipped levels do in a pair, where that decided about the model.
        names: What messages call the frames.
    """

    frames: list[Array]
    options: StackOptions
    sources: list[FrameSource] = field(default_factory=list)
    told: dict[str, None] = field(default_factory=dict)
    looked_at: Stacked | None = None
    lights: Lights = field(default_factory=Lights)
    names: list[str] = field(init=False)

    def __post_init__(self) -> None:
        """Keep the names: the frames are given away when they are fused. Raises: InputError for a reference that is none."""
        self.options.check_reference(len(self.frames), first=1)
        self.names = [source.name for source in self.sources] or frame_names(len(self.frames))

    def look(self, fuser: Fuser) -> None:
        """Make a pair comparable, and find what the client should know of it, before it waits for a worker.

        Raises:
            InputError, BackendError: As `made_comparable`.
        """
        if len(self.frames) == 2 and not by_one_rule(fuser, 2, self.options):
            self.frames, self.looked_at = made_comparable(fuser, self.frames, self.options)


def decoded_bytes(uploads: Sequence[Upload], most: int) -> int:
    """What the pictures will take when they are decoded, by their headers alone.

    Raises:
        InputError: One declares more than ``most`` pixels.
    """
    total = 0
    for upload in uploads:
        size = size_of(upload.data, kind_of(upload.data[:SNIFFED]))
        if size is None:
            total += _EXPANSION * len(upload.data)
        else:
            check_pixels(size, upload.name, most)
            total += _BYTES_A_PIXEL * size[0] * size[1]
    return total


def decoded(uploads: Sequence[Upload], asked: Asked, most: int) -> Brought:
    """The frames of encoded pictures.

    Args:
        uploads: Two or more, in the order of focus.
        asked: As the request has it.
        most: Pixels that one may declare.

    Raises:
        InputError: Fewer than two, or one that cannot be read or does not belong to the others; the text names it.
    """
    if len(uploads) < 2:
        raise InputError(f"too few pictures were sent ({len(uploads)}): fusing takes two or more.")
    pictures = [decode_picture(upload.data, upload.name, most=most, inside="quickly") for upload in uploads]
    sources = [ArrayFrame(picture, upload.name) for picture, upload in zip(pictures, uploads, strict=True)]
    options = replace(asked.options, order="bgr")  # as pictures are decoded
    common = common_kind(sources, scale=options.align != "off", convert=asked.convert_profile)
    told = dict.fromkeys(f"{note}." for note in common.notes)
    taken = [ConformedFrame(source, common, strict=asked.strict, told=told) for source in sources]
    frames = [frame.read() for frame in taken]
    told.update(dict.fromkeys(lost_rows([frame.name for frame in taken], [frame.zeros for frame in taken])))
    known = {frame.white for frame in taken}
    if options.white is None and len(known) == 1:
        options = replace(options, white=known.pop())  # all files say it
    return Brought(frames, options, list(taken), told)


def format_of(asked: Asked, dtype: np.dtype[Any]) -> str:
    """The format of the answer, whose levels are of ``dtype``; with a quality or compression that it lacks: OutputError."""
    found = asked.format or ("tif" if dtype == np.float32 else "png")
    with as_file(found) as path:
        asked.store.check_for(path)
    return found


def format_for(asked: Asked, frame: Array) -> str:
    """The format of the answer: as asked, or one that holds the frame. Raises: OutputError when the asked one does not."""
    found = format_of(asked, frame.dtype)
    with as_file(found) as path:
        check_holds(path, frame.shape, frame.dtype)
    return found


def picture_bytes(fuser: Fuser, brought: Brought, result: Stacked, asked: Asked) -> tuple[bytes, str]:
    """The fused picture as a file's bytes, with its metadata, and its format.

    Raises:
        OutputError: The format cannot hold it.
    """
    suffix = format_for(asked, result.fused)
    how = brought.options.method
    metadata = metadata_of_result(fuser, brought.sources, result, brought.told, method=how) if brought.sources else None
    fused = result.fused
    if brought.options.order == "rgb" and fused.ndim == 3 and fused.shape[2] >= 3:
        fused = fused[..., [2, 1, 0, *range(3, fused.shape[2])]]
    with as_file(suffix) as path:
        return bytes(encoded(path, fused, metadata, asked.store)), suffix
