"""What is ours to parse and to write byte by byte, on anything."""

import io
import struct

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.messages import NEAR
from ufafuse.runtime.stream.sinks.matroska import MatroskaWriter
from ufafuse.runtime.stream.sources import source_from_text
from ufafuse.runtime.stream.sources.multipart import LARGEST_PART, PartReader

LINES = st.sampled_from(
    [
        b"--frame",
        b"--frame--",
        b"\r\n",
        b"\n",
        b"Content-Length: 5\r\n",
        b"content-length:3\r\n",
        b"X: y\r\n",
        b"\xff\xd8",
        b"\xff\xd9",
    ]
)
MADE = [
    b"Content-Length: -1\r\n",
    b"Content-Length: 1_0\r\n",
    b"Content-Length: +3\r\n",
    b"Content-Length: " + b"9" * 400 + b"\r\n",
]
STREAMS = st.lists(LINES | st.binary(max_size=20) | st.sampled_from(MADE), max_size=40).map(b"".join)


def parts_of(data, boundary="frame"):
    reader, parts = PartReader(io.BytesIO(data), boundary), []
    with pytest.raises(ValueError, match=r"\S"):  # each stream ends
        while True:
            parts.append(reader.next())
    return parts


@given(STREAMS, st.sampled_from(["frame", "--frame", "f", "ü", "a b"]))
@example(b"--frame\r\nContent-Length: " + "٣".encode() + b"\r\n\r\nabc", "frame")
@settings(max_examples=500, deadline=None)
def test_any_stream_ends_in_a_sentence_and_gives_no_more_than_it_holds(data, boundary):
    parts = parts_of(data, boundary)
    assert sum(map(len, parts)) <= len(data)


@given(
    st.lists(st.binary(min_size=1, max_size=60).map(lambda body: body.replace(b"\n", b"\r")), max_size=6),
    st.booleans(),
    st.sampled_from([b"", b"preamble\r\n", b"\r\n\r\n"]),
    st.sampled_from([b"Content-Type: image/jpeg\r\n", b"", b"X-Timestamp: 1.5\r\n"]),
)
@settings(max_examples=300, deadline=None)
def test_what_a_server_sends_comes_back(bodies, length, preamble, header):
    """With a length, whatever the bytes are; without, up to the line that begins like the boundary."""
    if not length:
        bodies = [body.strip(b"\r\n") for body in bodies]
    data = preamble
    for body in bodies:
        size = b"Content-Length: %d\r\n" % len(body) if length else b""
        data += b"--frame\r\n" + header + size + b"\r\n" + body + b"\r\n"
    assert parts_of(data + b"--frame--\r\n")[: len(bodies)] == bodies


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: %d" % (LARGEST_PART + 1),
        b"Content-Length: -5",
        b"Content-Length: 0x10",
        b"Content-Length: " + b"1" * 5000,
    ],
)
def test_a_length_that_is_none_ends_the_stream(head):
    assert parts_of(b"--frame\r\n" + head + b"\r\n\r\n" + b"x" * 100) == []


def blocks_of(data):
    """(milliseconds, bytes) of every picture in a file, by a reader that knows nothing of the writer.

    It goes into segments and clusters, whose size may be unknown, and over everything else.
    """
    position, moment = 0, 0
    while position < len(data):
        width = 9 - data[position].bit_length()
        identity = data[position : position + width]
        octets = 9 - data[position + width].bit_length()
        body = position + width + octets
        size = int.from_bytes(data[position + width : body], "big") & ((1 << (7 * octets)) - 1)
        if identity in (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"):
            position = body
            continue
        position = body + size
        assert position <= len(data)
        if identity == b"\xe7":
            moment = int.from_bytes(data[body:position], "big")
        elif identity == b"\xa3":
            assert data[body] == 0x81
            yield moment + struct.unpack(">h", data[body + 1 : body + 3])[0], data[body + 4 : position]


PICTURES = st.lists(st.tuples(st.integers(-5000, 200_000), st.binary(max_size=300)), min_size=1, max_size=30)


@given(PICTURES)
@settings(max_examples=300, deadline=None)
def test_every_picture_written_is_read_back_in_a_time_that_goes_on(pictures):
    file = io.BytesIO()
    writer = MatroskaWriter(file, (48, 64))
    for moment, data in pictures:
        writer.write(data, moment)
    writer.close()
    found = list(blocks_of(file.getvalue()))
    assert [data for _, data in found] == [data for _, data in pictures]
    times = [moment for moment, _ in found]
    assert times == sorted(set(times))
    highest = -1
    for (asked, _), moment in zip(pictures, times, strict=True):
        assert moment == max(asked, highest + 1)
        highest = moment


@given(PICTURES, st.data())
@settings(max_examples=200, deadline=None)
def test_a_file_cut_anywhere_keeps_its_whole_pictures(pictures, data):
    """As after kill -9: what was handed to the system before the cut can be read."""

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    file, ends = Pipe(), []
    writer = MatroskaWriter(file, (48, 64))
    head = len(file.getvalue())
    for moment, picture in pictures:
        writer.write(picture, moment)
        ends.append(len(file.getvalue()))
    cut = data.draw(st.integers(head, ends[-1]))
    whole = sum(end <= cut for end in ends)
    kept = ends[whole - 1] if whole else head
    assert [found for _, found in blocks_of(file.getvalue()[:kept])] == [picture for _, picture in pictures[:whole]]


TEXTS = st.lists(
    st.sampled_from(["sim:", "?", "&", "=", "rate", "size", "480x640", "1e999", "nan", "-1", "inf", "stall", ":", ","]),
    max_size=8,
)


@given(TEXTS.map("".join) | st.text(max_size=20).map(lambda text: f"sim:?{text}"))
@settings(max_examples=300, deadline=None)
def test_any_source_text_is_a_source_or_one_sentence(text):
    try:
        source = source_from_text(text if text.startswith("sim:") else "sim:?" + text, NEAR)
    except InputError as error:
        assert str(error)
    else:
        assert source.size is None or np.prod(source.size) < 1 << 28
