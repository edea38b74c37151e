"""The `ufa` command: every command under one app."""

import atexit
import contextlib
import errno
import importlib
import json
import os
import re
import sys
import threading
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer

from ufafuse.commands.ending import endable
from ufafuse.commands.helptext import HelpCommand, HelpGroup
from ufafuse.runtime import console
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.starting import unswept

# The threads of a run that may be left behind, see `ufafuse.runtime.stream.pipeline`.
LEFT_BEHIND = frozenset({"ufafuse-near", "ufafuse-far", "ufafuse-open", "ufafuse-fuse", "ufafuse-write"})

_LEAVE_QUICKLY = frozenset({"fuse", "info", "models"})  # what they end with is closed before they end

EPILOG = "Exit codes: 0 done; 1 it ran and a check fell short; 2 bad usage or input."
# The commands in the order of the work, and the modules that they are in.
MODULES = {
    "fuse": "fuse",
    "stream": "stream",
    "serve": "serve",
    "train": "train",
    "dataset": "dataset",
    "export": "export",
    "calibrate": "calibrate",
    "build": "build",
    "verify": "verify",
    "bench": "bench",
    "eval": "bench",
    "models": "info",
    "schema": "info",
    "info": "info",
}
ORDER = tuple(MODULES)
# typer keeps its own click or uses the one installed, as its release has it: its errors are known by their public child.
_ClickError: type[Exception] = typer.BadParameter.__mro__[2]
# The words of the library that reads the values, and ours.
_WORDS = (
    (r"^Value error, ", ""),
    (r"^Input should be greater than or equal to (\S+)$", r"must be \1 or more"),
    (r"^Input should be less than or equal to (\S+)$", r"must be \1 or less"),
    (r"^Input should be a valid integer.*$", "must be a whole number"),
    (r"^Input should be a valid number.*$", "must be a number"),
    (r"^(?P<value>'.*') is not a valid integer( range)?\.?$", "must be a whole number"),
    (r"^(?P<value>'.*') is not a valid float( range)?\.?$", "must be a number"),
    (r"^\S+ is not in the range x>=(\S+)\.$", r"must be \1 or more"),
    (r"^\S+ is not in the range x<=(\S+)\.$", r"must be \1 or less"),
    (r"^\S+ is not in the range (\S+)<=x<=(\S+)\.$", r"must be from \1 to \2"),
)


class _Ufa(HelpGroup):
    order = ORDER


def build_app(only: str | None = None) -> typer.Typer:
    """The commands under one app: all of them, or those of the module that has the command ``only``."""
    app = typer.Typer(
        name="ufa",
        cls=_Ufa,
        help="Fuse two frames of a scene at different focus into one that is sharp everywhere; train, export, quantise, "
        "build and measure the networks that do it.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    for name in dict.fromkeys(MODULES.values()) if only is None else (MODULES[only],):
        importlib.import_module(f"ufafuse.commands.{name}").register(app)
    _dress(app)
    return app


def _dress(app: typer.Typer) -> None:
    """Give every command, and those of groups within, the help that fits."""
    for command in app.registered_commands:
        command.cls = HelpCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            group.typer_instance.info.cls = HelpGroup
            _dress(group.typer_instance)


def _show_version(wanted: bool) -> None:
    if wanted:
        from ufafuse.runtime.artefact import tool_versions

        console.plain(f"ufafuse {tool_versions()['ufafuse']}")
        raise typer.Exit


def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options of `ufa` itself."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Console entry point: bad usage is one line (with ``--json`` also an object on stdout) and exit code 2."""
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # its decoders' warnings would stand between our lines
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # likewise; what matters is told in our words
    given = list(sys.argv[1:] if arguments is None else arguments)
    # What is run is all that is imported: the other commands' modules, and their options, take as long again.
    with unswept(), endable():
        command = typer.main.get_command(build_app(given[0] if given and given[0] in MODULES else None))
    try:
        code = command.main(args=given, prog_name="ufa", standalone_mode=False)
    except typer.Abort:
        console.interrupted("interrupted", as_json="--json" in given)
        sys.exit(console.INTERRUPTED)
    except _ClickError as error:
        sys.exit(_refused(error, as_json="--json" in given))
    except OutputError as error:
        sys.exit(_failed(error))
    except OSError as error:
        if error.filename is not None or error.errno not in console.SYSTEM_ERRORS | {errno.EPIPE}:
            raise
        # The command line library's own words, of help, could not be written.
        sys.exit(_failed(console.unwritten(error)))
    code = code if isinstance(code, int) else 0
    if arguments is None and any(thread.name in LEFT_BEHIND for thread in threading.enumerate()):
        _leave_at_once(code)
    if arguments is None and given[:1] and given[0] in _LEAVE_QUICKLY and threading.active_count() == 1:
        _leave_quickly(code)
    sys.exit(code)


def _leave_quickly(code: int) -> None:
    """End once all is written and all that asked for it was called at the end, without taking every object apart: 60 ms."""
    atexit._run_exitfuncs()  # noqa: SLF001 - no other name does this
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return  # the interpreter's own end has words for it
    os._exit(code)


def _leave_at_once(code: int) -> NoReturn:
    """End without the interpreter's own end, which crashes under a thread that hangs in a camera's driver or in an engine."""
    for written in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            written.flush()
    os._exit(code)


def _failed(error: Exception) -> int:
    """Say that standard output cannot be written; the exit code. Whoever read it may have left: that is no failure to tell."""
    if isinstance(error, BrokenPipeError):
        return 1
    console.fail(str(error))
    return OutputError.exit_code


def _refused(error: Any, *, as_json: bool) -> int:  # noqa: ANN401 - click's, wherever typer keeps it
    """Say what is wrong with the command line; the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.ctx.get_help(), err=True)
        return 2
    text = usage_text(error)
    if as_json:
        with contextlib.suppress(OutputError):
            console.plain(json.dumps({"ok": False, "error": text}))
    console.fail(text)
    return 2


def usage_text(error: Any) -> str:  # noqa: ANN401
    """One sentence on a bad command line, in our words, naming the option and where its help is."""
    context, param = getattr(error, "ctx", None), getattr(error, "param", None)
    text = " ".join(str(error.message or error.format_message()).split())
    for pattern, ours in _WORDS:
        text = re.sub(pattern, ours, text)
    if type(error).__name__ == "MissingParameter" and param is not None:
        text = f"{_name_of(param)} is missing"
    elif type(error).__name__ == "NoSuchOption":
        near = " or ".join(sorted(error.possibilities or ()))
        text = f"no such option {error.option_name}" + (f" (did you mean {near}?)" if near else "")
    elif param is None:
        text = " ".join(error.format_message().split())
        text = re.sub(r"\. Did you mean (.+)\?$", r" (did you mean \1?)", text[:1].lower() + text[1:])
        if (given := re.fullmatch(r"no such command '(.+)'\.?", text)) and os.path.exists(given[1]):  # noqa: PTH110 - too long a name is none
            text = f"no such command '{given[1]}' (did you mean `ufa fuse {given[1]} ...`?)"
    elif text.startswith("must be"):
        text = f"{_name_of(param)} {text}"
    else:
        text = f"{_name_of(param)}: {text}"
    mend = f": see `{context.command_path} --help`" if context is not None else ""
    return text.rstrip(".") + mend + "."


def _name_of(param: Any) -> str:  # noqa: ANN401
    if param.param_type_name == "argument":
        return str(param.metavar or param.name.upper())
    return str(max(param.opts, key=len))
