"""The blocks of JPEG, PNG and WebP are walked through as they were made, and as far as a file that was cut off goes."""

import struct
import zlib

import pytest

from ufafuse.runtime.pictures.blocks import (
    PNG,
    chunk,
    chunks,
    frame_headers,
    riff_chunk,
    riff_chunks,
    segment,
    segments,
)

PARTS = [b"first", b"", b"of even length", b"last, of odd one"]
MARKERS = [0xE1, 0xFE, 0xC0, 0xDA]


def jpeg(between=b""):
    return b"\xff\xd8" + b"".join(between + segment(marker, part) for marker, part in zip(MARKERS, PARTS, strict=True))


def png():
    return PNG + b"".join(chunk(b"tEXt", part) for part in PARTS)


def webp():
    return b"RIFF\0\0\0\0WEBP" + b"".join(riff_chunk(b"EXIF", part) for part in PARTS)


def contents(walk, data):
    return [(name, data[start:end]) for name, start, end in walk(data)]


# What may stand between segments: bytes that fill up, and markers without content.
@pytest.mark.parametrize("between", [b"", b"\xff", b"\xff\xff\xff", b"\xff\x01", b"\xff\xd0", b"\xff\xd7", b"\xff\xff\xd3\xff"])
def test_the_segments_of_a_jpeg(between):
    data = jpeg(between)
    assert contents(segments, data) == list(zip(MARKERS, PARTS, strict=True))
    assert contents(frame_headers, data) == [(0xC0, PARTS[2])]


def test_a_jpegs_scan_is_no_list_of_segments():
    assert contents(segments, jpeg() + segment(0xE1, b"in the scan")) == contents(segments, jpeg())
    assert not contents(segments, b"\xff\xd8" + b"\0" + segment(0xE1, b"behind what is no marker"))


def test_the_chunks_of_a_png_and_a_webp():
    assert contents(chunks, png()) == [(b"tEXt", part) for part in PARTS]
    assert contents(riff_chunks, webp()) == [(b"EXIF", part) for part in PARTS]
    assert chunk(b"tEXt", b"x") == struct.pack(">I", 1) + b"tEXtx" + struct.pack(">I", zlib.crc32(b"tEXtx"))
    assert len(webp()) % 2 == 0


@pytest.mark.parametrize(("made", "walk"), [(jpeg, segments), (png, chunks), (webp, riff_chunks)])
def test_a_file_that_was_cut_off_has_the_blocks_before_and_of_the_last_what_is_there(made, walk):
    """Of a PNG's chunk nothing unless it is whole: without its checksum it may be anything."""
    data = made()
    whole = list(walk(data))
    for length in range(len(data)):
        found = list(walk(data[:length]))
        ends = [end + 4 * (walk is chunks) for _, _, end in whole]
        complete = sum(end <= length for end in ends)
        assert found[:complete] == whole[:complete]
        rest = found[complete:]
        assert len(rest) <= (walk is not chunks)
        assert all((name, start) == whole[complete][:2] and end == length >= start for name, start, end in rest)
