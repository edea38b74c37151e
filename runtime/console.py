"""How every command talks: results on stdout, everything else on stderr, one line for an error."""

import contextlib
import json
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ufafuse.runtime import opencv
from ufafuse.runtime.errors import BackendError, UfaError
from ufafuse.runtime.texts import one_line, written_out

__all__ = ["emit", "err", "escape", "fail", "hint", "out", "progress", "run", "warn", "wrote"]


class _Console(Console):
    """Shows what a name or a message from outside would make the terminal do, instead of doing it."""

    def render_str(self, text: str, **kwargs: Any) -> Text:  # noqa: ANN401 - the library's arguments
        """As the library's, on a text without control characters."""
        return super().render_str(written_out(text), **kwargs)


out = _Console(highlight=False, soft_wrap=True)
err = _Console(highlight=False, soft_wrap=True, stderr=True)

INTERRUPTED = 130
# The extra that a folder's modules need, and a command's own.
_EXTRAS = {"train": "train", "network": "train", "export": "export", "calibration": "export", "benchmarks": "bench"}
_EXTRAS |= {"commands.train": "train", "commands.export": "export", "commands.calibrate": "export", "commands.bench": "bench"}


@contextlib.contextmanager
def run(as_json: bool = False) -> Iterator[None]:  # noqa: FBT001, FBT002 - the one flag every command hands on
    """Turn the errors of this package into exit codes.

    A `UfaError` becomes one line on stderr (with ``as_json`` also ``{"ok": false, "error": ...}`` on stdout) and its exit
    code; so does a package of one of our extras that is not installed, and an OpenCV that is missing or cannot be loaded; an
    interrupt becomes 130. Anything else is a defect of ours and keeps its traceback.
    """
    try:
        yield
    except UfaError as error:
        _end(str(error), error.exit_code, as_json=as_json, cause=error)
    except (ImportError, AttributeError) as error:
        text = opencv.sentence(error) or _sentence_of_an_extra(error)
        if text is None:
            raise
        _end(text, BackendError.exit_code, as_json=as_json, cause=error)
    except KeyboardInterrupt as interrupt:
        err.print("interrupted")
        raise typer.Exit(INTERRUPTED) from interrupt


def _end(text: str, code: int, *, as_json: bool, cause: Exception) -> NoReturn:
    if as_json:
        typer.echo(json.dumps({"ok": False, "error": text}))
    fail(text)
    raise typer.Exit(code) from cause


def _sentence_of_an_extra(error: Exception) -> str | None:
    """The mend for a package of an extra that is not installed; None for any other error."""
    if not isinstance(error, ModuleNotFoundError) or (extra := _extra_that_has(error)) is None:
        return None
    return f"this command needs {error.name}, which is not installed: run pip install 'ufafuse[{extra}]'."


def _extra_that_has(error: ModuleNotFoundError) -> str | None:
    """The extra that the command's folder needs, by the first of our modules in the traceback after this one."""
    if error.name is None or error.name.split(".")[0] == "ufafuse":
        return None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        package, _, module = frame.f_globals["__name__"].partition(".")
        for name in (module, module.partition(".")[0]) if package == "ufafuse" else ():
            if name in _EXTRAS:
                return _EXTRAS[name]
    return None


def fail(text: str) -> None:
    """Print one error line on stderr."""
    err.print(f"[red]error:[/red] {escape(one_line(text))}")


def warn(text: str) -> None:
    """Print one warning line on stderr."""
    err.print(f"[yellow]warning:[/yellow] {escape(one_line(text))}")


def emit(result: Mapping[str, Any], *, as_json: bool) -> None:
    """With ``as_json`` print ``result`` as the one JSON object on stdout; otherwise nothing."""
    if as_json:
        typer.echo(json.dumps(result))


def wrote(path: Path, *, as_json: bool = False) -> None:
    """Name a file that was written (on stderr when stdout belongs to JSON)."""
    (err if as_json else out).print(f"wrote {escape(one_line(path))}")


def hint(command: str, *, as_json: bool = False) -> None:
    """Name the next sensible command."""
    (err if as_json else out).print(f"[dim]next: {escape(one_line(command))}[/dim]")


def progress() -> Progress:
    """A progress bar on stderr; silent when stderr is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
