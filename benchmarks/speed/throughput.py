"""Pairs a second with several in flight, and the latency that each has beside it."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from ufafuse.benchmarks.speed.runners import Runner, RunnerSpec
from ufafuse.export.timing import Samples, timed

_ROUNDS = 4  # each gets its time in so many parts, in turn, so that a machine that slows down slows all of them down
_FEWEST = 2  # runs of each thread in each part

Open = Callable[[RunnerSpec, tuple[int, int]], Runner | None]


def throughput(
    specs: Sequence[RunnerSpec],
    sizes: Sequence[tuple[int, int]],
    streams: Sequence[int],
    *,
    seconds: float,
    opened: Open,
    on_step: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Measure each session at each size with one run after the other, and with as many in flight as ``streams`` says.

    Args:
        specs: Sessions.
        sizes: (height, width) each.
        streams: Runs in flight; one is measured in any case, for comparison.
        seconds: Time for each.
        opened: Opens a runner that has run once; None where it cannot (it has noted why).
        on_step: Told what is measured.

    Returns:
        For each: ``artefact``, ``backend``, ``precision``, ``size``, ``streams``, ``batch`` (pairs in a run, where there are
        several: times are of the run), ``pairs_per_s``, ``p50_ms``, ``p90_ms``, ``p99_ms``, ``runs``, and ``vs_one``: times the
        pairs a second of one after the other.
    """
    rows: list[dict[str, Any]] = []
    for size in sizes:
        for spec in specs:
            counts = sorted({1, *streams})
            ready = {count: opened(replace(spec, streams=count), size) for count in counts}
            loaded = {count: runner for count, runner in ready.items() if runner is not None}
            try:
                on_step(f"{size[0]}x{size[1]}, several at once on {spec.backend}")
                rows += _compared(spec, size, loaded, seconds)
            finally:
                for runner in loaded.values():
                    runner.close()
    return rows


def _compared(spec: RunnerSpec, size: tuple[int, int], loaded: dict[int, Runner], seconds: float) -> list[dict[str, Any]]:
    samples = {count: Samples() for count in loaded}
    spent = dict.fromkeys(loaded, 0.0)
    for _ in range(_ROUNDS):
        for count, runner in loaded.items():
            times, wall = in_flight(runner, size, count, seconds / _ROUNDS)
            samples[count].times_ms += times
            spent[count] += wall
    rates = {count: spec.batch * len(samples[count].times_ms) / spent[count] for count in loaded}
    return [
        {
            "artefact": spec.artefact.rpartition("/")[2],
            "backend": runner.backend,
            "precision": runner.precision,
            "size": list(size),
            "streams": count,
            **({"batch": spec.batch} if spec.batch > 1 else {}),
            "pairs_per_s": round(rates[count], 3),
            **{
                key: value
                for key, value in samples[count].statistics().items()
                if key in ("p50_ms", "p90_ms", "p99_ms", "runs")
            },
            "vs_one": round(rates[count] / rates[1], 3) if 1 in rates else None,
        }
        for count, runner in loaded.items()
    ]


def in_flight(runner: Runner, size: tuple[int, int], count: int, seconds: float) -> tuple[list[float], float]:
    """Let ``count`` threads run a runner over and over: the time of each run in ms, and the seconds until all had ended.

    Raises:
        Exception: What a run raised; the first one.
    """
    given = runner.inputs(size)
    times: list[float] = []
    errors: list[Exception] = []
    barrier = threading.Barrier(count + 1)

    def work() -> None:
        barrier.wait()
        mine: list[float] = []
        try:
            while len(mine) < _FEWEST or time.perf_counter() < until[0]:
                mine.append(timed(lambda: runner.run(*given)))
        except Exception as error:  # noqa: BLE001 - raised again below, in the thread that asked
            errors.append(error)
        times.extend(mine)

    until = [0.0]
    threads = [threading.Thread(target=work, name=f"ufafuse-bench-{number}") for number in range(count)]
    for thread in threads:
        thread.start()
    start = time.perf_counter()
    until[0] = start + seconds
    barrier.wait()
    for thread in threads:
        thread.join()
    wall = time.perf_counter() - start
    if errors:
        raise errors[0]
    return times, wall
