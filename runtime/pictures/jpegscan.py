"""Whether a JPEG's entropy-coded data can be whole, without decoding it: lost bytes give coloured blocks and no error.

libjpeg goes on after most damage without a word: after lost bytes a Huffman decoder finds its way back by itself, some blocks
further. But on the way a block gets more than its 64 coefficients, or a code that the table does not have, and at the end there
are blocks too many or too few. So the codes are walked through here, all parts of the file side by side: each part starts on a
guess, and starts again from where the part before it ended, until nothing changes (after Weissenberger and Schmidt, "Massively
parallel Huffman decoding on GPUs", ICPP 2018). Only the length of each code is looked at.

Source: ITU-T T.81 (baseline and extended sequential Huffman; others are not looked at).
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.pictures.blocks import FRAME_MARKERS, segments

_BITS = 1016  # of a part: long enough that most guesses are right at its end, short enough that there are many
_MOST_PASSES = 24  # after which nothing is claimed
END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
MOST_BLOCKS = 10  # in a unit, by the standard: a header that says more wants a gigabyte of states
BLOCK = 64
BAD, _EOB = 254, 255  # instead of a number of coefficients: no such code, the rest of the block
_FEW = 16  # parts that are walked through one by one: for these NumPy's calls take longer
_LONGEST = 31  # bits of a code and its value; of several codes too, for only the last one's value may lie beyond 16 bits
_LEAP = 31  # coefficients that several codes in one step may stand for; from twice as far on a block's codes come one by one
_MOST_CODES = 3  # in one step: more are rarely within 16 bits, and take longer to find than they save
_WORTH_LEAPS = 3 << 14  # bytes of a scan, from which on the larger tables are made up for
_WINDOWED = 1 << 19  # bytes of a scan, up to which the bits from each one on are laid out
_FAR_BEHIND = 1 << 60  # no bit: where a part ends that has been left
_ENDED = 32  # bits of a following state, whose sums stay below; what is above them counts
_FINISHED, _WRONG = 1, 1 << 10  # blocks that a step ends, of which a part has < 1024; steps that no picture has
_MOST_ALONE = 1024  # parts that are walked through one by one before nothing is claimed

Ints = NDArray[np.int32]
Wide = NDArray[np.int64]  # what is looked up with these is not brought into another form first


@dataclass(frozen=True)
class Scan:
    """One scan: for each block of its smallest unit the tables of its first and its other coefficients; how many units.

    `leaps` are tables for several codes in one step (see `_leaps`), `leap` says for each block where its two begin; none: it is
    too small.
    """

    tables: Ints
    first: Ints
    other: Ints
    leaps: tuple[Ints, ...]
    leap: Ints
    units: int
    interval: int
    data: bytes
    blocks: str = "blocks of 8 x 8 pixels"  # in words


class Unknown(Exception):  # noqa: N818 - no error
    """A kind of JPEG that is not looked at."""


def fault_in_scan(data: bytes) -> str:
    """What shows that bytes were lost or changed inside a JPEG; empty where nothing does, or where nothing can be said."""
    try:
        return next((fault for fault in map(fault_of, _scans(data)) if fault), "")
    except (Unknown, LookupError, ValueError, ZeroDivisionError, OverflowError):
        return ""


def _scans(data: bytes) -> list[Scan]:
    huffman: dict[int, tuple[bytes, bytes]] = {}
    frame: tuple[int, int, dict[int, tuple[int, int]]] | None = None
    interval = 0
    scans: list[Scan] = []
    for marker, start, end in segments(data):
        content = data[start:end]
        if marker == 0xC4:
            huffman |= huffman_in(content)
        elif marker in (0xC0, 0xC1):
            frame = _frame(content)
        elif marker in FRAME_MARKERS:
            raise Unknown
        elif marker == 0xDD:
            interval = int.from_bytes(content[:2], "big")
        elif marker == 0xDA:
            if frame is None:
                raise Unknown
            stop = END.search(data, end)
            scans.append(_scan(content, frame, huffman, interval, data[end : stop.start() if stop else len(data)]))
            if len(scans[-1].first) and content[0] < len(frame[2]):
                raise Unknown  # components in scans of their own
    return scans


def _frame(content: bytes) -> tuple[int, int, dict[int, tuple[int, int]]]:
    height, width, count = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big"), content[5]
    parts = {content[6 + 3 * n]: (content[7 + 3 * n] >> 4, content[7 + 3 * n] & 15) for n in range(count)}
    if content[0] != 8 or not height or not parts or not all(1 <= side <= 4 for pair in parts.values() for side in pair):
        raise Unknown
    return height, width, parts


def huffman_in(content: bytes) -> dict[int, tuple[bytes, bytes]]:
    """Each table's 16 counts of codes by length, and its symbols; by class and number as in the file."""
    tables, at = {}, 0
    while at < len(content):
        counts = content[at + 1 : at + 17]
        total = sum(counts)
        tables[content[at]] = counts, content[at + 17 : at + 17 + total]
        at += 17 + total
    return tables


