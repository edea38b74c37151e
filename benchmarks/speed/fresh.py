"""One runner in a process of its own: cold start, first frame, and the peak of its memory.

Run as ``python -m ufafuse.benchmarks.speed.fresh JSON``; prints one JSON object.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

from ufafuse.benchmarks.speed.opening import open_runner
from ufafuse.benchmarks.speed.runners import RunnerSpec
from ufafuse.export.timing import timed
from ufafuse.runtime.errors import BackendError, UfaError
from ufafuse.runtime.machine import nvidia_smi
from ufafuse.runtime.memory.usage import peak_bytes

_TIMEOUT_S = 600


def in_fresh_process(spec: RunnerSpec, size: tuple[int, int]) -> dict[str, float]:
    """Start a process that loads the runner and fuses two pairs.

    Returns:
        ``cold_ms`` (from the start of the process to its first fused pair), its parts ``load_ms`` and ``first_ms``, and
        ``rss_mib`` (the peak of the resident memory); on a GPU also ``device_mib``.

    Raises:
        BackendError: The process failed or took too long; the text is its last line.
    """
    request = json.dumps({"spec": spec.to_json(), "size": list(size), "started": time.time()})
    command = [sys.executable, "-m", "ufafuse.benchmarks.speed.fresh", request]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{spec.kind} took longer than {_TIMEOUT_S} s to start and fuse two pairs.") from error
    if answer.returncode != 0:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        raise BackendError(f"{spec.kind} failed in a process of its own: {last}")
    values: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return values


def _measured(request: dict[str, Any]) -> dict[str, float]:
    started, size = request["started"], request["size"]
    loading = time.time()
    runner = open_runner(RunnerSpec(**request["spec"]))
    loaded = time.time()
    given = runner.inputs(size)
    first_ms = timed(lambda: runner.run(*given))
    cold_ms = (loaded - started) * 1e3 + first_ms  # the making of the test pair is left out
    runner.run(*given)
    device_mib = _device_mib()
    runner.close()
    found = {
        "cold_ms": round(cold_ms, 1),
        "load_ms": round((loaded - loading) * 1e3, 1),
        "first_ms": round(first_ms, 1),
        "rss_mib": round(peak_bytes() / 2**20, 1),
    }
    return found if device_mib is None else found | {"device_mib": device_mib}


def _device_mib() -> float | None:
    """Memory of this process on the GPUs, as ``nvidia-smi`` gives it; None where it does not know of it."""
    rows = nvidia_smi(["--query-compute-apps=pid,used_gpu_memory", "--format=csv,noheader,nounits"])
    used = [float(row[1]) for row in rows if row[0] == str(os.getpid()) and row[1].isdigit()]
    return sum(used) if used else None


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(_measured(json.loads(sys.argv[1]))) + "\n")
    except UfaError as failure:
        sys.exit(str(failure))
