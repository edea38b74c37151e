"""What this process's control groups allow it: processor time and memory, for cgroup v1, v2 and both beside each other.

A container's limits, a service's (systemd's ``CPUQuota=``, ``MemoryMax=``) and a batch system's are limits of a control group.
They stand in the process's own group or in any group above it, and the least of them holds. Where a group lies is the mount
point of its hierarchy and the process's path from that mount's root: without a namespace of its own, a container's mount shows
a branch of the host's tree, and ``/proc/self/cgroup`` has the path from the host's root.

Sources: cgroups(7), proc_pid_mountinfo(5); the kernel's ``admin-guide/cgroup-v2`` and ``admin-guide/cgroup-v1/memory``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

_PROC = Path("/proc/self")
_NO_LIMIT = 1 << 60  # v1 writes "no limit" as the largest multiple of a page; no machine has an exbibyte


class ControlGroup(NamedTuple):
    """One control group's folder, and whether it is of the second version."""

    folder: Path
    v2: bool


def cpu_quota() -> float | None:
    """The cores whose time this process may use, such as 0.5; None where nothing bounds it."""
    quotas = [quota for group in _groups("cpu") if (quota := _quota_of(group)) is not None]
    return min(quotas, default=None)


def memory_limit() -> int | None:
    """The bytes that this process's groups may hold; None where nothing bounds them."""
    limits = [limit for group in _groups("memory") if (limit := _limit_of(group)) is not None]
    return min(limits, default=None)


def memory_left() -> int | None:
    """The bytes that may still be taken before a group's limit is reached; None where there is none.

    What a group holds counts the files that its processes read, which the kernel drops when memory is asked for: those that
    were not used lately (``inactive_file``) are free for us.
    """
    amounts = []
    for group in _groups("memory"):
        limit, used = _limit_of(group), _number(group.folder / ("memory.current" if group.v2 else "memory.usage_in_bytes"))
        if limit is not None and used is not None:
            amounts.append(max(0, limit - max(0, used - _droppable(group))))
    return min(amounts, default=None)


def _quota_of(group: ControlGroup) -> float | None:
    if group.v2:
        quota, _, period = (_text(group.folder / "cpu.max") or "").partition(" ")
    else:
        quota, period = (_text(group.folder / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
    with contextlib.suppress(ValueError):  # not there, or "max"
        if int(quota) > 0 and int(period) > 0:
            return int(quota) / int(period)
    return None


def _limit_of(group: ControlGroup) -> int | None:
    names = ("memory.max", "memory.high") if group.v2 else ("memory.limit_in_bytes",)
    limits = [limit for name in names if (limit := _number(group.folder / name)) is not None and limit < _NO_LIMIT]
    return min(limits, default=None)


def _droppable(group: ControlGroup) -> int:
    key = "inactive_file" if group.v2 else "total_inactive_file"
    for line in (_text(group.folder / "memory.stat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name == key and value.isdecimal():
            return int(value)
    return 0


def _groups(controller: str) -> Iterator[ControlGroup]:
    """The process's own group for ``controller`` and those above it, as far up as they are shown."""
    paths = _own_paths()
    for line in (_text(_PROC / "mountinfo") or "").splitlines():
        mount = _mount(line)
        if mount is None or (not mount.v2 and controller not in mount.controllers):
            continue
        path = paths.get("" if mount.v2 else controller)
        if path is None:
            continue
        below = path.relative_to(mount.root) if path.is_relative_to(mount.root) else PurePosixPath()
        if ".." in below.parts:  # the process lies outside of what its namespace shows
            below = PurePosixPath()
        for part in (below, *below.parents) if below.parts else (below,):
            yield ControlGroup(mount.point / part, mount.v2)


def _own_paths() -> dict[str, PurePosixPath]:
    """The process's path in each hierarchy: by controller, and by the empty text for the second version."""
    paths = {}
    for line in (_text(_PROC / "cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for name in controllers.split(","):
            paths[name] = PurePosixPath(path)
    return paths


class _Mount(NamedTuple):
    root: PurePosixPath
    point: Path
    v2: bool
    controllers: tuple[str, ...]


def _mount(line: str) -> _Mount | None:
    """A line of mountinfo that mounts control groups; None for any other."""
    first, _, last = line.partition(" - ")
    fields, kind = first.split(" "), last.split(" ")
    if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
        return None
    return _Mount(PurePosixPath(_plain(fields[3])), Path(_plain(fields[4])), kind[0] == "cgroup2", tuple(kind[2].split(",")))


def _plain(text: str) -> str:
    r"""A path without the octal codes that mountinfo writes for blanks and such (``\040``)."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.isdecimal() else None


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError, ValueError):
        return path.read_text().strip()
    return None
