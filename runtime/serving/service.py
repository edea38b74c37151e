"""What every protocol of the server does with a request, once it is read: let it in, decode, fuse, encode, in time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.details import details_of
from ufafuse.runtime.errors import InputError, OutputError, UfaError, is_shortage, lacks_threads
from ufafuse.runtime.files import lights_in
from ufafuse.runtime.maker import PYRAMID, maker
from ufafuse.runtime.pictures.source import of_arrays
from ufafuse.runtime.serving.admission import Admission, Refusal, Ticket
from ufafuse.runtime.serving.asking import Asked
from ufafuse.runtime.serving.metrics import Metrics, Statistics
from ufafuse.runtime.serving.models import VERSION, Loaded, Models
from ufafuse.runtime.serving.options import ServeOptions
from ufafuse.runtime.serving.pictures import Brought, Upload, decoded, decoded_bytes, format_of, picture_bytes
from ufafuse.runtime.serving.workers import Job, TooLate, Workers
from ufafuse.runtime.stack import Stacked
from ufafuse.runtime.stream.web.address import NO_MORE

_Result = TypeVar("_Result")


class ClientGone(Exception):  # noqa: N818 - what happened
    """Whoever asked has hung up."""


@dataclass
class Made:
    """A fusion and what was decided about it.

    Args:
        loaded: The model.
        brought: The frames.
        stacked: The result.
        job: How long it waited and took.
    """

    loaded: Loaded
    brought: Brought
    stacked: Stacked
    job: Job

    def report(self) -> dict[str, Any]:
        """The entries that `ufa fuse --json` has for a result, with the model, the engine and the arithmetic."""
        brought, fuser = self.brought, self.loaded.fuser
        sources = brought.sources or of_arrays([self.stacked.fused] * len(brought.names), brought.names)
        made = maker(fuser, brought.options.method)
        told = {
            "model": PYRAMID if made.model == PYRAMID else self.loaded.name,
            "backend": made.backend,
            "precision": made.precision,
            "size": list(self.stacked.fused.shape[:2]),
            "ms": round(self.job.seconds * 1e3, 3),
            "waited_ms": round(self.job.waited * 1e3, 3),
            "together": self.job.together,
            **details_of(sources, self.stacked, brought.options),
            **{key: round(share, 4) for key, share in brought.lights.told().items()},
        }
        if brought.looked_at is None and len(sources) == 2:
            del told["disagreement"]  # nobody looked
        warnings = [*brought.told, *self.stacked.warnings]
        return told | ({"warnings": warnings} if warnings else {})


class Service:
    """Answers requests with the models that are loaded.

    Args:
        models: That are offered; the caller closes them after `close`.
        options: See `ServeOptions`.
    """

    def __init__(self, models: Models, options: ServeOptions) -> None:
        self.models, self.options = models, options
        self.metrics = Metrics()
        self.statistics = {loaded.name: Statistics() for loaded in models}
        self.admission = Admission(most=options.queue + options.workers, room=options.room, workers=options.workers)
        self.draining = False
        self._workers = Workers(options.workers)
        self._pool = _started(usable_cores())
        self.metrics.watch("ufafuse_requests_under_way", "Requests waiting and in work.", lambda: self.admission.active)
        self.metrics.watch("ufafuse_request_bytes", "What they hold.", lambda: self.admission.bytes)
        self.metrics.watch("ufafuse_workers_busy", "Fusions at this moment.", lambda: self._workers.busy)
        self.metrics.watch_memory()

    @property
    def ready(self) -> bool:
        """Whether new requests should be sent here."""
        return not self.draining

    def close(self) -> None:
        """End the threads; what waits is cancelled."""
        self._workers.close()
        self._pool.shutdown(cancel_futures=True)

    def until(self, begun: float, asked: Asked | None = None) -> float:
        """The moment (`time.monotonic`) until which a request that began then has time."""
        seconds = self.options.deadline
        if asked is not None and asked.timeout is not None:
            seconds = min(seconds, asked.timeout)
        return begun + seconds

    @contextmanager
    def counted(self, protocol: str, begun: float) -> Iterator[dict[str, Any]]:
        """Count a request; the block puts ``model`` and ``code`` into what it is given."""
        entry: dict[str, Any] = {"model": "", "code": 200}
        try:
            yield entry
        except Refusal as error:
            entry["code"] = error.status
            raise
        except (asyncio.CancelledError, ClientGone):
            entry["code"] = 499
            self.metrics.gone.inc()
            raise
        except Exception as error:
            lacking, again = _lacking(error), self.admission.retry_after
            known = status_of(error) if isinstance(error, UfaError) else 500
            entry["code"] = 503 if lacking else known
            if not lacking:
                raise
            text = f"the server has not enough {lacking} at present: come again in {again} s, or send smaller frames."
            raise Refusal(text, 503, retry_after=again) from error
        finally:
            labels = (protocol, entry["model"], str(entry["code"]))
            self.metrics.requests.labels(*labels).inc()
            self.metrics.latency.labels(*labels[:2]).observe(time.monotonic() - begun)
            if entry["code"] != 200 and entry["model"] in self.statistics:
                self.statistics[entry["model"]].failed += 1

    async def in_pool(self, function: Callable[[], _Result]) -> _Result:
        """Run what takes a while beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, function)

    async def brought(
        self, loaded: Loaded, uploads: list[Upload], asked: Asked, ticket: Ticket, *, want_map: bool = False
    ) -> Brought:
        """The frames of encoded pictures, a pair of them made comparable. Raises: InputError, Refusal."""
        return (await self.brought_for(loaded, uploads, asked, ticket, want_map=want_map))[1]

    async def brought_for(
        self, named: Loaded | None, uploads: list[Upload], asked: Asked, ticket: Ticket, *, want_map: bool = False
    ) -> tuple[Loaded, Brought]:
        """The model that is ``named``, or else the one that `ufa fuse` takes for such pictures, and their frames for it.

        Raises:
            InputError, Refusal: As `brought`.
        """
        most = self.options.most_pixels
        ticket.hold(decoded_bytes(uploads, most))
        asked = replace(asked, options=replace(asked.options, want_map=want_map))

        def bring() -> tuple[Loaded, Brought]:
            brought = decoded(uploads, asked, most)
            format_of(asked, np.dtype(np.uint8) if want_map else brought.frames[0].dtype)  # before anything is fused
            loaded = named or self.models.for_frames(len(uploads))
            if named is None and not loaded.fuser.gathers and asked.options.method != PYRAMID:
                lights = lights_in(of_arrays(brought.frames, brought.names), brought.options)
                better = self.models.for_lights() if lights.why else None
                if better is not None:
                    loaded, brought.lights = better, lights
            brought.look(loaded.fuser)
            return loaded, brought

        return await self.in_pool(bring)

    async def fused(self, loaded: Loaded, brought: Brought, until: float, *, want_map: bool = False) -> Made:
        """Fuse frames when it is their turn.

        Args:
            loaded: The model.
            brought: The frames.
            until: The deadline, by `time.monotonic`.
            want_map: Give the map too.

        Raises:
            Refusal: The deadline passed (504).
            UfaError: As `fuse_stack`.
        """
        options = replace(brought.options, want_map=want_map)
        job = Job(loaded, brought.frames, brought.names, options, until, brought.looked_at)
        brought.frames = []  # the worker's alone: they are let go as soon as they are fused
        waiting = asyncio.wrap_future(job.result)
        self._workers.submit(job)
        try:
            stacked = await asyncio.wait_for(waiting, max(0.0, until - time.monotonic()))
        except (TooLate, asyncio.TimeoutError) as error:
            raise self.late() from error
        finally:
            self._workers.forget(job)  # nothing to forget where it was fused
        self.admission.took(job.seconds / job.together)
        self.metrics.waited.labels(loaded.name).observe(job.waited)
        self.metrics.fused.labels(loaded.name).observe(job.seconds)
        self.metrics.together.labels(loaded.name).observe(job.together)
        self.statistics[loaded.name].done(waited=job.waited, fused=job.seconds, together=job.together, at=time.time())
        if want_map and stacked.map is None:
            raise InputError(f"{loaded.name} gives no map: ask for the fused picture alone.")
        return Made(loaded, brought, stacked, job)

    async def picture(self, made: Made, asked: Asked) -> tuple[bytes, str]:
        """The fused picture as a file's bytes, and its format. Raises: OutputError."""
        return await self.in_pool(lambda: picture_bytes(made.loaded.fuser, made.brought, made.stacked, asked))

    def late(self) -> Refusal:
        """What is told where there was not enough time."""
        return Refusal(
            f"the deadline passed before the answer was there: give more time (at most {self.options.deadline:g} s), or come "
            "again when fewer requests are under way.",
            504,
        )

    def stats(self, name: str = "") -> dict[str, Any]:
        """Triton's statistics, of one model or of all."""
        names = [self.models.named(name).name] if name else list(self.statistics)
        return {"model_stats": [self.statistics[one].to_json(one, VERSION) for one in names]}


def _lacking(error: BaseException | None) -> str:
    """What the machine has too little of, where that is the reason; such an error is nobody's fault, and may pass."""
    while error is not None:
        if is_shortage(error):
            return "memory"
        if lacks_threads(error):
            return "threads left"
        if isinstance(error, OSError) and error.errno in NO_MORE:
            return "open files left"
        error = error.__cause__  # a decoder or an engine ran into it, which tells it in words of its own
    return ""


def _started(count: int) -> ThreadPoolExecutor:
    """Threads that are there before anybody asks: later the system may have none left, and what waits would pile up."""
    pool = ThreadPoolExecutor(count, thread_name_prefix="ufafuse-pictures")
    everyone = threading.Barrier(count)  # one that has nothing to do is taken for the next task, instead of a new one
    try:
        for _ in range(count):
            pool.submit(everyone.wait)
    except RuntimeError:
        everyone.abort()
        raise
    return pool


def status_of(error: UfaError) -> int:
    """HTTP's status for an error."""
    if isinstance(error, Refusal):
        return error.status
    return 400 if isinstance(error, InputError | OutputError) else 500
