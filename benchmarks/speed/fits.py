"""Whether a runner has the memory for frames of a size, told by what it takes of small ones."""

from pathlib import Path

from ufafuse.benchmarks.speed.opening import open_runner
from ufafuse.benchmarks.speed.runners import CLASSICAL, RunnerSpec
from ufafuse.runtime.artefact import read_manifest
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.fixed import fixed_size
from ufafuse.runtime.memory.budget import SURELY_ENOUGH
from ufafuse.runtime.memory.room import SHARE, in_gb
from ufafuse.runtime.memory.usage import appetite_of, available_bytes, resident_bytes


def check_memory(spec: RunnerSpec, size: tuple[int, int]) -> None:
    """Refuse frames for which a runner would have the system end this process, or another one.

    Raises:
        InputError: It says how much is left.
    """
    pixels, at_once = size[0] * size[1], spec.streams or 1
    if pixels * at_once * spec.batch * SURELY_ENOUGH < available_bytes() or _elsewhere(spec):
        return
    runner = open_runner(spec)  # one of its own: what is timed then knows no other size
    try:
        limit = resident_bytes() + SHARE * available_bytes()
        need = appetite_of(lambda side: runner.run(*runner.inputs((side, side))), limit=limit).of(pixels * at_once)
    except InputError:  # already the smallest frames pass the limit
        need = float("inf")
    finally:
        runner.close()
    left = SHARE * available_bytes()
    if need > left:
        raise InputError(
            f"frames of {size[0]}x{size[1]} need more than the {in_gb(left)} of memory that may be taken here: "
            "give a smaller `size`."
        )


def _elsewhere(spec: RunnerSpec) -> bool:
    """Whether its frames lie in a GPU's memory, or it takes one size only, which nobody chose here."""
    if spec.provider != "cpu" or spec.device == "cuda":
        return True
    if spec.group == CLASSICAL:
        return False
    manifest = read_manifest(Path(spec.artefact))
    return manifest.kind == "engine" or fixed_size(manifest) is not None
