"""`ufa stream`."""

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ufafuse.commands.engine import EngineRequest, fuser_arguments
from ufafuse.commands.limits import MOST, MOST_FRAMES
from ufafuse.commands.options import (
    AlignOption,
    Force,
    Json,
    Pin,
)
from ufafuse.commands.request import as_command, changed
from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError

if TYPE_CHECKING:
    from ufafuse.runtime.stream.app import StreamRequest
    from ufafuse.runtime.stream.live_fuser import LiveFuserOptions
    from ufafuse.runtime.stream.options import PipelineOptions
    from ufafuse.runtime.stream.sinks import SinkOptions


WhenLate = Literal["auto", "drop-oldest", "block"]  # what happens to pairs that the fusion has no time for
PairBy = Literal["auto", "time", "number"]  # what says that two frames belong together
AlternateBy = Literal["order", "sharpness", "number"]  # how the frames of one camera's focus settings are told apart
_SOURCES, _PAIRS, _QUEUES, _OUTPUT, _LIMITS = "Sources", "Pairing", "When something is late or away", "Output", "Limits"
_ALARMS = "Alarms"

_SOURCE = "a camera (0, /dev/video0), a video, a folder, dir/*_A.png, an http or rtsp URL, gst:PIPELINE, or sim:PICTURE"
Near = Annotated[
    str | None, typer.Option(metavar="SRC", help=f"In focus on what is near: {_SOURCE}.", rich_help_panel=_SOURCES)
]
Far = Annotated[str | None, typer.Option(metavar="SRC", help="In focus on what is far: likewise.", rich_help_panel=_SOURCES)]
Alternating = Annotated[
    str | None,
    typer.Option(metavar="SRC", help="One camera that moves its focus.", rich_help_panel=_SOURCES),
]
Planes = Annotated[
    int,
    typer.Option(
        metavar="N", min=2, max=MOST_FRAMES, help="Its focus settings; more than 2 are a stack.", rich_help_panel=_SOURCES
    ),
]
Settle = Annotated[
    str | None,
    typer.Option(
        metavar="K|auto",
        help="Frames to pass over after each step [default: none, unless the frames show that some are not settled].",
        rich_help_panel=_SOURCES,
    ),
]
By = Annotated[
    AlternateBy,
    typer.Option(
        "--alternate-by", help="How its frames are told apart; number: as its source counts.", rich_help_panel=_SOURCES
    ),
]
Swap = Annotated[bool, typer.Option("--swap", help="Its first frame is the far one.", rich_help_panel=_SOURCES)]
Realtime = Annotated[bool, typer.Option("--realtime", help="Play videos at their own speed.", rich_help_panel=_SOURCES)]

MaxSkew = Annotated[
    str | None,
    typer.Option(
        metavar="MS",
        help="Greatest time within a pair, such as 20, 20ms or 0.02s [default: 20, less for fast cameras].",
        rich_help_panel=_PAIRS,
    ),
]
FarOffset = Annotated[
    str,
    typer.Option(metavar="MS", help="Added to the far source's times where it is known to be late.", rich_help_panel=_PAIRS),
]
PairByOption = Annotated[PairBy, typer.Option(help="auto: by number for two folders, else by time.", rich_help_panel=_PAIRS)]

Late = Annotated[
    WhenLate, typer.Option(help="auto: block for recordings, drop-oldest for what is live.", rich_help_panel=_QUEUES)
]
Queue = Annotated[int, typer.Option(min=1, max=MOST, help="Pairs that may wait for the fusion.", rich_help_panel=_QUEUES)]
LateAfter = Annotated[
    str, typer.Option(metavar="MS", help="Latency from which a pair counts as late.", rich_help_panel=_QUEUES)
]
Stall = Annotated[float, typer.Option(metavar="S", help="Silence after which a source is reported.", rich_help_panel=_QUEUES)]
GiveUp = Annotated[
    float | None,
    typer.Option(
        metavar="S", help="Seconds that a source may be away before the run ends [default: never].", rich_help_panel=_QUEUES
    ),
]

