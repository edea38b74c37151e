"""The floor: the least time that a network could take on this machine, from its work and the measured peaks."""

from typing import Any

from ufafuse.benchmarks.speed.work import Work

FLOAT_ARITHMETIC = ("fp32", "bf16", "fp16")


def floor_entry(work: Work, peaks: dict[str, Any], precision: str) -> dict[str, Any]:
    """The floor of one network at one size in one arithmetic.

    The computation takes at least its operations over the peak of a matrix product (int8 layers over the int8 peak, the others
    over the peak of the float part); the memory at least the frames, results and weights over the speed of a copy. The larger
    of the two is the floor. An implementation with fewer multiplications per convolution (Winograd) could beat it.

    Args:
        work: From `work.count_work`.
        peaks: ``{"gemm": ..., "copy_gbs": ...}`` of the device, from `peaks.measure_peaks`.
        precision: As a session names it: ``"fp32"``, ``"bf16"``, ``"fp16"``, ``"int8"`` or ``"int8+bf16"``.

    Returns:
        ``parameters``, ``gflop``, ``int8_gop``, ``compute_ms``, ``memory_ms``, ``layers_ms`` (every layer's input and output
        through memory, for comparison), ``floor_ms`` and ``bound``; ``floor_ms`` is None with ``why_not`` where a peak was not
        measured.
    """
    parts = precision.split("+")
    float_part = next((part for part in parts if part in FLOAT_ARITHMETIC), "fp32")
    stored = "int8" if "int8" in parts else float_part
    entry: dict[str, Any] = {
        "parameters": work.parameters,
        "gflop": round(work.flop / 1e9, 3),
        "int8_gop": round(work.int8_op / 1e9, 3),
    }
    compute_ms = 0.0
    for operations, arithmetic in ((work.flop, float_part), (work.int8_op, "int8")):
        if operations == 0:
            continue
        peak = peaks["gemm"].get(arithmetic, {"why_not": "not measured"})
        if "gops" not in peak:
            return entry | {"floor_ms": None, "why_not": f"no {arithmetic} peak: {peak['why_not']}"}
        compute_ms += operations / peak["gops"] / 1e6
    memory_ms = work.least_bytes(stored) / peaks["copy_gbs"] / 1e6
    return entry | {
        "compute_ms": round(compute_ms, 4),
        "memory_ms": round(memory_ms, 4),
        "layers_ms": round(work.layer_bytes(stored) / peaks["copy_gbs"] / 1e6, 4),
        "floor_ms": round(max(compute_ms, memory_ms), 4),
        "bound": "compute" if compute_ms >= memory_ms else "memory",
    }
