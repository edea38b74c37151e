"""How many cores this process may use: those it may run on, and the time that its control group grants."""

from __future__ import annotations

import math
import os
from typing import NamedTuple

from ufafuse.runtime.cgroup import cpu_quota


class Bound(NamedTuple):
    """A CPU quota that is less than the cores at hand.

    Args:
        threads: How many make use of all of it.
        quota: In cores, such as 0.5.
    """

    threads: int
    quota: float

    @property
    def why(self) -> str:
        """In a few words."""
        return f"{self.threads} thread{'s' * (self.threads > 1)} for a CPU quota of {self.quota:.3g} cores"


def allowed_cores() -> int:
    """The cores that the scheduler may put this process on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usable_cores() -> int:
    """The cores that this process can make use of: those it may run on, or fewer where a CPU quota grants less time."""
    bound = quota_bound()
    return bound.threads if bound else allowed_cores()


def quota_bound() -> Bound | None:
    """The CPU quota, where it grants less than the cores at hand; None where it bounds nothing.

    A part of a core counts as one: with one thread fewer it would never be used, and with one more the kernel would stop all
    of them together when the quota is spent, in the middle of what they wait for each other for.
    """
    quota = cpu_quota()
    if quota is None:
        return None
    threads = max(1, math.ceil(quota - 1e-6))
    return Bound(threads, quota) if quota < allowed_cores() else None
