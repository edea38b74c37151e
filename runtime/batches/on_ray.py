"""Many pairs on a Ray cluster, or on one that is started on this machine: an actor for each worker, a loaded network in each.

What crosses the wire are names; frames are read and results written where they are fused. Ray Data would do the same with an
actor pool of its own; where rows are names of files all that it adds is its start (20 s for a trivial map of 50 rows on two
busy cores). Ray comes with the extra ``ray``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ufafuse.runtime.batches.task import BatchPlan, Task, failed, fuse_task
from ufafuse.runtime.callbacks import ignored
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import BackendError, InputError, UfaError
from ufafuse.runtime.files import Outcome
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.models import FOLDER

LOCAL = "local"
_LAST_PORT = 65_535
_ANSWER_SECONDS = 5.0
_AHEAD = 2  # tasks that a worker holds: one in work, one that it begins at once
_RETRIES = 3  # of a task whose worker was killed; then it is the task's fault


@dataclass(frozen=True)
class Setup:
    """What each worker is.

    Args:
        model: As `Fuser` takes it.
        backend, precision: In use where the run was started: the same in every worker, or an error.
        arithmetic: `Fuser.precision` there.
        threads: CPU threads of each worker.
        gpus: GPUs of each.
        fuser: Further options of `Fuser`.
        plan: How tasks are fused.
    """

    model: str
    backend: str
    precision: str | None
    arithmetic: str
    threads: int
    gpus: int
    plan: BatchPlan
    fuser: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def like(cls, fuser: Fuser, plan: BatchPlan, *, threads: int, **more: Any) -> Setup:  # noqa: ANN401 - options of `Fuser`
        """Workers whose pictures are those of ``fuser``, with ``threads`` threads each."""
        found = fuser.precision
        precision = "int8" if found.startswith("int8") else found
        # A bundled network is found by its name on any machine.
        model = fuser.model.stem if fuser.model.parent == FOLDER else str(fuser.model)
        gpus = int(fuser.session.on_device or more.get("provider", "cpu") != "cpu")
        return cls(model, fuser.backend, precision, found, threads, gpus, plan, more)


class Worker:
    """Lives in a process of Ray's: one loaded network, one task at a time.

    Raises:
        InputError: The folder that names are relative to is not there.
        BackendError: This machine computes differently from the one that the run was started on.
    """

    def __init__(self, setup: Setup, folder: str) -> None:
        import cv2

        if not os.path.isdir(folder):  # noqa: PTH112 - a text that came over the wire
            text = f"{folder} is not there on {socket.gethostname()}: a cluster needs a file system that all share, or URLs"
            raise InputError(f"{text} for frames and results.")
        os.chdir(folder)
        cv2.setNumThreads(setup.threads)
        self._plan = setup.plan
        self._fuser = Fuser(setup.model, backend=setup.backend, precision=setup.precision, threads=setup.threads, **setup.fuser)
        if self._fuser.precision != setup.arithmetic:
            raise BackendError(
                f"{socket.gethostname()} computes in {self._fuser.precision}, the machine that began in {setup.arithmetic}: "
                "give a `precision` that all have, such as fp32."
            )

    def ready(self) -> int:
        """The process, once the network is loaded."""
        return os.getpid()

    def fuse(self, task: Task) -> Outcome:
        """What became of the task."""
        return fuse_task(self._fuser, task, self._plan)


@contextlib.contextmanager
def cluster(address: str) -> Iterator[Any]:
    """Ray, connected: to the cluster at ``address``, or with `LOCAL` to one on this machine that ends with the block.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray  # pyright: ignore[reportMissingImports] - of an extra that few have
    except ModuleNotFoundError as error:
        raise InputError("`ray` needs Ray, which is not installed: run pip install 'ufafuse[ray]'.") from error
    # What Ray prints of its workers, whatever it was told of logs, has no place in the output.
    with contextlib.redirect_stdout(sys.stderr):
        yield from _connected(ray, address)


