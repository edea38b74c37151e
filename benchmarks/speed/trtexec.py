"""TensorRT's own ``trtexec`` beside our session on the same engine, where it is installed."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import BackendError

_TIMEOUT_S = 300
_LATENCY = re.compile(
    r"\] Latency: min = ([\d.]+) ms.*?median = ([\d.]+) ms(?:.*?percentile\(90%\) = ([\d.]+) ms)?"
    r"(?:.*?percentile\(99%\) = ([\d.]+) ms)?"
)
_COMPUTE = re.compile(r"\] GPU Compute Time: .*?median = ([\d.]+) ms")


def trtexec_command(engine: Path, size: tuple[int, int], io: str) -> list[str]:
    """The command line, flags and all; it is written into the report."""
    shape = "x".join(map(str, (1, *size, 3) if io == "uint8" else (1, 3, *size)))
    shapes = f"near:{shape},far:{shape}"
    return ["trtexec", f"--loadEngine={engine}", f"--shapes={shapes}", "--percentile=90,99", "--useSpinWait", "--iterations=50"]


def trtexec_row(engine: Path, size: tuple[int, int]) -> dict[str, Any]:
    """``p50_ms``, ``p90_ms``, ``p99_ms``, ``min_ms`` and ``compute_ms`` as trtexec reports them, and its ``flags``.

    Raises:
        BackendError: trtexec is not installed, fails, or prints what we cannot read.
    """
    if shutil.which("trtexec") is None:
        raise BackendError("trtexec is not installed: it comes with TensorRT's tar or deb packages, not with pip.")
    command = trtexec_command(engine, size, read_manifest(engine).io)
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"trtexec took longer than {_TIMEOUT_S} s.") from error
    if answer.returncode != 0:
        last = (answer.stderr.strip() or answer.stdout.strip() or "no message").splitlines()[-1]
        raise BackendError(f"trtexec failed: {last}")
    return parsed(answer.stdout) | {"flags": " ".join(command)}


def parsed(output: str) -> dict[str, float]:
    """The figures in trtexec's summary. Raises: BackendError when they are not there."""
    latency, compute = _LATENCY.search(output), _COMPUTE.search(output)
    if latency is None:
        raise BackendError("trtexec printed no latency summary.")
    least, median, p90, p99 = latency.groups()
    figures = {"p50_ms": float(median), "min_ms": float(least), "p90_ms": float(p90 or median), "p99_ms": float(p99 or median)}
    return figures | ({"compute_ms": float(compute.group(1))} if compute else {})