Out = Annotated[
    str,
    typer.Option(
        "-o",
        "--out",
        metavar="SINK",
        help="x.mkv (survives a kill), x.avi, x.mp4, - (Matroska to stdout), a folder, dir/*.jpg, http://HOST:PORT, or none; "
        "%Y%m%d-%H%M%S in its name becomes the time.",
        rich_help_panel=_OUTPUT,
    ),
]
MapSink = Annotated[
    str,
    typer.Option("--map", metavar="SINK", help="Also the map of which frame won: likewise.", rich_help_panel=_OUTPUT),
]
DepthSink = Annotated[
    str,
    typer.Option(
        "--depth",
        metavar="SINK",
        help="Also heights, black at the first focus setting, white at the last; 16 bits in a folder.",
        rich_help_panel=_OUTPUT,
    ),
]
Bayer = Annotated[
    str | None, typer.Option(help="Pattern of raw frames: rggb, bggr, grbg, gbrg, or as GenICam says it (BayerRG8).")
]
MatchGain = Annotated[
    bool, typer.Option("--match-gain", help="Make the frames equally bright, by factors that are held steady.")
]
Quality = Annotated[
    int | None,
    typer.Option(
        min=1, max=100, help="JPEG quality of video, HTTP and images [default: 95; of images 97].", rich_help_panel=_OUTPUT
    ),
]
Fps = Annotated[
    float | None,
    typer.Option(min=0.1, help="Rate that .avi and .mp4 claim; .mkv has true times. [default: 25]", rich_help_panel=_OUTPUT),
]
Segment = Annotated[
    float | None, typer.Option(metavar="S", min=1, help="Begin a new video file every S seconds.", rich_help_panel=_OUTPUT)
]
ViewOption = Annotated[
    str | None, typer.Option("--view", metavar="[HOST:]PORT", help="Serve a page with live pictures.", rich_help_panel=_OUTPUT)
]
LogOption = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="FRAMES.jsonl",
        help="A line of JSON for each result; %Y%m%d-%H%M%S in its name becomes the time.",
        rich_help_panel=_OUTPUT,
    ),
]
AlarmOption = Annotated[
    list[str] | None,
    typer.Option(
        "--alarm",
        metavar="'EXPR for S'",
        help="Sound an alarm, and end with exit code 1: 'sharp<=0.6 for 2s', 'sharpness<=0.7*usual', 'shift>=usual+1 for 1s', "
        "or usual for a set of them. Repeat it for more.",
        rich_help_panel=_ALARMS,
    ),
]
OnAlarm = Annotated[
    str,
    typer.Option(
        metavar="CMD", help="Run it when an alarm begins or is over; UFAFUSE_EVENT tells which.", rich_help_panel=_ALARMS
    ),
]
Mqtt = Annotated[
    str,
    typer.Option(metavar="URL", help="Publish alarms: mqtt://[USER:PASSWORD@]HOST[:PORT]/TOPIC.", rich_help_panel=_ALARMS),
]
Token = Annotated[
    str, typer.Option(envvar="UFAFUSE_TOKEN", help="Needed to serve on any address but loopback.", rich_help_panel=_OUTPUT)
]

Frames = Annotated[int | None, typer.Option(min=1, max=MOST, help="End after so many fused pairs.", rich_help_panel=_LIMITS)]
Seconds = Annotated[float | None, typer.Option(min=0, help="End after so many seconds.", rich_help_panel=_LIMITS)]
Idle = Annotated[
    float | None, typer.Option(metavar="S", min=0, help="End after so many seconds without a frame.", rich_help_panel=_LIMITS)
]

Model = Annotated[
    str | None,
    typer.Option(
        help="A bundled network, a model file (.onnx, .engine, .xml, ...), or copy (no network: near passes).",
        rich_help_panel="Network and engine",
    ),
]
AlignEvery = Annotated[
    float | None, typer.Option(metavar="S", min=0, help="Estimate --align anew every S seconds [default: once].")
]
White = Annotated[
    float | None, typer.Option(help="Level of white of 16-bit frames, such as 4095 for 12 bits [default: found in the frames].")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="No line of figures.")]


def register(app: typer.Typer) -> None:
    """Add this folder's command to ``app``."""
    app.command("stream")(as_command(stream, LiveRequest))


@dataclass(frozen=True, kw_only=True)
class LiveRequest(EngineRequest):
    """Fuse live: two cameras (or one that moves its focus), files or network streams in; video, files or a web page out."""

    near: Near = None
    far: Far = None
    alternating: Alternating = None
    planes: Planes = 2
    settle: Settle = None
    alternate_by: By = "order"
    swap: Swap = False
    realtime: Realtime = False
    max_skew: MaxSkew = None
    far_offset: FarOffset = "0"
    pair_by: PairByOption = "auto"
    when_late: Late = "auto"
    queue: Queue = 2
    late_after: LateAfter = "200"
    stall_after: Stall = 2.0
    give_up: GiveUp = None
    out: Out = "none"
    map: MapSink = ""
    depth: DepthSink = ""
    quality: Quality = None
    fps: Fps = None
    segment: Segment = None
    force: Force = False
    view: ViewOption = None
    token: Token = ""
    log: LogOption = None
    alarm: AlarmOption = None
    on_alarm: OnAlarm = ""
    mqtt: Mqtt = ""
    frames: Frames = None
    seconds: Seconds = None
    idle: Idle = None
    model: Model = None
    pin: Pin = False
    white: White = None
    bayer: Bayer = None
    match_gain: MatchGain = False
    align: AlignOption = "off"
    align_every: AlignEvery = None
    quiet: Quiet = False
    as_json: Json = False


_COPY = "copy"
_OF_AN_ENGINE = {field.name for field in fields(EngineRequest)} - {"max_memory"} | {"pin"}  # that bounds pictures, too


def stream(asked: LiveRequest) -> None:
    """Run `ufa stream`."""
    with console.run(asked.as_json):
        request = _request(asked)
        from ufafuse.runtime.stream import app

        _quiet_libraries()
        _report(app.stream(request, final=True), as_json=asked.as_json, to_stderr=asked.as_json or asked.out == "-")


