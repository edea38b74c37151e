"""Options that several commands have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from ufafuse.commands.limits import MOST_THREADS

Backend = Literal["auto", "tensorrt", "onnxruntime", "openvino", "ncnn", "mnn", "litert"]  # inference engines
Precision = Literal["fp32", "bf16", "fp16", "int8"]  # arithmetic of the network
Prefer = Literal["quality", "speed"]  # what the choice of an arithmetic is to serve
Provider = Literal["cpu", "cuda", "tensorrt"]  # ONNX Runtime's execution providers
Compression = Literal["none", "fast", "small", "lzw", "zstd"]  # how results are packed
StackMethod = Literal["network", "pyramid"]  # how a stack is fused
Align = Literal["off", "translation", "euclidean", "affine", "homography"]  # how the frames may have moved
ENGINE, MANY = "Network and engine", "Many at once"

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Model = Annotated[
    str | None,
    typer.Option(
        help="A bundled network's name, or a model file that you trust (.onnx, .engine, .xml, ...).", rich_help_panel=ENGINE
    ),
]
BackendOption = Annotated[Backend, typer.Option(help="Inference engine.", rich_help_panel=ENGINE)]
PreferOption = Annotated[
    Prefer,
    typer.Option(
        help="quality: the machine's float arithmetic; speed: int8 where the network has it and it gains.",
        rich_help_panel=ENGINE,
    ),
]
PrecisionOption = Annotated[
    Precision | None, typer.Option(help="Arithmetic [default: as --prefer has it].", rich_help_panel=ENGINE)
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, max=MOST_THREADS, help="CPU threads [default: the backend chooses].", rich_help_panel=ENGINE),
]
Pin = Annotated[bool, typer.Option("--pin", help="Bind each thread to a core.", rich_help_panel=ENGINE)]
ProviderOption = Annotated[Provider, typer.Option(help="With --backend onnxruntime: what it runs on.", rich_help_panel=ENGINE)]
CacheOption = Annotated[
    bool,
    typer.Option(
        "--cache/--no-cache",
        help="Keep what the engine compiles, in $UFAFUSE_CACHE or ~/.cache/ufafuse: the next start is faster.",
        rich_help_panel=ENGINE,
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Most memory this process may take, such as 800MB or 2GB: larger frames are fused in tiles.",
        rich_help_panel=ENGINE,
    ),
]
TileOption = Annotated[
    str,
    typer.Option(metavar="auto|off|N", help="Tiles where memory asks for them, never, or of N pixels.", rich_help_panel=ENGINE),
]
AlignOption = Annotated[
    Align,
    typer.Option(
        help="Register the frames: a pair to its first, a stack to the one that the others cover best; affine undoes "
        "focus breathing."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace existing results.")]
Triton = Annotated[Path | None, typer.Option(help="Also lay it out in this model repository for Triton.")]
