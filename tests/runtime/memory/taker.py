"""Takes memory as engines do, and has its appetite measured in a process of its own.

In a worker of the tests, other tests' threads and pools give memory back meanwhile, and that is not what is measured.
"""

import json
import mmap
import subprocess
import sys
import time

from ufafuse.runtime.memory.usage import appetite_of, resident_bytes, watched

MB = 10**6


def taken(amount):
    """So many bytes straight from the system, each page touched: the allocator would hand out pages that it has kept."""
    return mmap.mmap(-1, amount, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)


class Taker:
    """Takes 20 MB once, some for each new size, and 400 bytes for each pixel; gives these back, or keeps them."""

    def __init__(self, keeps, for_a_size=0):
        self.keeps, self.once, self.arena, self.sides = keeps, None, None, []
        self.for_a_size, self.compiled = for_a_size, {}

    def __call__(self, side):
        self.sides.append(side)
        if self.once is None:
            self.once = taken(20 * MB)
        if self.for_a_size and side not in self.compiled:
            self.compiled[side] = taken(self.for_a_size)
        if self.arena is None or len(self.arena) < 400 * side * side:
            self.arena = None
            self.arena = taken(400 * side * side)
        time.sleep(0.01)
        if not self.keeps:
            self.arena = None


def of_an_engine(keeps, for_a_size):
    """What is measured of one, and the peak when it is then run at a size of which its code is not there yet."""
    taker, before = Taker(keeps, for_a_size), resident_bytes()
    appetite = appetite_of(taker, limit=4e9)
    kept = 20e6 + for_a_size * len(taker.compiled) + keeps * 400 * max(taker.sides) ** 2
    taker.arena = None
    with watched() as peak:
        taker(500)
    return {
        "per_pixel": appetite.per_pixel,
        "kept": appetite.kept,
        "really_kept": kept,
        "of_500": appetite.of(500**2),
        "peak_of_500": peak.bytes - before,
    }


def beside_another_thread(at, other):
    """What is measured while ``other`` bytes are taken, or given back where there are fewer than none, at run ``at``."""
    taker, meanwhile = Taker(keeps=False), [taken(-other)] if other < 0 else []

    def run(side):
        if len(taker.sides) == at:
            meanwhile[:] = [taken(other)] if other > 0 else []
        taker(side)

    return {"per_pixel": appetite_of(run, limit=4e9).per_pixel}


def within(room):
    """What is measured where only ``room`` bytes may be taken, and the largest side that was tried."""
    taker = Taker(keeps=False)
    appetite = appetite_of(taker, limit=resident_bytes() + room)
    return {"per_pixel": appetite.per_pixel, "largest": max(taker.sides)}


def alone(what, *arguments):
    """``what``, one of the functions above, called in a process of its own."""
    asked = [sys.executable, __file__, what.__name__, json.dumps(arguments)]
    return json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(globals()[sys.argv[1]](*json.loads(sys.argv[2]))))
