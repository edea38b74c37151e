"""How much memory this process holds, and how much a network takes for each pixel: measured, never typed in.

What an engine takes depends on the engine, its version, its arithmetic, the network and the CPU. So a model is run on a few
small frames while the process is watched, and their peaks tell what a larger one will take.
"""

import contextlib
import mmap
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ufafuse.runtime.cgroup import memory_left, memory_limit
from ufafuse.runtime.errors import InputError

_STATM = Path("/proc/self/statm")
_STATUS = Path("/proc/self/status")
_MEMINFO = Path("/proc/meminfo")
_SAMPLE_SECONDS = 0.001
_FIRST_SIDE = 128  # pixels, of the first frame that is tried
_ALIKE, _KEEPS, _MOST_MEASURED = 0.75, 0.1, 6  # of the one before: a measurement that confirms it, one that says nothing
_CLEAR_GROWTH = 48 << 20  # bytes: from here on a few MiB of noise do not matter


def resident_bytes() -> int:
    """What of this process lies in memory now (RSS). Raises: InputError where the system cannot tell."""
    try:
        return int(_STATM.read_text().split()[1]) * mmap.PAGESIZE
    except (OSError, IndexError, ValueError) as error:
        raise InputError(f"`max_memory` needs {_STATM}, which this system does not have: omit it.") from error


def peak_bytes() -> int:
    """The most of this process that ever lay in memory."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        # Unlike getrusage's figure, this one does not begin with the peak of the process that started this one.
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) << 10
    import resource  # not on Windows, which has no /proc either

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


def available_bytes() -> int:
    """What this process may still take: the machine's available memory, or what its control group leaves, if that is less."""
    amounts = [1 << 62]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        line = next(line for line in _MEMINFO.read_text().splitlines() if line.startswith("MemAvailable:"))
        amounts.append(int(line.split()[1]) << 10)
    left = memory_left()
    return min(amounts) if left is None else min(left, *amounts)


def total_bytes() -> int:
    """The machine's memory, or the limit of this process's control group, if that is less."""
    amounts = [1 << 62]
    with contextlib.suppress(OSError, ValueError):
        amounts.append(os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE)
    limit = memory_limit()
    return min(amounts) if limit is None else min(limit, *amounts)


class MemoryPeak:
    """The most that this process held while it was watched, in ``bytes``."""

    def __init__(self) -> None:
        self.bytes = resident_bytes()

    def look(self) -> None:
        """Take the present amount into account."""
        self.bytes = max(self.bytes, resident_bytes())


@contextlib.contextmanager
def watched() -> Iterator[MemoryPeak]:
    """Watch this process's memory from a thread of its own.

    The kernel's own peak could be set back instead and read again, but that would spoil it for whoever measures us.
    """
    peak, stop = MemoryPeak(), threading.Event()

    def watch() -> None:
        while not stop.wait(_SAMPLE_SECONDS):
            peak.look()

    thread = threading.Thread(target=watch, name="ufafuse-memory", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
        peak.look()


@dataclass(frozen=True)
class Appetite:
    """What running a model takes.

    Args:
        once: Bytes: the loaded model, threads, and code made for one more size.
        per_pixel: Bytes for each pixel of a window.
        kept: Bytes that the trial runs left behind.
    """

    once: float
    per_pixel: float
    kept: float

    def of(self, pixels: int) -> float:
        """Bytes for one window of ``pixels``."""
        return self.once + self.per_pixel * pixels

    def pixels_within(self, amount: float) -> int:
        """The largest window for ``amount`` bytes."""
        return max(0, int((amount - self.once) / self.per_pixel))


def appetite_of(run: Callable[[int], None], *, limit: float) -> Appetite:
    """Measure what a model takes.

    Peaks are compared at sides that double: from each to the next the pixels' bytes quadruple, while what an engine keeps for
    every new size (its code) is the same, so three peaks tell the two apart. That share is measured until it is confirmed.

    Args:
        run: Runs it on a square frame of the given side, with all that is converted before and after; opens it first, if
            that has not been done.
        limit: Bytes that the process must not pass: no frame is tried that would.

    Raises:
        InputError: Already the smallest frame passes ``limit``.
    """
    before, side = resident_bytes(), _FIRST_SIDE
    run(side)  # opening and the first run have peaks of their own
    peaks = [_peak(run, side)]
    while True:
        if peaks[-1] > limit:
            taken = f"{peaks[-1] / 1e6:.0f} MB are taken before the first tile"
            raise InputError(f"a memory of {limit / 1e6:.0f} MB is too little: {taken}. Give more `max_memory`.")
        side *= 2
        peaks.append(_peak(run, side))
        growth = [after - earlier for earlier, after in pairwise(peaks)]
        clear = len(growth) > 1 and growth[-1] - growth[-2] >= _CLEAR_GROWTH
        if clear or peaks[-1] + 4 * growth[-1] > limit:
            break
    pixels, earlier_pixels = side * side, side * side // 4
    # Without a third peak nothing is said of the size's own share, and all is taken to be the pixels'.
    for_a_size = max(0.0, (4 * growth[-2] - growth[-1]) / 3) if len(growth) > 1 else 0.0
    per_pixel = _confirmed((growth[-1] - for_a_size) / (pixels - earlier_pixels), run, side)
    once = max(0.0, peaks[-1] - before - per_pixel * pixels) + for_a_size
    return Appetite(once, per_pixel, max(0.0, resident_bytes() - before))


def _confirmed(per_pixel: float, run: Callable[[int], None], side: int) -> float:
    """Bytes for each pixel, measured until it comes out alike: what other threads take or give back meanwhile does so once.

    Args:
        per_pixel: The first measurement.
        run: As `appetite_of` has it.
        side: Of the largest frame that was run. Two smaller ones are run again, whose code is there now; where they tell
            something else, this one is, too.
    """
    found, at = [per_pixel], max(side // 2, 2 * _FIRST_SIDE)
    while len(found) < _MOST_MEASURED:
        half = _peak(run, at // 2)
        found.append((_peak(run, at) - half) / (at * at * 0.75))
        least, most = sorted(found[-2:])
        if least >= _ALIKE * most:
            return max(1.0, most)
        if found[-1] < _KEEPS * per_pixel:  # an engine that keeps its memory tells but once
            break
        at = side
    return max(1.0, *found)


def _peak(run: Callable[[int], None], side: int) -> int:
    with watched() as peak:
        run(side)
    return peak.bytes
