"""The `ufa` command: every command under one app."""

import os

import typer

from ufafuse.commands import bench, calibrate, export, fuse, stream, train

EPILOG = "Exit codes: 0 done; 1 it ran and a check fell short; 2 bad usage or input."


def build_app() -> typer.Typer:
    """Every registered command under one app."""
    app = typer.Typer(
        name="ufa",
        help="Fuse two frames of a scene at different focus into one that is sharp everywhere; train, export, quantise, "
        "build and measure the networks that do it.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (fuse, stream, train, export, calibrate, bench):
        module.register(app)
    return app


def main() -> None:
    """Console entry point."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # its decoders' warnings would stand between our lines
    build_app()()
