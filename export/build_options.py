"""What can be asked of a TensorRT builder, of whichever flavour."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ufafuse.export.profiles import Profile
from ufafuse.runtime.backends.tensorrt.vendor import FLAVORS
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.values import check_fields

HARDWARE = ("none", "ampere+", "same-cc")
_LEVELS = range(6)


@dataclass(frozen=True)
class BuildOptions:
    """One engine's build.

    Args:
        profiles: At least one; the runtime takes the first that holds a frame's size.
        flavor: One of `FLAVORS`; None: the one that is installed.
        targets: Compute capabilities to build for, such as ``("sm75", "sm86")``: TensorRT-RTX only; empty: its
            default (Ampere and newer). Classic TensorRT builds for the GPU of this machine.
        workspace_mib: Most device memory a layer may use as scratch; None: the builder chooses.
        optimization_level: 0 (fast build) to 5 (fast engine); nothing is the builder's default, 3.
        timing_cache: File to read tactic timings from and write them to; makes later builds fast. Classic only.
        version_compatible: Let newer releases load the engine, at some speed. Classic only.
        hardware: ``"none"``, ``"ampere+"`` or ``"same-cc"``: let other GPUs load the engine, at some speed. Classic only.

    Raises:
        InputError: A value is none that a builder takes.
    """

    profiles: tuple[Profile, ...]
    flavor: str | None = None
    targets: tuple[str, ...] = ()
    workspace_mib: int | None = None
    optimization_level: int | None = None
    timing_cache: Path | None = None
    version_compatible: bool = False
    hardware: str = "none"

    def __post_init__(self) -> None:
        check_fields(self)
        problem = ""
        if not self.profiles:
            problem = "no profile was given: give one size, or a smallest, best and largest one"
        elif self.flavor is not None and self.flavor not in FLAVORS:
            problem = f"`flavor={self.flavor}` is not known: choose one of {', '.join(FLAVORS)}"
        elif self.hardware not in HARDWARE:
            problem = f"`hardware={self.hardware}` is not known: choose one of {', '.join(HARDWARE)}"
        elif self.workspace_mib is not None and self.workspace_mib < 1:
            problem = f"`workspace_mib={self.workspace_mib}` is too little: give 1 or more"
        elif self.optimization_level is not None and self.optimization_level not in _LEVELS:
            problem = f"`optimization_level={self.optimization_level}` is not known: give 0 (fast build) to 5 (fast engine)"
        if problem:
            raise InputError(f"{problem}.")

    def to_dict(self) -> dict[str, Any]:
        """For the engine's manifest."""
        return {
            "profiles": [profile.to_dict() for profile in self.profiles],
            "workspace_mib": self.workspace_mib,
            "optimization_level": self.optimization_level,
            "version_compatible": self.version_compatible,
            "hardware": self.hardware,
        }
