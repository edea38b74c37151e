"""The largest whole numbers that options take: beyond these no library below counts, and no machine has so much of anything."""

MOST = 10**9  # of what is only counted: pairs, steps, requests
MOST_SEED = 2**32 - 1
MOST_THREADS = 1024  # threads and processes: each of them is begun
MOST_FRAMES = 10_000  # of one stack
MOST_CROPS = 100_000  # that are held at once
MOST_SIDE = 16_384  # of a crop, in pixels
MOST_HOURS = 10**6  # and epochs: a run of a hundred years