def _request(asked: LiveRequest) -> "StreamRequest":
    from ufafuse.runtime.stream.app import StreamRequest

    if asked.as_json and asked.out == "-":
        raise InputError("--json and --out - both want standard output: write to a file, or omit --json.")
    if asked.model == _COPY:
        for name in (name for name in changed(asked) if name in _OF_AN_ENGINE):
            raise InputError(
                f"--{name.replace('_', '-')} is of a network's engine, and --model copy has none: omit one of both."
            )
    return StreamRequest(
        near=asked.near,
        far=asked.far,
        alternating=asked.alternating,
        out=asked.out,
        map=asked.map,
        depth=asked.depth,
        realtime=asked.realtime,
        view=asked.view,
        token=asked.token,
        quiet=asked.quiet,
        log=asked.log,
        alarms=tuple(asked.alarm or ()),
        on_alarm=asked.on_alarm,
        mqtt=asked.mqtt,
        fuser=_fuser_options(asked),
        pipeline=_pipeline_options(asked),
        sink=_sink_options(asked),
    )


def _fuser_options(asked: LiveRequest) -> "LiveFuserOptions":
    from ufafuse.runtime.bayer import pattern_from
    from ufafuse.runtime.stream.live_fuser import LiveFuserOptions

    return LiveFuserOptions(
        model=asked.model,
        align=asked.align,
        align_every=asked.align_every,
        white=asked.white,
        bayer=asked.bayer and pattern_from(asked.bayer),
        match_gain=asked.match_gain,
        arguments={**fuser_arguments(asked), "pin": asked.pin},
    )


def _pipeline_options(asked: LiveRequest) -> "PipelineOptions":
    from ufafuse.commands.quantities import duration_from, number_or_word
    from ufafuse.runtime.stream.options import PipelineOptions
    from ufafuse.runtime.stream.reader import RetryPolicy

    return PipelineOptions(
        max_skew=None if asked.max_skew is None else duration_from("--max-skew", asked.max_skew),
        far_offset=duration_from("--far-offset", asked.far_offset, negative=True),
        pair_by=asked.pair_by,
        planes=asked.planes,
        settle=None if asked.settle is None else number_or_word(asked.settle),
        alternate_by=asked.alternate_by,
        swap=asked.swap,
        when_late=asked.when_late,
        queue=asked.queue,
        late_after=duration_from("--late-after", asked.late_after),
        stall_after=asked.stall_after,
        idle=asked.idle,
        frames=asked.frames,
        seconds=asked.seconds,
        retry=RetryPolicy(give_up=asked.give_up),
    )


def _sink_options(asked: LiveRequest) -> "SinkOptions":
    from ufafuse.runtime.stream.sinks import SinkOptions

    return SinkOptions(
        rate=asked.fps,
        quality=asked.quality,
        segment=asked.segment,
        token=asked.token,
        force=asked.force,
        white=asked.white,
    )


def _quiet_libraries() -> None:
    """Keep OpenCV's and FFmpeg's own warnings off stderr: what matters is reported in our words."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    from ufafuse.runtime.opencv import silence, within_quota

    silence()
    within_quota()


def _report(summary: dict[str, Any], *, as_json: bool, to_stderr: bool) -> None:
    console.emit(summary, as_json=as_json)
    if not to_stderr:
        console.out.print(_table(summary))
    for output in summary["outputs"] if summary["fused"] else []:
        console.wrote(Path(output), as_json=to_stderr)
    if "log" in summary:
        console.wrote(Path(summary["log"]), as_json=to_stderr)
    if not summary["ok"]:
        console.fail(summary["error"])
        raise typer.Exit(1)


def _table(summary: dict[str, Any]) -> Any:  # noqa: ANN401 - rich is imported here only
    from rich.table import Table

    table = Table(show_header=False)
    latency = ", ".join(f"{name} {value:.1f}" for name, value in summary["latency_ms"].items() if value is not None)
    doubt = f", of them {summary['in_doubt']} in doubt" if summary["in_doubt"] else ""
    rows = {
        "frames in": " / ".join(map(str, summary["frames_in"])),
        "fused": summary["fused"],
        "dropped": summary["dropped"],
        "unmatched": " / ".join(map(str, summary["unmatched_by_side"])),
        "passed over": f"{summary['passed_over']}{doubt}",
        "broken": " / ".join(map(str, summary["broken"])),
        "late": summary["late"],
        **{name: value for name, value in (summary["quality"] or {}).items() if name in ("sharp", "wins", "shift")},
        "latency, ms": latency or "-",
        "pairs a second": summary["fps"],
        "seconds": summary["seconds"],
        "network": f"{Path(summary['model'] or 'none').name} {summary['precision'] or ''}",
        "backend": f"{summary['backend']} ({summary['why']})",
    }
    if not summary["passed_over"]:
        del rows["passed over"]
    for name, value in rows.items():
        table.add_row(name, str(value))
    return table
