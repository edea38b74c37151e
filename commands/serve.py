"""`ufa serve`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ufafuse.commands.engine import EngineRequest, fuser_arguments
from ufafuse.commands.limits import MOST, MOST_THREADS
from ufafuse.commands.options import (
    ENGINE,
    Json,
)
from ufafuse.commands.request import as_command
from ufafuse.runtime import console

if TYPE_CHECKING:
    from ufafuse.runtime.serving.options import ServeOptions

_WHERE, _LIMITS = "Where, and for whom", "Limits"

Port = Annotated[
    str, typer.Option("--port", metavar="[HOST:]PORT", help="Where HTTP is spoken; 0: any free port.", rich_help_panel=_WHERE)
]
Grpc = Annotated[
    str | None,
    typer.Option("--grpc", metavar="[HOST:]PORT", help="Speak gRPC there too, such as 8001.", rich_help_panel=_WHERE),
]
Token = Annotated[
    str,
    typer.Option(
        envvar="UFAFUSE_TOKEN",
        help="What clients must send (Authorization: Bearer ...); needed for any address but loopback.",
        rich_help_panel=_WHERE,
    ),
]
Certificate = Annotated[
    Path | None, typer.Option("--tls-cert", metavar="PEM", help="Speak TLS, with this certificate.", rich_help_panel=_WHERE)
]
Key = Annotated[Path | None, typer.Option("--tls-key", metavar="PEM", help="The certificate's key.", rich_help_panel=_WHERE)]
Queue = Annotated[
    int,
    typer.Option(
        min=0, max=MOST, help="Requests that may wait; more are told 503 and when to come again.", rich_help_panel=_LIMITS
    ),
]
Workers = Annotated[
    int, typer.Option(min=1, max=MOST_THREADS, help="Requests that are fused at once.", rich_help_panel=_LIMITS)
]
Batch = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MOST,
        help="Pairs of one size fused in one run [default: 1 on a CPU, else the engine's].",
        rich_help_panel=_LIMITS,
    ),
]
Deadline = Annotated[
    str, typer.Option(metavar="TIME", help="Most that a request may take; later it is told 504.", rich_help_panel=_LIMITS)
]
Grace = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="At the end: how long requests are still taken after not ready was said.", rich_help_panel=_LIMITS
    ),
]
MaxRequest = Annotated[
    str, typer.Option(metavar="SIZE", help="Most bytes of a request, such as 256MB.", rich_help_panel=_LIMITS)
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        metavar="[NAME=]MODEL[@PRECISION]",
        help="A network to offer, repeatable: fast=ufa-nano@int8, board=board.engine; the first is the default "
        "[default: ufa-edge, ufa-stack].",
        rich_help_panel=ENGINE,
    ),
]
Warm = Annotated[
    list[str] | None,
    typer.Option(
        "--warm", metavar="HxW", help="Make the engines ready for this size before the first request.", rich_help_panel=ENGINE
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("serve")(as_command(serve, ServeRequest))


@dataclass(frozen=True, kw_only=True)
class ServeRequest(EngineRequest):
    """Serve fusion over HTTP and gRPC: POST /fuse for pictures, the Open Inference Protocol (as Triton speaks it) for tools."""

    port: Port = "8000"
    grpc: Grpc = None
    token: Token = ""
    tls_cert: Certificate = None
    tls_key: Key = None
    models: Models = None
    warm: Warm = None
    queue: Queue = 32
    workers: Workers = 1
    batch: Batch = None
    deadline: Deadline = "30s"
    grace: Grace = "0"
    max_request: MaxRequest = "256MB"
    as_json: Json = False


def serve(asked: ServeRequest) -> None:
    """Run `ufa serve`."""
    with console.run(asked.as_json):
        options = _options(asked)
        from ufafuse.runtime.opencv import silence
        from ufafuse.runtime.serving.app import serve as run

        silence()
        summary = run(options, final=True)
        console.emit(summary, as_json=asked.as_json)
        if not asked.as_json:
            console.out.print(f"{summary['fused']} fused in {summary['seconds']:.0f} s")
        if not summary["ok"]:
            console.fail(summary["error"])
            raise typer.Exit(1)


def _options(asked: ServeRequest) -> "ServeOptions":
    from ufafuse.commands.quantities import megabytes_from, seconds_from, sides_from
    from ufafuse.runtime.serving.options import ServeOptions
    from ufafuse.runtime.stream.web.address import parse_address

    return ServeOptions(
        address=parse_address(asked.port, "port"),
        grpc=None if asked.grpc is None else parse_address(asked.grpc, "grpc"),
        models=tuple(asked.models or ()),
        token=asked.token,
        certificate=asked.tls_cert,
        key=asked.tls_key,
        workers=asked.workers,
        queue=asked.queue,
        batch=asked.batch,
        deadline=seconds_from("--deadline", asked.deadline),
        grace=0.0 if asked.grace.strip() in ("0", "0s") else seconds_from("--grace", asked.grace),
        max_request=megabytes_from("--max-request", asked.max_request) or 0.0,
        warm=tuple(sides_from(size, "warm") for size in asked.warm or ()),
        fuser=fuser_arguments(asked),
    )
