"""The command's memory stands still from the run's first moment on."""

import subprocess
import sys

from ufafuse.runtime.memory.malloc import frames_in_memory
from ufafuse.runtime.stream.messages import FAR, NEAR
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.sources import SimSettings, SimSource

SIZE = (480, 640)

# Threads that hand frames to others, as the pipeline's do; more and more of them wait. Prints MiB before and after.
HOLD = """
import collections, sys, threading
import numpy as np
from ufafuse.runtime.memory.malloc import frames_in_memory, keep_heap, share_heap
from ufafuse.runtime.stream.stats import resident_mib

share_heap()
keep_heap()
frames_in_memory(24, (480, 640))
before = resident_mib()

def hold():
    waiting = collections.deque()
    for number in range(120):
        waiting.append(np.ones((480, 640, 3), np.uint8))
        if len(waiting) > 3 + number // 40:
            waiting.popleft()

for _ in range(2):
    threads = [threading.Thread(target=hold) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(before, resident_mib())
"""


def test_queues_that_fill_up_later_do_not_show():
    done = subprocess.run([sys.executable, "-c", HOLD], capture_output=True, text=True, timeout=120, check=True)
    before, after = map(float, done.stdout.split())
    assert before > 24 * 480 * 640 * 3 / 2**20, "the frames' memory was there"
    assert after < before * 1.02


def test_every_frame_is_there_and_large_ones_are_left_out():
    frames = frames_in_memory(3, SIZE)
    assert [frame.shape for frame in frames] == [(480, 640, 3)] * 3
    assert frames_in_memory(3, (2160, 3840)) == []


def test_a_pipelines_queues_fit_into_what_was_foreseen():
    options = PipelineOptions(queue=4, waiting=5)
    waiting, queued, under_way = 2 * 5, 4 * 2 + 4 * 3, 2 + 3 + 3
    assert options.most_frames == waiting + queued + under_way
    assert all(SimSource(None, side, SimSettings(size=SIZE)).size == SIZE for side in (NEAR, FAR))
