"""The whole measurement: peaks, interleaved runs at each size, cold starts, and the rows of the report."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ufafuse.benchmarks.published import PAPER_MACHINE, PAPER_MS, PAPER_SIZE
from ufafuse.benchmarks.speed.fits import check_memory
from ufafuse.benchmarks.speed.floor import floor_entry
from ufafuse.benchmarks.speed.fresh import in_fresh_process
from ufafuse.benchmarks.speed.hindered import check_fixed
from ufafuse.benchmarks.speed.layers import counted, profile_entry
from ufafuse.benchmarks.speed.opening import open_runner
from ufafuse.benchmarks.speed.peaks import better, measure_peaks
from ufafuse.benchmarks.speed.plan import Plan
from ufafuse.benchmarks.speed.runners import CLASSICAL, OURS, Runner, RunnerSpec
from ufafuse.benchmarks.speed.throughput import throughput
from ufafuse.benchmarks.speed.trtexec import trtexec_row
from ufafuse.benchmarks.speed.work import Work, count_work
from ufafuse.export.timing import WIDE_SPREAD, Samples, interleaved
from ufafuse.runtime.artefact import read_manifest, tool_versions
from ufafuse.runtime.callbacks import OnStep, ignored
from ufafuse.runtime.cores import usable_cores
from ufafuse.runtime.errors import BackendError, InputError, UfaError
from ufafuse.runtime.kinds import stem_of
from ufafuse.runtime.layers import Layer
from ufafuse.runtime.machine import machine
from ufafuse.runtime.opencv import BUILDS

SCHEMA = 1
_SUBJECTS = ("numpy", *BUILDS, "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "tensorrt", "tensorrt-rtx")
_COUNTED_MOST = 20  # runs with counters: they say where the time goes, not how long it takes


@dataclass
class _Run:
    """The measurement as it grows."""

    plan: Plan
    load_average: list[float]
    rows: list[dict[str, Any]] = field(default_factory=list)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    work: dict[tuple[str, tuple[int, int]], Work] = field(default_factory=dict)
    ours: list[RunnerSpec] = field(default_factory=list)
    hopeless: set[RunnerSpec] = field(default_factory=set)
    counted: list[tuple[dict[str, Any], list[Layer], dict[str, float]]] = field(default_factory=list)

    def check_hope(self) -> None:
        """Raises: InputError, where none of our own sessions could be opened, which the rest is only compared with."""
        if self.ours and self.hopeless.issuperset(self.ours):
            self.give_up()

    def give_up(self) -> NoReturn:
        """Raises: InputError, with every reason."""
        reasons = sorted({entry["reason"].removesuffix(".") for entry in self.skipped})
        raise InputError(f"nothing could be measured: {'; '.join(reasons)}.")

    def skip(self, spec: RunnerSpec, size: tuple[int, int] | None, reason: str) -> None:
        self.skipped.append(
            {
                "artefact": spec.artefact,
                "backend": _skipped_as(spec),
                "precision": spec.precision,
                "size": list(size) if size else None,
                "reason": reason,
            }
        )


def _skipped_as(spec: RunnerSpec) -> str:
    name = spec.backend if spec.group == OURS else spec.kind
    return name + (f", batch {spec.batch}" if spec.batch > 1 else "")


_STEPS = 3  # of each runner at each size: opened, timed, started cold


def bench(plan: Plan, *, on_step: OnStep = ignored) -> dict[str, Any]:
    """Measure everything in ``plan``.

    Args:
        plan: See `Plan`.
        on_step: Told after each step what comes next, how many are done, and of how many at most.

    Returns:
        The command's JSON, as ``schema.json`` describes it; ``ok`` is false where an artefact could not be timed at all.

    Raises:
        InputError: An artefact or a method does not exist; there is no memory for a size; none of the files could be opened.
        BackendError: Nothing of what was asked for can run here.
    """
    plan.check()
    specs = plan.specs()
    run = _Run(plan, load_average=_load(), ours=[spec for spec in specs if spec.group == OURS])
    on_step("the machine's own limit", 0, 0)
    peaks = measure_peaks(plan.threads)
    first, later = len(specs), sum(spec.group != CLASSICAL for spec in specs)
    total = _STEPS * (first + later * (len(plan.sizes) - 1))
    for number, size in enumerate(plan.sizes):
        chosen = [spec for spec in specs if (number == 0 or spec.group != CLASSICAL) and spec not in run.hopeless]
        before = _STEPS * (first + later * (number - 1)) if number else 0

        def step(what: str, count: int, before: int = before) -> None:
            on_step(what, before + count, total)

        _measure_size(run, chosen, size, step)
    if not run.rows:
        run.give_up()
    peaks = better(peaks, measure_peaks(plan.threads))
    floors = _floors(run, peaks)
    result = {
        "ok": not _untimed(run),
        "schema": SCHEMA,
        "machine": _machine(run),
        "paper": {"ms": PAPER_MS, "size": list(PAPER_SIZE), "machine": PAPER_MACHINE},
        "floor": {"peaks": peaks, "networks": floors},
        "rows": run.rows,
        "skipped": run.skipped,
        "warnings": _warnings(run),
    }
    if plan.profile:
        result["profiles"] = [_profile(entry, layers, plain, peaks) for entry, layers, plain in run.counted]
    if plan.streams:
        result["throughput"] = _throughput(run, on_step)
    return result


def _untimed(run: _Run) -> list[str]:
    """Artefacts of which no engine could time anything at any size: what was asked for was not done."""
    timed = {row["path"] for row in run.rows if row["group"] == OURS}
    return [str(path) for path in run.plan.artefacts if str(path) not in timed]


def _opened(run: _Run, specs: list[RunnerSpec], size: tuple[int, int], step: Callable[[str, int], None]) -> dict[str, Runner]:
    opened: dict[str, Runner] = {}
    for number, spec in enumerate(specs):
        if spec.group != OURS:  # these come last
            run.check_hope()
        step(f"{size[0]}x{size[1]}, opening {spec.backend or spec.kind}", number)
        runner = _ready(run, spec, size)
        if runner is None:
            continue
        name = f"{spec.kind} {spec.artefact} {spec.backend} {runner.precision} {spec.batch}"
        if name in opened:  # an int8 file whose rest is bf16 is what both --precision int8 and bf16 ask for
            runner.close()
            continue
        opened[name] = runner
    return opened


def _measure_size(run: _Run, specs: list[RunnerSpec], size: tuple[int, int], step: Callable[[str, int], None]) -> None:
    text = f"{size[0]}x{size[1]}"
    opened = _opened(run, specs, size, step)
    device: dict[str, dict[str, float]] = {name: {} for name in opened}

    timed: set[str] = set()

    def split(name: str) -> None:
        device[name] = opened[name].device_times()
        timed.add(name)
        step(f"{text}, timing", len(specs) + len(timed))

    given = _given(opened.values(), size)
    calls = {name: _call(runner, given[runner.feed]) for name, runner in opened.items()}
    samples = interleaved(calls, seconds=run.plan.seconds, most=run.plan.most_runs, after=split)
    for number, (name, runner) in enumerate(opened.items()):
        if run.plan.profile and runner.spec.group == OURS:
            step(f"{text}, counting the layers of {runner.backend}", 2 * len(specs) + number)
            _count(run, runner, size, given[runner.feed])
        runner.close()
        step(f"{text}, cold start of {runner.backend}", 2 * len(specs) + number)
        run.rows.append(_row(run, runner, size, samples[name], device[name]))
    for path in run.plan.artefacts:
        if path.suffix == ".engine":
            _add_trtexec(run, path, size)


def _given(opened: Iterable[Runner], size: tuple[int, int]) -> dict[str, tuple[Any, ...]]:
    """What each runs on, by its feed; made once for all of a feed."""
    given: dict[str, tuple[Any, ...]] = {}
    for runner in opened:
        if runner.feed not in given:
            given[runner.feed] = runner.inputs(size)
    return given


def _ready(run: _Run, spec: RunnerSpec, size: tuple[int, int]) -> Runner | None:
    """A runner that has fused one pair; None, with the reason noted, where it cannot be loaded or fails on this size."""
    name = spec.backend if spec.group == OURS else spec.kind
    try:
        check_fixed(spec, size)
    except InputError as error:
        run.skip(spec, size, str(error))
        return None
    try:
        with _as_ours(name):
            runner = open_runner(spec)
    except UfaError as error:
        run.skip(spec, None, str(error))
        run.hopeless.add(spec)
        return None
    try:
        with _as_ours(name):
            check_memory(spec, size)
            runner.run(*runner.inputs(size))
    except UfaError as error:
        run.skip(spec, size, str(error))
        runner.close()
        return None
    return runner


@contextmanager
def _as_ours(name: str) -> Iterator[None]:
    """Engines of others fail in ways of their own; each must fail alone, with its reason."""
    try:
        yield
    except UfaError:
        raise
    except Exception as error:
        raise BackendError(f"{name} failed: {_in_short(error)}") from error


def _in_short(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:200] or type(error).__name__


def _call(runner: Runner, given: tuple[Any, ...]) -> Callable[[], None]:
    return lambda: runner.run(*given)


def _count(run: _Run, runner: Runner, size: tuple[int, int], given: tuple[Any, ...]) -> None:
    spec = runner.spec
    try:
        with _as_ours(runner.backend):
            layers, plain = counted(runner, given, min(_COUNTED_MOST, run.plan.most_runs))
    except UfaError as error:
        run.skip(spec, size, f"layers: {error}")
        return
    entry = {"artefact": Path(spec.artefact).name, "path": spec.artefact, "backend": runner.backend}
    run.counted.append((entry | {"precision": runner.precision, "size": list(size)}, layers, plain))


def _throughput(run: _Run, on_step: OnStep) -> list[dict[str, Any]]:
    sessions = [spec for spec in run.plan.specs() if spec.group == OURS and spec not in run.hopeless]
    return throughput(
        sessions,
        run.plan.sizes,
        run.plan.streams,
        seconds=run.plan.seconds,
        opened=lambda spec, size: _ready(run, spec, size),
        on_step=lambda what: on_step(what, 0, 0),
    )


def _profile(entry: dict[str, Any], layers: list[Layer], plain: dict[str, float], peaks: dict[str, Any]) -> dict[str, Any]:
    return entry | profile_entry(layers, plain, peaks["gpu"] if entry["backend"] == "tensorrt" else peaks)


def _row(run: _Run, runner: Runner, size: tuple[int, int], samples: Samples, device: dict[str, float]) -> dict[str, Any]:
    spec = runner.spec
    row: dict[str, Any] = {
        "artefact": Path(spec.artefact).name,
        "path": spec.artefact if spec.group != CLASSICAL else None,
        "group": spec.group,
        "backend": runner.backend,
        "precision": runner.precision,
        "size": list(size),
        **samples.statistics(),
        "vs_paper": _vs_paper(samples.statistics()["p50_ms"] / spec.batch, size) if runner.fuses else None,
        "of_floor": None,
        "cold_ms": None,
        "rss_mib": None,
    }
    if spec.batch > 1:
        row |= {"batch": spec.batch, "fps": round(row["fps"] * spec.batch, 3)}
    if spec.device is not None:
        row["device"] = spec.device
    if device:
        row["device_ms"] = device
    if run.plan.cold:
        try:
            row |= in_fresh_process(spec, size)
        except BackendError as error:
            run.skip(spec, size, f"cold start: {error}")
    return row


def _vs_paper(p50_ms: float, size: tuple[int, int]) -> float:
    """How many times faster per pixel than the paper's own 260 ms for 520 x 520."""
    pixels = size[0] * size[1] / (PAPER_SIZE[0] * PAPER_SIZE[1])
    return round(PAPER_MS * pixels / p50_ms, 3)


