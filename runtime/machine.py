"""What this machine is and which backends can run on it."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ufafuse.runtime.cgroup import cpu_quota, memory_limit
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.session import MEND, installed

# What the kernel calls the instruction sets that matter to a network, for each architecture.
_X86_FLAGS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "VNNI": ("avx512_vnni", "avx_vnni"),
    "BF16": ("avx512_bf16",),
    "AMX": ("amx_tile",),
}
_ARM_FLAGS = {"NEON": ("neon", "asimd"), "DOTPROD": ("asimddp",), "BF16": ("bf16",), "I8MM": ("i8mm",)}
_CPU_FLAGS = {"x86_64": _X86_FLAGS, "amd64": _X86_FLAGS, "aarch64": _ARM_FLAGS, "arm64": _ARM_FLAGS}
_ANSWER_SECONDS = 20.0  # that a driver may take: of eight GPUs without its daemon each is woken up first
_PACKAGES = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorrt": ("tensorrt", "tensorrt-rtx"),
    "ncnn": ("ncnn",),
    "mnn": ("MNN",),
    "litert": ("ai-edge-litert",),
}


def machine() -> dict[str, Any]:
    """CPU, its instruction sets that matter to a network, memory, GPUs and versions, as one JSON-ready dictionary.

    ``cpu_quota`` (in cores) and ``memory_limit_mib`` are those of this process's control group; None where it bounds nothing.
    """
    name, features = cpu()
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "python": sys.version.split()[0],
        "cpu": name,
        "cores": os.cpu_count() or 1,
        "usable_cores": usable_cores(),
        "cpu_quota": cpu_quota(),
        "features": features,
        "memory_mib": _memory_mib(),
        "memory_limit_mib": _mib(memory_limit()),
        "gpus": gpus(),
    }


def cpu() -> tuple[str, dict[str, bool]]:
    """The CPU's name, and which of the instruction sets that matter to a network it has."""
    found = _cpuinfo()
    return found["name"], _features(platform.machine(), found["flags"])


def multiplies_bytes() -> bool:
    """Whether the CPU's int8 products make an int8 network faster than its best float one, in OpenVINO (measured: x86).

    AVX2 is enough: such a CPU has no bf16, and an instruction of its own for products of bytes. On two Zen 3 cores `ufa-edge`
    took 0.83 of the time of fp32, `ufa-nano` 0.9, and `ufa`, of which little is int8, as long.
    """
    _, features = cpu()
    return any(features.get(name, False) for name in ("AVX2", "VNNI", "AMX"))


def adds_bytes_in_16_bits() -> bool:
    """Whether the CPU has no instruction but AVX2's for products of bytes, which adds two of them in 16 bits (x86)."""
    _, features = cpu()
    return features.get("AVX2", False) and not features.get("VNNI", False) and not features.get("AMX", False)


def _features(architecture: str, found: set[str]) -> dict[str, bool]:
    """Which of the architecture's instruction sets the CPU has; those of others are left out."""
    known = _CPU_FLAGS.get(architecture.lower(), {})
    return {name: any(flag in found for flag in flags) for name, flags in known.items()}


def _cpuinfo() -> dict[str, Any]:
    """Model name and flag set from Linux's /proc/cpuinfo; empty flags where there is none."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    path = Path("/proc/cpuinfo")
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else []:
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            name = value.strip()
        elif key.strip() in ("flags", "Features"):
            flags = set(value.split())
            break
    return {"name": name, "flags": flags}


def _memory_mib() -> int:
    if not hasattr(os, "sysconf"):
        return 0
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


def _mib(count: int | None) -> int | None:
    return None if count is None else count >> 20


def gpus() -> list[dict[str, str]]:
    """NVIDIA GPUs as ``nvidia-smi`` names them: name, driver, memory, compute capability; empty where none answers."""
    names = "name,driver_version,memory.total,compute_cap"
    rows = nvidia_smi([f"--query-gpu={names}", "--format=csv,noheader"])
    return [dict(zip(names.split(","), row, strict=False)) for row in rows]


def nvidia_smi(options: Sequence[str]) -> list[list[str]]:
    """The rows that ``nvidia-smi`` answers with, cell by cell; none where it is missing, fails or hangs."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        answer = subprocess.run([tool, *options], capture_output=True, text=True, timeout=_ANSWER_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):  # a driver that hangs runs no engine either
        return []
    return [line.split(", ") for line in answer.stdout.splitlines()] if answer.returncode == 0 else []


def backends() -> dict[str, dict[str, Any]]:
    """For each backend: ``available``, and its ``version`` or the reason ``why_not`` with its mend."""
    table: dict[str, dict[str, Any]] = {}
    for name, packages in _PACKAGES.items():
        version = next((found for found in map(_version, packages) if found), None)
        if not installed(name):
            table[name] = {"available": False, "why_not": f"not installed: {MEND[name].replace('`', '')}"}
        elif name == "tensorrt" and (why_not := _no_cuda()):
            table[name] = {"available": False, "version": version, "why_not": why_not}
        else:
            table[name] = {"available": True, "version": version}
    return table


def _no_cuda() -> str:
    """Why engines cannot be run here; empty where nothing is missing."""
    if not gpus():
        return "no NVIDIA GPU or no driver was found"
    from ufafuse.runtime.backends.tensorrt.drivers import installed_bindings

    return "" if installed_bindings() else "no binding of CUDA: pip install cuda-python, or pip install 'ufafuse[pycuda]'"


def _version(package: str) -> str | None:
    from importlib import metadata  # takes 10 ms, and a pair that is fused does without

    try:
        return f"{package} {metadata.version(package)}"
    except metadata.PackageNotFoundError:
        return None