def _connected(ray: Any, address: str) -> Iterator[Any]:  # noqa: ANN401 - Ray's types are its own
    _check_answers(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    try:
        if address == LOCAL:
            ray.init(num_cpus=usable_cores(), include_dashboard=False, **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"no Ray cluster can be used at `ray={address}` ({reason}): omit the address for a local one."
        ) from error
    try:
        yield ray
    finally:
        _end_scaling(ray)
        ray.shutdown()


def _end_scaling(ray: Any) -> None:  # noqa: ANN401 - Ray's types are its own
    """Kill what would add machines to a cluster of our own: `ray.shutdown` waits a second for it, which asks what has ended.

    Ray has no call for that; where its inside is another one day, that second is all that it costs.
    """
    with contextlib.suppress(Exception):
        node = ray._private.worker._global_node  # noqa: SLF001
        if node is not None:  # a cluster that was here before has none
            node.kill_monitor(check_alive=False)


def _check_answers(address: str) -> None:
    """Refuse an address at which nobody answers (`InputError`): Ray itself tries for minutes."""
    found = re.fullmatch(r"(?:ray://)?(\[[0-9a-fA-F:]+\]|[^/:]+):(\d{1,5})", address)
    if found is None:
        if address not in (LOCAL, "auto"):
            raise InputError(
                f"`ray={address}` is no address: give ray://HOST:PORT, HOST:PORT, auto, or none for a local cluster."
            )
        return
    host, port, reason = found[1].strip("[]"), int(found[2]), ""
    if port > _LAST_PORT:  # the system would take what is left of it, and may find somebody else there
        reason = f"ports end at {_LAST_PORT}"
    else:
        try:
            socket.create_connection((host, port), _ANSWER_SECONDS).close()
        except OSError as error:
            reason = error.strerror or str(error)
    if reason:
        raise InputError(f"no Ray cluster answers at `ray={address}` ({reason}): omit the address for a local one.")


def fuse_on_ray(
    tasks: Sequence[Task], setup: Setup, *, address: str = LOCAL, done: Callable[[Outcome], None] = ignored
) -> tuple[list[Outcome], int]:
    """Fuse tasks on a cluster; a worker that is killed is started again, and what it had in work is done again.

    Args:
        tasks: Whose results are not there yet, or may be replaced: what a killed worker had written is written again.
        setup: Of each worker.
        address: Of a cluster, ``"auto"`` for the one that this machine belongs to, or `LOCAL`.
        done: Called after each.

    Returns:
        What became of each, in the order of ``tasks``, and how many workers there were.

    Raises:
        InputError, BackendError: No cluster, or workers that cannot be.
    """
    if not tasks:
        return [], 0
    with cluster(address) as ray:
        cores = int(ray.cluster_resources().get("CPU", 1))
        count = max(1, min(cores // setup.threads, len(tasks)))
        if setup.gpus:
            count = max(1, min(count, int(ray.cluster_resources().get("GPU", 0))))
        needs = {"num_cpus": min(setup.threads, cores), "num_gpus": setup.gpus}
        remote = ray.remote(**needs, max_restarts=-1, max_task_retries=_RETRIES)(Worker)
        workers = [remote.remote(setup, os.getcwd()) for _ in range(count)]  # noqa: PTH109 - as a text
        _await_first(ray, workers)
        return _all_done(ray, workers, tasks, done), count


def _await_first(ray: Any, workers: list[Any]) -> None:  # noqa: ANN401 - Ray's types are its own
    """Wait until a worker has its network; what keeps it from that keeps them all. Raises: UfaError."""
    try:
        ray.get(ray.wait([worker.ready.remote() for worker in workers])[0])
    except ray.exceptions.RayError as error:
        raise _reason(error) from error


def _reason(error: BaseException) -> UfaError:
    """Our own error in what Ray made of it, or one that says what Ray says."""
    cause = getattr(error, "cause", None) or error.__cause__
    if isinstance(cause, UfaError):
        return cause
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    for line in reversed(lines):
        kind, _, text = line.partition(": ")
        if kind.rpartition(".")[2] in ("InputError", "ModelError", "BackendError", "OutputError", "CheckFailed"):
            return BackendError(text)
    return BackendError(f"Ray's workers cannot be started: {lines[-1] if lines else repr(error)}")


def _all_done(ray: Any, workers: list[Any], tasks: Sequence[Task], done: Callable[[Outcome], None]) -> list[Outcome]:  # noqa: ANN401
    outcomes: list[Outcome | None] = [None] * len(tasks)
    waiting = deque(range(len(tasks)))
    pending: dict[Any, tuple[int, Any]] = {}

    def give(worker: Any) -> None:  # noqa: ANN401
        if waiting:
            index = waiting.popleft()
            pending[worker.fuse.remote(tasks[index])] = index, worker

    for _ in range(_AHEAD):
        for worker in workers:
            give(worker)
    while pending:
        (reference,), _ = ray.wait(list(pending), num_returns=1)
        index, worker = pending.pop(reference)
        give(worker)
        outcome = _outcome(ray, reference, tasks[index])
        outcomes[index] = outcome
        done(outcome)
    return [outcome for outcome in outcomes if outcome is not None]


def _outcome(ray: Any, reference: Any, task: Task) -> Outcome:  # noqa: ANN401
    """What became of a task; one whose workers were killed again and again has failed. Raises: whatever is a defect of ours."""
    try:
        found: Outcome = ray.get(reference)
    except (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError, ray.exceptions.WorkerCrashedError):
        return failed(task, f"{task.files[0]}: its worker was killed {_RETRIES + 1} times: give it more memory (`max_memory`).")
    return found
