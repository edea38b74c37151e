"""Whether a TIFF's parts packed by LZW or PackBits unpack to as many bytes as they should, without unpacking them.

Neither has a checksum. libtiff, through OpenCV, gives what it had unpacked until then and says nothing; imagecodecs refuses
some of them. But how many bytes come out depends on nearly every code, so that lost and changed bytes show in their number.

How wide an LZW code is depends only on how many came since the table was last cleared, so all of them are cut out at once.

Source: TIFF 6.0 (Adobe, 1992), sections 9 and 13.
"""

import numpy as np
from numpy.typing import NDArray

_CLEAR, _END, _FIRST, _MOST = 256, 257, 258, 4096  # codes: of LZW's orders, of the first entry of the table, of all
_WIDEST = 12  # bits
_NO_RUN = 128  # PackBits' header that means nothing


def _starts() -> NDArray[np.int64]:
    """The bit at which each code behind a cleared table begins, and where the last one ends."""
    entries = np.arange(_FIRST, _MOST + 1)  # a code is as wide as the number of entries that there may be
    widths = np.clip(np.floor(np.log2(entries)).astype(np.int64) + 1, 9, _WIDEST)
    return np.concatenate([[0], np.cumsum(widths)])


_STARTS = _starts()
_WIDTHS = np.diff(_STARTS)


def bytes_in_lzw(data: bytes) -> int | None:
    """How many bytes a part packed by LZW unpacks to before it breaks or ends; None: it is packed in another way."""
    bits = len(data) * 8
    whole = np.frombuffer(data + bytes(4), np.uint8).astype(np.uint32)
    if len(data) < 2 or (whole[0] << 1 | whole[1] >> 7) != _CLEAR:  # the old way has its bits the other way round
        return None
    at, total = 9, 0
    while at + 9 <= bits:
        starts = at + _STARTS[:-1]
        count = int(np.searchsorted(starts + _WIDTHS, bits, side="right"))
        starts, widths = starts[:count], _WIDTHS[:count]
        byte = starts >> 3
        word = whole[byte] << 24 | whole[byte + 1] << 16 | whole[byte + 2] << 8 | whole[byte + 3]
        codes = (word >> (32 - widths - (starts & 7)).astype(np.uint32) & ((1 << widths) - 1).astype(np.uint32)).astype(
            np.int64
        )
        orders = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        until = int(orders[0]) if len(orders) else count
        known = _FIRST - 1 + np.arange(until)  # the last entry that each code may name
        wrong = np.flatnonzero((codes[:until] > known) | ((codes[:until] >= _CLEAR) & (np.arange(until) == 0)))
        broken = len(wrong) > 0
        total += _unpacked(codes[: int(wrong[0]) if broken else until])
        if broken or not len(orders) or codes[until] == _END:
            break
        at = int(starts[until] + widths[until])
    return total


def _unpacked(codes: NDArray[np.int64]) -> int:
    """Bytes that codes behind a cleared table stand for.

    A code below 256 is one byte; entry e of the table is what code e stood for, and one byte more.
    """
    lengths = np.ones(len(codes), np.int64)
    link = np.where(codes < _CLEAR, -1, codes - _FIRST)
    while (going := np.flatnonzero(link >= 0)).size:  # twice as far along the chain each time
        before = link[going]
        lengths[going] += lengths[before]
        link[going] = link[before]
    return int(lengths.sum())


def bytes_in_packbits(data: bytes) -> int:
    """How many bytes a part packed by PackBits unpacks to."""
    at, total, length = 0, 0, len(data)
    while at < length:
        head = data[at]
        if head < _NO_RUN:
            total += min(head + 1, length - at - 1)
            at += head + 2
        else:
            total += 257 - head if head > _NO_RUN and at + 1 < length else 0
            at += 2 if head > _NO_RUN else 1
    return total
