"""Several processes: what cannot be used in one of them says so, and does not hang."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

PROGRAM = """
import os, sys
import numpy as np
from ufafuse import Fuser
from ufafuse.runtime.errors import BackendError

frame = np.zeros((40, 50, 3), np.uint8)
early = Fuser("ufa-nano", backend="openvino")  # opened, not used yet


def in_child(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        except BackendError as error:
            print(error, flush=True)
            os._exit(3)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


assert in_child(lambda: early.fuse(frame, frame)) == 0
early.fuse(frame, frame)
for work in (
    lambda: early.fuse(frame, frame),
    lambda: early.fuse_with_map(frame, frame),
    lambda: early.prepare((60, 70)),
    lambda: Fuser("ufa-nano", backend="openvino").fuse(frame, frame),
):
    assert in_child(work) == 3
early.fuse(frame, frame)  # here all is as it was
"""


def test_a_forked_process_is_told_that_the_engine_stayed_behind():
    answer = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == 0, answer.stderr
    told = answer.stdout.splitlines()
    assert len(told) == 4
    assert set(told) == {told[0]}
    assert told[0].startswith("OpenVINO was used before this process was forked")
    assert "spawn" in told[0]
