"""`ufa stream` as a function: from the options as text to a finished run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError, OutputError, UfaError
from ufafuse.runtime.filebytes import real_path
from ufafuse.runtime.memory.malloc import frames_in_memory, keep_heap, share_heap
from ufafuse.runtime.pixels import most_pixels
from ufafuse.runtime.signals import counted_signals
from ufafuse.runtime.stream.alarms import Alarm, AlarmEvent, alarms_from
from ufafuse.runtime.stream.judge import Judge
from ufafuse.runtime.stream.live_fuser import LiveFuser, LiveFuserOptions, check_white
from ufafuse.runtime.stream.messages import FAR, NEAR, plane_names
from ufafuse.runtime.stream.notify import CommandNotifier, MqttNotifier
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.reader import Event
from ufafuse.runtime.stream.sinks import Sink, SinkOptions, check_used, sink_from_text
from ufafuse.runtime.stream.sinks.beside import BesideSink
from ufafuse.runtime.stream.sinks.video import STDOUT, with_time
from ufafuse.runtime.stream.sources import FolderSource, PacedSource, Source, source_from_text
from ufafuse.runtime.stream.status import StatusLine, line_of
from ufafuse.runtime.stream.systemd import Notifier
from ufafuse.runtime.stream.web.address import parse_address
from ufafuse.runtime.writing import check_apart, read_here

if TYPE_CHECKING:
    from ufafuse.runtime.stream.web.view import View

_TICK = 0.25
_HUNG_SECONDS = 60.0


@dataclass(frozen=True)
class StreamRequest:
    """What the command line asks for.

    Args:
        near, far: Sources as text; both None with ``alternating``.
        alternating: One camera that alternates its focus, as text.
        out: The sink as text.
        map, depth: Sinks as text for the maps of which frame won, and for heights; empty for none.
        realtime: Play recordings at their own speed.
        view: Port or host:port of the page; None shows none.
        token: For the page, and for pictures over HTTP.
        quiet: No line of figures.
        log: File for a line of JSON for each result; ``%Y%m%d-%H%M%S`` and the like become the time. None writes none.
        alarms: What to look for, such as ``"sharp<0.6 for 2s"``; see `alarms_from`.
        on_alarm: Command that is run for each alarm; empty runs none.
        mqtt: Broker and topic that alarms are published to; empty for none.
        fuser, pipeline, sink: Options of these.
    """

    near: str | None = None
    far: str | None = None
    alternating: str | None = None
    out: str = "none"
    map: str = ""
    depth: str = ""
    realtime: bool = False
    view: str | None = None
    token: str = ""
    quiet: bool = False
    log: Path | None = None
    alarms: tuple[str, ...] = ()
    on_alarm: str = ""
    mqtt: str = ""
    fuser: LiveFuserOptions = field(default_factory=LiveFuserOptions)
    pipeline: PipelineOptions = field(default_factory=PipelineOptions)
    sink: SinkOptions = field(default_factory=SinkOptions)


def stream(request: StreamRequest, *, final: bool = False) -> dict[str, Any]:
    """Run until the sources end, a limit is reached, or SIGINT, SIGTERM or SIGHUP asks for the end.

    Args:
        request: What is asked for.
        final: The process ends with this run, see `counted_signals`.

    Returns:
        The summary; ``ok`` is false, with the reason in ``error``, when a fault ended the run or nothing could be fused.

    Raises:
        UfaError: The run could not begin.
    """
    share_heap()
    if request.log is not None:  # a run that is started again does not end for the log of the one before
        request = replace(request, log=with_time(request.log))
    near, far = _sources(request)
    _check_frames(request, [near] if far is None else [near, far])
    alarms = _alarms(request)
    sink = _sink(request)
    _check_apart(request, [near] if far is None else [near, far], sink)
    status = StatusLine(console.err, quiet=request.quiet)
    with contextlib.ExitStack() as signals, contextlib.ExitStack() as stack:
        view = _view(request)
        if view is not None:
            stack.callback(view.stop)
        fuser = stack.enter_context(_live_fuser(request, view, lambda kind, text: pipeline.report(kind, "", text)))
        heard: list[Callable[[AlarmEvent], None]] = []

        def on_alarm(event: AlarmEvent) -> None:
            pipeline.report("alarm", "", str(event))
            for listener in heard:
                listener(event)

        pipeline = Pipeline(
            near,
            far,
            fuser.fuse,
            sink,
            options=request.pipeline,
            on_frame=view.show if view is not None else None,
            on_event=status.event,
            prepare=lambda size: _settle(fuser, request.pipeline.most_frames, size),
            judge=_judge(request, alarms, on_alarm),
        )
        heard += _listeners(request, stack, lambda text: pipeline.report("caution", "", text))  # from now on it can be told
        # From the first frame on a signal must not kill: the video would stay open. Nor while listeners and engine are closed.
        asked = signals.enter_context(counted_signals(final=final))
        if far is not None and _same(near, far):
            pipeline.report("caution", "", f"near and far are both {near.name}: each frame is fused with itself")
        pipeline.start(unless=lambda: bool(asked))
        _show(pipeline, view, fuser)
        stopped = _until_done(pipeline, status, asked)
    if pipeline.error is not None and not isinstance(pipeline.error, UfaError):
        raise pipeline.error
    summary = {**pipeline.summary(), **fuser.to_json()}
    if request.log is not None:
        summary["log"] = str(request.log)
    return _judged(summary, stopped=stopped, rang=pipeline.judge.rang, mismatch=pipeline.mismatch)


def _alarms(request: StreamRequest) -> list[Alarm]:
    alarms = alarms_from(request.alarms)
    if (request.on_alarm or request.mqtt) and not alarms:
        raise InputError("`on_alarm` and `mqtt` tell of alarms: say with `alarm` which, such as `alarm=usual`.")
    return alarms


def _live_fuser(request: StreamRequest, view: View | None, tell: Callable[[str, str], None]) -> LiveFuser:
    """The fusion of what comes; ``tell`` takes (kind, text) of what it notices."""
    return LiveFuser(
        replace(request.fuser, planes=request.pipeline.planes, depth=bool(request.depth)),
        wants_map=lambda: bool(request.map) or (view is not None and view.wants_map),
        report=partial(tell, "registered"),
        warn=partial(tell, "caution"),
    )


def _show(pipeline: Pipeline, view: View | None, fuser: LiveFuser) -> None:
    """Begin to serve the page, where there is one and the run is not over yet."""
    if view is not None and not pipeline.wait(0):
        view.start(pipeline, fuser.about())
        console.err.print(f"live at {view.url}")


def _judge(request: StreamRequest, alarms: Sequence[Alarm], on_alarm: Callable[[AlarmEvent], None]) -> Judge:
    return Judge(
        alarms=alarms,
        on_alarm=on_alarm,
        log=request.log,
        force=request.sink.force,
        white=request.fuser.white,
        bayer=request.fuser.bayer,
    )


def _listeners(
    request: StreamRequest, stack: contextlib.ExitStack, tell: Callable[[str], None]
) -> list[Callable[[AlarmEvent], None]]:
    """Who hears of alarms besides the log and the page; closed with ``stack``."""
    heard: list[CommandNotifier | MqttNotifier] = []
    if request.on_alarm:
        heard.append(CommandNotifier(request.on_alarm, tell))
    if request.mqtt:
        heard.append(MqttNotifier(request.mqtt, tell))
    for listener in heard:
        stack.callback(listener.close)
    return list(heard)


def _settle(fuser: LiveFuser, frames: int, size: tuple[int, int] | None) -> None:
    """What the first pairs would else wait for, and the memory that full queues take, before the first frame is read."""
    if size is not None:
        fuser.warm(size)
    keep_heap()
    if size is not None:
        waiting = frames_in_memory(frames, size)
        fuser.warm(size)
        del waiting  # freed and kept: not before the second run, whose memory lies beside theirs


def _sources(request: StreamRequest) -> tuple[Source, Source | None]:
    most = most_pixels(request.fuser.arguments.get("max_memory"), pictures=request.pipeline.most_frames)
    if request.alternating is not None:
        if request.near is not None or request.far is not None:
            raise InputError("`alternating` was given together with `near` or `far`: it stands for both.")
        alternating = source_from_text(request.alternating, NEAR, name="alternating", most=most)
        return _paced(alternating, realtime=request.realtime), None
    if request.near is None or request.far is None:
        missing = "`near`" if request.near is None else "`far`"
        raise InputError(
            f"{missing} is missing: give `near` and `far`, or `alternating` for one camera that changes its focus."
        )
    near, far = source_from_text(request.near, NEAR, most=most), source_from_text(request.far, FAR, most=most)
    # A recording beside a live source is played at its own speed.
    realtime = request.realtime or near.live != far.live
    return _paced(near, realtime=realtime), _paced(far, realtime=realtime)


def _sink(request: StreamRequest) -> Sink | None:
    check_used([request.out, request.map, request.depth], request.sink)
    main = sink_from_text(request.out, request.sink)
    sinks = [] if main is None else [main]
    beside = {}
    for name, text in (("map", request.map), ("depth", request.depth)):
        sink = sink_from_text(text, replace(request.sink, white=65_535.0), name=name) if text else None
        if sink is not None:
            beside[name] = sink
            sinks.append(sink)
    # What they write tells: `dir`, `dir/` and `dir/*.png` are one place, `dir/*.png` and `dir/*.jpg` are two.
    places = [place for sink in sinks for place in sink.places()] + ([] if request.log is None else [request.log])
    wanted = [str(real_path(place)) for place in places] + ["standard output"] * [sink.name for sink in sinks].count(
        str(STDOUT)
    )
    for place in wanted:
        if wanted.count(place) > 1:
            raise InputError(f"two results would be written to {place}: give each a place of its own.")
    return BesideSink(main, beside) if beside else main


def _check_frames(request: StreamRequest, sources: Sequence[Source]) -> None:
    """Refuse, before anything runs, what does not fit frames whose kind is known already (`InputError`)."""
    if request.fuser.white is None and request.fuser.bayer is None:
        return
    for source in sources:
        frame = source.example()
        if frame is not None:
            check_white([frame], request.fuser.white)
            if request.fuser.bayer is not None and frame.ndim == 3:
                raise InputError(f"the frames of {source.name} have colour already, and are no Bayer mosaic: omit `bayer`.")


def _check_apart(request: StreamRequest, sources: Sequence[Source], sink: Sink | None) -> None:
    """Refuse, with ``force`` or without, results that would replace what is read, or be read as frames (`OutputError`)."""

    def spares(path: Path) -> bool:
        return any(source.reads(path) for source in sources)

    places = [] if sink is None else sink.places()
    if request.log is not None:
        places.append(request.log)
    for path in places:
        if spares(path):
            raise OutputError(read_here(path))
    model = request.fuser.model
    check_apart(places, [] if model is None else [Path(model)])
    if sink is not None:
        sink.spares = spares  # names that are only known later: of the next file, or with the time in them


def _view(request: StreamRequest) -> View | None:
    if request.view is None:
        return None
    address = parse_address(request.view, "view")
    from ufafuse.runtime.stream.web.view import View  # an extra: raises InputError where it is missing

    return View(address, token=request.token)


def _same(near: Source, far: Source) -> bool:
    """Whether both are one recording or folder; what is simulated shows each side as it is."""
    return type(near) is type(far) and near.name == far.name and not near.live


def _paced(source: Source, *, realtime: bool) -> Source:
    if not realtime or source.live:
        return source
    if isinstance(source, FolderSource):
        raise InputError(
            f"{source.name} is a folder, which has no speed of its own: give folders for both sides, and no `realtime`."
        )
    return PacedSource(source)


def _until_done(pipeline: Pipeline, status: StatusLine, asked: list[int]) -> bool:
    """Watch the run until its end; whether a signal asked for it. ``asked`` grows with each signal."""
    notifier = Notifier()
    notifier.ready()
    obeyed = 0
    hung_after = notifier.watchdog_seconds / 2 or _HUNG_SECONDS
    status.start()
    with contextlib.closing(status):
        while not pipeline.wait(_TICK):
            figures = pipeline.figures()
            status.update(figures)
            if pipeline.fusing_seconds < hung_after:
                notifier.alive(line_of(figures))
            while obeyed < len(asked):
                obeyed += 1
                again = obeyed > 1
                text = (
                    "giving up what waits" if again else "stopping: what was captured is still fused; once more to give it up"
                )
                status.event(Event("stopping", "", text, figures["seconds"]))
                notifier.stopping()
                pipeline.stop()
        if asked and not obeyed:
            status.event(Event("stopping", "", "stopped while the sources were opened", pipeline.figures()["seconds"]))
    return bool(asked)


def _judged(summary: dict[str, Any], *, stopped: bool, rang: list[str], mismatch: str) -> dict[str, Any]:
    """A run that fused nothing has failed, unless it was cut short; so has one with an alarm."""
    if summary["ok"] and rang:
        summary["ok"] = False
        summary["error"] = f"there {'was an alarm' if len(rang) == 1 else f'were {len(rang)} alarms'}: {', '.join(rang)}."
    if summary["ok"] and not stopped and not summary["fused"]:
        summary["ok"] = False
        summary["error"] = _why_none(summary, mismatch)
    return summary


def _why_none(summary: dict[str, Any], mismatch: str) -> str:
    if not all(summary["frames_in"]):
        names = plane_names(len(summary["frames_in"]))
        came = " and ".join(f"{count} frames from {name}" for name, count in zip(names, summary["frames_in"], strict=True))
        passed = f", and {summary['passed_over']} were passed over" if summary["passed_over"] else ""
        broken = f"; {sum(summary['broken'])} more were broken" if any(summary["broken"]) else ""
        return f"no pair was fused: there were {came}{passed}{broken}."
    if mismatch and not summary["dropped"]:
        return f"no pair was fused: {mismatch}. Set both sources to one size, depth and colour."
    miss = summary["nearest_miss_ms"]
    if summary["dropped"] or miss is None:
        return f"no pair was fused: {summary['dropped']} were dropped and {summary['unmatched']} frames had no partner."
    return (
        f"no two frames lay within `max_skew={summary['max_skew_ms']:g}` ms: the nearest were {miss:g} ms apart. "
        f"Try `max_skew={int(miss) + 1}`, or `far_offset` where one source is known to be late."
    )
