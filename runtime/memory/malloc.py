"""How the process of `ufa stream` keeps its memory: one level from the first minute to the last day.

By itself glibc's malloc gives each thread a heap of its own, in which frames that another thread read leave holes, and hands
freed pages back to the kernel, which has to clear them for the next frame. Measured with a copy in the network's place,
480 x 640, above what the machine could do, a stall and a loss: 115 MiB after ten seconds and 117 after a minute, against
103 MiB that did not move. And time: making a pair's frames into the planes that the network takes went from 5.5 to 1.2 ms,
for the rest had been page faults. A training on the CPU keeps its memory with the same calls (`keep_all`).
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from ufafuse.runtime.memory.usage import available_bytes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -3, -4, -8  # <malloc.h>
_LARGEST_KEPT = 32 << 20  # bytes, glibc's own limit: the planes of a frame of 1080 x 1920; what is larger is unmapped at once
_LARGEST_FORESEEN = 8 << 20
_NEVER = 2**31 - 1


def share_heap() -> None:
    """Let all threads that begin from now on take memory from one heap. Does nothing where the C library is not glibc."""
    _set(_ARENA_MAX, 1)


def keep_heap() -> None:
    """Give back what loading and compiling left; from then on keep what blocks of up to 32 MiB were freed from."""
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)
    _set(_MMAP_THRESHOLD, _LARGEST_KEPT)
    _set(_TRIM_THRESHOLD, _NEVER)


def return_freed() -> None:
    """From now on give blocks of more than a megabyte back to the system when they are freed: under a memory budget."""
    library = ctypes.CDLL(None)
    _set(_MMAP_THRESHOLD, 1 << 20)
    _set(_ARENA_MAX, 2)
    if hasattr(library, "malloc_trim"):
        library.malloc_trim(0)


def keep_all() -> None:
    """From now on keep all that is freed, in blocks of any size: for what asks for the same gigabytes again and again."""
    _set(_MMAP_MAX, 0)
    _set(_TRIM_THRESHOLD, -1)


def frames_in_memory(frames: int, size: tuple[int, int]) -> list[NDArray[np.uint8]]:
    """As many colour frames as may wait at once, each page of them written to, so that the run's peak is there at its start.

    Frames of more than 8 MiB are left out: twenty of them would be most of what a small machine has; so are more frames than
    take a quarter of what this one has left.
    """
    height, width = size
    if height * width * 3 > _LARGEST_FORESEEN or height * width * 3 * frames > available_bytes() // 4:
        return []
    return [np.ones((height, width, 3), np.uint8) for _ in range(frames)]


def _set(parameter: int, value: int) -> None:
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(parameter, value)
