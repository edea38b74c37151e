"""Mutated files of all kinds, decoded in a process with a memory limit: no crash, no traceback, nothing slow."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).with_name("fuzz.py")


@pytest.mark.parametrize(("seed", "count"), [(1, 700), pytest.param(2, 10_000, marks=pytest.mark.slow)])
def test_mutations_are_read_or_refused(tmp_path, seed, count):
    quiet = os.environ | {"OPENCV_LOG_LEVEL": "SILENT"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(FUZZ), str(seed), str(count)],
        capture_output=True, text=True, timeout=1800, check=False, cwd=tmp_path, env=quiet,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert f"{count} mutations" in done.stdout