def _add_trtexec(run: _Run, engine: Path, size: tuple[int, int]) -> None:
    try:
        figures = trtexec_row(engine, size)
    except BackendError as error:
        run.skip(RunnerSpec("session", str(engine), "trtexec"), size, str(error))
        return
    run.rows.append(
        {
            "artefact": engine.name,
            "path": str(engine),
            "group": "peer",
            "backend": "trtexec",
            "precision": read_manifest(engine).precision,
            "size": list(size),
            **figures,
            "fps": round(1e3 / figures["p50_ms"], 3),
            "runs": 50,
            "spread": None,
            "vs_paper": _vs_paper(figures["p50_ms"], size),
            "of_floor": None,
            "cold_ms": None,
            "rss_mib": None,
        }
    )


def _floors(run: _Run, peaks: dict[str, Any]) -> list[dict[str, Any]]:
    """The floor of every network that was timed; also written into the rows as ``of_floor``."""
    entries: dict[tuple[str, tuple[int, int], str, bool], dict[str, Any]] = {}
    for row in run.rows:
        if row["group"] == CLASSICAL:
            continue
        size = (row["size"][0], row["size"][1])
        key = (row["artefact"], size, row["precision"], _on_gpu(row))
        if key not in entries:
            entries[key] = {"artefact": key[0], "size": list(size), "precision": key[2]} | _floor(run, row, peaks)
        least = (entries[key].get("floor_ms") or 0.0) * row.get("batch", 1)
        row["of_floor"] = round(least / row["p50_ms"], 4) if least else None
        compute = row.get("device_ms", {}).get("compute_ms")
        if least and compute:
            row["compute_of_floor"] = round(least / compute, 4)
    return list(entries.values())


