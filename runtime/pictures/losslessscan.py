"""Whether the lossless JPEGs that a raw file's parts are can be whole: LibRaw makes something of any bits, and says nothing.

Each sample is a code, which says how many bits of difference follow it: as many as there are samples have to fill the scan.
Where bytes were lost or overwritten they do not. Of single bits those are found that belong to a code; others change levels
alone.

Source: ITU-T T.81 (lossless, Huffman), as DNG 1.7 has it.
"""

from __future__ import annotations

import numpy as np

from ufafuse.runtime.pictures.blocks import segments
from ufafuse.runtime.pictures.jpegscan import BAD, BLOCK, END, MOST_BLOCKS, Ints, Scan, Unknown, fault_of, huffman_in

_LOSSLESS, _TABLES, _RESTARTS, _SCAN = 0xC3, 0xC4, 0xDD, 0xDA  # markers
_MOST_BITS = 16  # of a difference: then it is 32,768, and no bit of it follows


def fault_in_lossless(data: bytes) -> str:
    """What shows that bytes were lost or changed inside a lossless JPEG; empty where nothing does, or nothing can be said.

    Args:
        data: From its first marker on; what follows its end does not count.
    """
    try:
        return fault_of(_scan(data))
    except (Unknown, LookupError, ValueError, ZeroDivisionError, OverflowError):
        return ""


def _scan(data: bytes) -> Scan:
    huffman: dict[int, tuple[bytes, bytes]] = {}
    frame, interval = b"", 0
    for marker, start, end in segments(data):
        content = data[start:end]
        if marker == _TABLES:
            huffman |= huffman_in(content)
        elif marker == _LOSSLESS:
            frame = content
        elif marker == _RESTARTS:
            interval = int.from_bytes(content[:2], "big")
        elif marker == _SCAN:
            stop = END.search(data, end)
            return _of(frame, content, huffman, interval, data[end : stop.start() if stop else len(data)])
    raise Unknown


def _of(frame: bytes, head: bytes, huffman: dict[int, tuple[bytes, bytes]], interval: int, data: bytes) -> Scan:
    """A scan in which each sample is a block of one code: in a unit there is one of each component, or as many as it has."""
    if not frame or head[0] != frame[5]:
        raise Unknown
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    sides = [(frame[7 + 3 * part] >> 4, frame[7 + 3 * part] & 15) for part in range(frame[5])]
    across, down = (max(each) for each in zip(*sides, strict=True)) if len(sides) > 1 else (1, 1)
    used: list[int] = []
    for part, (wide, high) in enumerate(sides):
        used += [head[2 + 2 * part] >> 4] * (wide * high if len(sides) > 1 else 1)
    if not 0 < len(used) <= MOST_BLOCKS or not height or not width:
        raise Unknown
    numbers = sorted(set(used))
    tables = np.concatenate([_table(*huffman[number]) for number in numbers])
    first = np.array([numbers.index(number) << 16 for number in used], np.int32)
    units = -(-height // down) * -(-width // across)
    return Scan(tables, first, first, (), np.zeros(0, np.int32), units, interval, data, "samples")


def _table(counts: bytes, symbols: bytes) -> Ints:
    """By the next 16 bits: how many bits the code and its difference take (low 8 bits), and that it is a whole block."""
    table = np.full(1 << 16, BAD << 8 | 1, np.int32)
    at, position = 0, 0
    for length, count in enumerate(counts, 1):
        for size in symbols[position : position + count]:
            if size > _MOST_BITS:
                raise Unknown
            table[at : at + (1 << 16 - length)] = (length + size % _MOST_BITS) | BLOCK << 8
            at += 1 << 16 - length
        position += count
    return table