def _scan(
    content: bytes,
    frame: tuple[int, int, dict[int, tuple[int, int]]],
    huffman: dict[int, tuple[bytes, bytes]],
    interval: int,
    data: bytes,
) -> Scan:
    height, width, parts = frame
    across, down = (max(sides) for sides in zip(*parts.values(), strict=True))
    blocks: list[tuple[int, int]] = []
    for index in range(content[0]):
        name, selector = content[1 + 2 * index], content[2 + 2 * index]
        count = parts[name][0] * parts[name][1] if len(parts) > 1 else 1
        blocks += [(selector >> 4, selector & 15)] * count
    if len(blocks) > MOST_BLOCKS:
        raise Unknown
    if len(parts) == 1:
        across = down = 1
    units = -(-height // (8 * down)) * -(-width // (8 * across))
    numbers = sorted({(0, dc) for dc, _ in blocks} | {(1, ac) for _, ac in blocks})
    tables = np.concatenate([_table(*huffman[kind << 4 | number], first=kind == 0)[0] for kind, number in numbers])
    where = {key: index << 16 for index, key in enumerate(numbers)}
    first = np.array([where[0, dc] for dc, _ in blocks], np.int32)
    other = np.array([where[1, ac] for _, ac in blocks], np.int32)
    kinds = sorted(set(blocks)) if len(data) >= _WORTH_LEAPS else []
    leaps = [table for dc, ac in kinds for table in _leaps(*huffman[dc], *huffman[1 << 4 | ac])]
    leap = np.array([kinds.index(block) << 17 for block in blocks if kinds], np.int32)
    return Scan(tables, first, other, tuple(leaps), leap, units, interval, data)


def _table(counts: bytes, symbols: bytes, *, first: bool) -> tuple[Ints, Ints]:
    """By the next 16 bits: how many bits the code and its value take (low 8 bits), and how many coefficients it stands for.

    And how many bits the code alone takes.
    """
    table, lengths = np.full(1 << 16, BAD << 8 | 1, np.int32), np.full(1 << 16, 1, np.int32)
    at, position = 0, 0
    for length, count in enumerate(counts, 1):
        for symbol in symbols[position : position + count]:
            size, run = symbol & 15, symbol >> 4
            if first:
                steps = 1 if symbol <= 11 else BAD
            elif size == 0:
                steps = {0: _EOB, 15: 16}.get(run, BAD)
            else:
                steps = run + 1 if size <= 10 else BAD
            table[at : at + (1 << 16 - length)] = (length + size if steps != BAD else 1) | steps << 8
            lengths[at : at + (1 << 16 - length)] = length
            at += 1 << 16 - length
        position += count
    return table, lengths


@functools.lru_cache(maxsize=8)  # frames of a stack have the same tables most often
def _leaps(dc_counts: bytes, dc_symbols: bytes, ac_counts: bytes, ac_symbols: bytes) -> tuple[Ints, Ints]:
    """As `_table` of a block's first coefficient and of its others, but of as many codes in one step as 16 bits hold."""
    other, lengths = _table(ac_counts, ac_symbols, first=False)
    first = _table(dc_counts, dc_symbols, first=True)[0]
    return _joined(first, other, lengths), _joined(other, other, lengths)


def _joined(table: Ints, other: Ints, lengths: Ints) -> Ints:
    """A table's codes with those that follow them within the same 16 bits and the same block."""
    table = table.copy()
    for _ in range(_MOST_CODES - 1):
        at = np.flatnonzero((table & 255 < 16) & (table >> 8 <= _LEAP))
        bits, steps = table[at] & 255, table[at] >> 8
        rest = (at << bits) & 0xFFFF  # its last bits are not known: a code within the others is
        more = other[rest]
        ends = more >> 8 == _EOB
        fits = (lengths[rest] <= 16 - bits) & (ends | (steps + (more >> 8) <= _LEAP))
        at, bits, steps, more, ends = (values[fits] for values in (at, bits, steps, more, ends))
        table[at] = bits + (more & 255) | np.where(ends, _EOB, steps + (more >> 8)) << 8
    return table


def fault_of(scan: Scan) -> str:
    """What shows that a scan is not what it was written as; empty: nothing."""
    pieces = _RESTART.split(scan.data)
    whole = [piece.rstrip(b"\xff").replace(b"\xff\x00", b"\xff") for piece in pieces]
    expected = scan.units if not scan.interval else scan.interval
    if scan.interval and len(whole) != -(-scan.units // scan.interval):
        return f"{len(whole)} restart intervals where {-(-scan.units // scan.interval)} belong"
    counts = [expected] * len(whole) if scan.interval else [scan.units]
    if scan.interval:
        counts[-1] = scan.units - scan.interval * (len(whole) - 1)
    if len(counts) != len(whole):
        return "restart markers that do not belong there"
    starts = np.cumsum([0, *(8 * (len(piece) + 4) for piece in whole)])
    words = _words(b"".join(piece + b"\xff\xff\xff\xff" for piece in whole) + b"\xff\xff\xff\xff")
    ends = [int(start) + 8 * len(piece) for start, piece in zip(starts, whole, strict=False)]
    walk = _Walk(scan, words, [int(start) for start in starts[:-1]], ends)
    return walk.fault([count * len(scan.first) for count in counts])


def _words(data: bytes) -> Ints:
    """The three bytes from each byte on, as one number."""
    values = np.frombuffer(data, np.uint8).astype(np.int32)
    return (values[:-2] << 16) | (values[1:-1] << 8) | values[2:]


def _windows(words: Ints) -> NDArray[np.uint16]:
    """The 16 bits from each bit on."""
    windows = np.empty((len(words), 8), np.uint16)
    for bit in range(8):
        np.right_shift(words, 8 - bit, out=windows[:, bit], casting="unsafe")
    return windows.reshape(-1)


def _following(blocks: int) -> NDArray[np.int64]:
    """By state (block within the unit, coefficients so far) and a table's steps: the state that follows, and what it ends.

    States are multiplied by 256, as they come here again.
    """
    state = np.arange(blocks * BLOCK)[:, np.newaxis]
    steps = np.arange(256)[np.newaxis]
    have = state % BLOCK + steps
    wrong = ((have > BLOCK) & (steps != _EOB)) | (steps == BAD)
    full = (have >= BLOCK) & (steps != BAD)
    begun = (state // BLOCK + 1) % blocks * BLOCK
    following = np.where(full, begun, np.where(steps == BAD, state, state + steps)) << 8
    return (following | (full * _FINISHED + wrong * _WRONG) << _ENDED).reshape(-1)


class _Walk:
    """All parts of a scan, walked through side by side. Where a part starts and ends is a bit and a state, see `_following`.

    A step costs about as much for one part as for hundreds, so it is as few calls of NumPy as can be, in arrays that are there.
    """

    def __init__(self, scan: Scan, words: Ints, starts: list[int], ends: list[int]) -> None:
        blocks, self._blocks = len(scan.first), scan.blocks
        self._words, self._tables, self._following = words, scan.tables, _following(blocks)
        self._windows = _windows(words) if len(words) <= _WINDOWED else None
        table_of = np.repeat(scan.other, BLOCK)
        table_of[::BLOCK] = scan.first
        self._leaps, leap_of = self._tables, table_of
        if scan.leaps:
            self._leaps, leap_of = np.concatenate([*scan.leaps, scan.tables]), table_of + (len(scan.leaps) << 16)
            by_state = leap_of.reshape(blocks, BLOCK)
            by_state[:, 0] = scan.leap
            by_state[:, 1 : _LEAP + 1] = (scan.leap + (1 << 16))[:, np.newaxis]
        # By what states are here, 256 times as many as there are.
        self._table_of, self._leap_of = (np.repeat(each.astype(np.intp), 256) for each in (table_of, leap_of))
        edges = [np.arange(start, max(end, start + 1), _BITS) for start, end in zip(starts, ends, strict=True)]
        self._stops = np.concatenate([np.append(part[1:], end) for part, end in zip(edges, ends, strict=True)]).astype(np.int64)
        self._lasts = np.cumsum([len(part) for part in edges]) - 1  # the last part of each restart interval
        self._firsts = np.append(0, self._lasts[:-1] + 1)
        self._before = np.zeros((2, len(self._stops)), np.int64)
        self._before[0] = np.concatenate(edges)
        self._after = np.zeros_like(self._before)
        self._ended = np.zeros(len(self._stops), np.int64)  # blocks, and what is wrong

    def fault(self, expected: list[int]) -> str:
        """As `fault_in_scan`; ``expected``: how many blocks each restart interval has."""
        todo = np.arange(len(self._stops))
        for _ in range(_MOST_PASSES):
            if len(todo) <= _FEW:
                break
            self._side_by_side(todo)
            coming = np.array(self._before)
            coming[:, 1:] = self._after[:, :-1]
            coming[:, self._firsts] = self._before[:, self._firsts]
            todo = np.flatnonzero((coming != self._before).any(axis=0))
            self._before = coming
        if not self._one_by_one(todo):
            return ""
        for number, (first, last) in enumerate(zip(self._firsts, self._lasts, strict=True)):
            if (self._ended[first:last] >= _WRONG).any():
                return "codes that no picture has"
            text = self._end(last, expected[number] - int(self._ended[first:last].sum()))
            if text:
                return text
        return ""

    def _side_by_side(self, todo: NDArray[np.intp]) -> None:
        at, state = (np.array(row) for row in self._before[:, todo])
        stops, total = self._stops[todo], np.zeros(len(todo), np.int64)
        surely = int((stops - at).min()) // _LONGEST
        while len(todo):
            here = [np.empty(len(todo), kind) for kind in (np.intp, np.int32, np.int32, np.int64, np.int64)]
            left = 0
            while 4 * left < len(todo):  # from then on it is worth it to walk on with the others alone
                self._step(at, state, total, here)
                surely -= 1
                if surely > 0:
                    continue
                ends = np.flatnonzero(at >= stops)
                if len(ends):
                    self._after[:, todo[ends]] = at[ends], state[ends]
                    self._ended[todo[ends]] = total[ends] >> _ENDED
                    stops[ends] = _FAR_BEHIND  # it walks on, through what is no longer its part, until it is let go
                    left += len(ends)
            going = stops != _FAR_BEHIND
            todo, at, state, stops, total = (values[going] for values in (todo, at, state, stops, total))

    def _step(self, at: Wide, state: Wide, total: Wide, here: list[NDArray[Any]]) -> None:
        """One step of each part, in place; ``here`` is for what comes between."""
        table, entry, bits, index, following = here
        self._leap_of.take(state, out=table, mode="clip")
        table += self._window(at)
        self._leaps.take(table, out=entry, mode="clip")
        np.bitwise_and(entry, 255, out=bits)
        np.add(at, bits, out=at)
        np.right_shift(entry, 8, out=entry)
        np.add(state, entry, out=index)
        self._following.take(index, out=following, mode="clip")
        np.add(total, following, out=total)
        np.bitwise_and(following, (1 << _ENDED) - 1, out=state)

    def _window(self, at: Wide) -> NDArray[Any]:
        """The 16 bits from each of these on; of the last ones where there are none."""
        if self._windows is not None:
            return self._windows.take(at, mode="clip")
        words = self._words.take(at >> 3, mode="clip")
        words >>= (8 - (at & 7)).astype(np.int32)
        words &= 0xFFFF
        return words

    def _one_by_one(self, todo: NDArray[np.intp]) -> bool:
        """Walk these parts, and those behind them whose start changes by it; whether an end of that was reached."""
        firsts, walked = set(self._firsts.tolist()), 0
        for begin in todo.tolist():
            part = begin
            while walked < _MOST_ALONE:
                walked += 1
                at, state = self._before[:, part].tolist()
                at, state, ended = self._walked(at, state, int(self._stops[part]), self._leaps, self._leap_of)
                self._after[:, part], self._ended[part] = (at, state), ended
                part += 1
                if part == len(self._stops) or part in firsts or self._before[:, part].tolist() == [at, state]:
                    break
                self._before[:, part] = at, state
        return walked < _MOST_ALONE

    def _walked(
        self, at: int, state: int, stop: int, tables: Ints, table_of: Wide, blocks: int = 1 << 30
    ) -> tuple[int, int, int]:
        """From a bit and a state to ``stop``, or to the end of as many blocks: bit, state, what ended."""
        ended = 0
        while at < stop and ended < blocks:
            window = (int(self._words[at >> 3]) >> (8 - (at & 7))) & 0xFFFF
            entry = int(tables[window + int(table_of[state])])
            at += entry & 255
            following = int(self._following[state + (entry >> 8)])
            ended += following >> _ENDED
            state = following & ((1 << _ENDED) - 1)
        return at, state, ended

    def _end(self, last: int, missing: int) -> str:
        """What is wrong with the end of a restart interval whose last part has to hold ``missing`` blocks."""
        if missing < 0:
            return f"{-missing} {self._blocks} too many"
        stop = int(self._stops[last])
        bit, state = self._before[:, last].tolist()
        at, _, ended = self._walked(bit, state, stop, self._tables, self._table_of, missing)
        if ended >= _WRONG and stop - at > 8:
            return "codes that no picture has"
        found = ended % _WRONG
        if found < missing or at > stop:
            return f"{max(1, missing - found)} {self._blocks} are missing"
        return "" if self._filled(at, stop) else f"data behind the last of its {self._blocks}"

    def _filled(self, at: int, stop: int) -> bool:
        """Whether the bits are all alike, as encoders fill up."""
        bits = [int(self._words[bit >> 3]) >> (23 - (bit & 7)) & 1 for bit in range(at, min(stop, at + 4096))]
        return len(set(bits)) < 2