def _floor(run: _Run, row: dict[str, Any], peaks: dict[str, Any]) -> dict[str, Any]:
    path, size = Path(row["path"]), (row["size"][0], row["size"][1])
    if path.suffix != ".onnx":  # other files have no graph that could be counted; the ONNX file of the same name has
        path = path.with_name(f"{stem_of(path)}.onnx")
    key = (str(path), size)
    try:
        if key not in run.work:
            run.work[key] = count_work(path, size)
    except UfaError as error:
        return {"floor_ms": None, "why_not": str(error)}
    device = peaks["gpu"] if _on_gpu(row) else peaks
    if device is None:
        return {"floor_ms": None, "why_not": "the GPU's peaks need torch with CUDA"}
    return floor_entry(run.work[key], device, row["precision"])


def _on_gpu(row: dict[str, Any]) -> bool:
    return bool(row["backend"].startswith(("tensorrt", "trtexec")) or row["backend"].endswith((" cuda", " tensorrt")))


def _load() -> list[float]:
    import psutil

    return [round(value, 2) for value in psutil.getloadavg()]


def _machine(run: _Run) -> dict[str, Any]:
    import psutil

    frequency = psutil.cpu_freq()
    return machine() | {
        "usable_cores": usable_cores(),
        "clock_mhz": round(frequency.current) if frequency else None,
        "load_average": run.load_average,
        "threads": run.plan.threads,
        "versions": tool_versions(*_SUBJECTS),
    }


def _warnings(run: _Run) -> list[str]:
    found = []
    if run.load_average[0] > usable_cores() / 2:
        found.append(
            f"the machine was busy before the measurement began: load {run.load_average[0]} on {usable_cores()} cores."
        )
    for row in run.rows:
        what = f"{row['artefact']} on {row['backend']} ({row['precision']}) at {'x'.join(map(str, row['size']))}"
        if row["spread"] is not None and row["spread"] > WIDE_SPREAD:
            found.append(f"{what}: its runs spread by {row['spread']:.0%}, so small differences mean nothing.")
        if row["of_floor"] is not None and row["of_floor"] > 1:
            found.append(
                f"{what}: {row['of_floor']:.0%} of the limit. Either the peak was measured too low (a busy machine, a "
                "lower clock: repeat), or the engine needs fewer multiplications than were counted (Winograd)."
            )
    return found
