"""How every command talks: results on stdout, everything else on stderr, one line for an error."""

import contextlib
import errno
import importlib
import os
import re
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, cast

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from ufafuse.runtime import opencv
from ufafuse.runtime.errors import NO_THREADS, NOT_ENOUGH, BackendError, OutputError, UfaError, is_shortage, lacks_threads
from ufafuse.runtime.parameters import as_options, deep_as_options, options_of
from ufafuse.runtime.starting import cut_short
from ufafuse.runtime.texts import json_text, one_line, written_out

if TYPE_CHECKING:
    from ufafuse.runtime.progress import Bars

__all__ = ["emit", "err", "escape", "fail", "hint", "out", "plain", "progress", "run", "warn", "wrote"]


class _Console(Console):
    """Shows what a name or a message from outside would make the terminal do, instead of doing it."""

    def render_str(self, text: str, **kwargs: Any) -> Text:  # noqa: ANN401 - the library's arguments
        """As the library's, on a text without control characters."""
        return super().render_str(written_out(as_options(text, _options)), **kwargs)

    def print(self, *objects: Any, **kwargs: Any) -> None:  # noqa: ANN401 - likewise
        """As the library's, sentences broken between words where a terminal would break them anywhere.

        In a file or a pipe each stays a line. Standard error that cannot be written is no reason to end differently.

        Raises:
            OutputError: Standard output cannot be written.
        """
        if self.is_terminal and len(objects) == 1 and isinstance(objects[0], str) and "soft_wrap" not in kwargs:
            text = self.render_str(objects[0], markup=kwargs.get("markup", True))
            objects = (between_words(text, self.width),)
        try:
            super().print(*objects, **kwargs)
        except OSError as error:
            if not self.stderr:
                raise unwritten(error) from error
            _give_up(sys.stderr)

    def on_broken_pipe(self) -> None:
        """Told by the library, which would send standard output to nowhere and end the thread, whichever stream is broken."""
        if not self.stderr:
            raise  # noqa: PLE0704 - what `print` handles; we are called while it is
        _give_up(sys.stderr)


def between_words(text: Text, width: int) -> Text:
    """``text`` in lines of at most ``width`` columns; a word that is longer, such as a path, stays whole to be copied."""
    breaks, column = [], 0
    for word in re.finditer(r"\S+\s*", text.plain):
        if column and column + cell_len(word[0].rstrip()) > width:
            breaks.append(word.start())
            column = 0
        column = 0 if "\n" in word[0] else column + cell_len(word[0])
    lines = text.divide(breaks)
    for line in lines[:-1]:
        line.rstrip()
    return Text("\n").join(lines)


out = _Console(highlight=False, soft_wrap=True, emoji=False)
err = _Console(highlight=False, soft_wrap=True, emoji=False, stderr=True)

INTERRUPTED = 130
SYSTEM_ERRORS = frozenset(  # what a path or a disk does: nobody's defect
    (
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EFBIG,
        errno.EROFS,
        errno.EIO,
        errno.ENAMETOOLONG,
        errno.ELOOP,
        errno.EACCES,
        errno.ESTALE,
        errno.ENOMEM,
    )
)
_emitted: list[bool] = []  # of the command that runs: whether its JSON is out
_kept: list[TextIO] = []  # of the command that runs: standard output, where that is for its JSON alone
_options: dict[str, str] = {}  # of the command that runs, by parameter: how texts name them
_ENDINGS = (signal.SIGTERM, signal.SIGHUP)
# The extra that a folder's modules need, and a command's own.
_EXTRAS = {"train": "train", "network": "train", "export": "export", "calibration": "export", "benchmarks": "bench"}
_EXTRAS |= {f"commands.{name}": "export" for name in ("export", "verify", "calibrate")}
_EXTRAS |= {"commands.train": "train", "commands.bench": "bench"}


@contextlib.contextmanager
def run(as_json: bool = False) -> Iterator[None]:  # noqa: FBT001, FBT002 - the one flag every command hands on
    """Turn the errors of this package into exit codes.

    A `UfaError` becomes one line on stderr (with ``as_json`` also ``{"ok": false, "error": ...}`` on stdout) and its exit
    code; so does a package of one of our extras that is not installed, and an OpenCV that is missing or cannot be loaded; an
    interrupt becomes 130. SIGTERM and SIGHUP (under nohup not) end it as orderly, with nothing half-written left behind.
    A disk that is full or fails, or a path that the system refuses, is a sentence as well. Anything else is a defect of
    ours and keeps its traceback.
    """
    _options.update(_options_in_use())
    _emitted.clear()
    try:
        with _ending_orderly(), _stdout_for_json(as_json=as_json):
            yield
    except UfaError as error:
        _end(str(error), error.exit_code, as_json=as_json, cause=error)
    except (ImportError, AttributeError) as error:
        if asked := _asked_within(error):
            _interrupted(asked, as_json=as_json)
        text = opencv.sentence(error) or _sentence_of_an_extra(error)
        if text is None:
            raise
        _end(text, BackendError.exit_code, as_json=as_json, cause=error)
    except OSError as error:
        if error.errno not in SYSTEM_ERRORS:
            raise
        name = str(error.filename or "a file")
        what = f"{name if len(name) < 100 else name[:60] + '...'} cannot be written or read"
        _end(f"{what}: {error.strerror}. Mend that, and run it again.", OutputError.exit_code, as_json=as_json, cause=error)
    except (KeyboardInterrupt, _Ended) as asked:
        _interrupted(asked, as_json=as_json)
    except Exception as error:
        text = _sentence_of_a_shortage(error)
        if text is None:
            raise
        _end(text, BackendError.exit_code, as_json=as_json, cause=error)


def _sentence_of_a_shortage(error: Exception) -> str | None:
    """What is told where memory or threads run out, or where a full disk has left its mark; None of any other error."""
    if is_shortage(error):
        return f"{NOT_ENOUGH}: bound what is taken (`max_memory`), where the command has that, or free some."
    return f"{NO_THREADS}." if lacks_threads(error) else cut_short(error)


@contextlib.contextmanager
def _stdout_for_json(*, as_json: bool) -> Iterator[None]:
    """With ``--json`` nothing else is on stdout: what a library prints meanwhile, as calibrators do, goes to stderr."""
    if not as_json or _kept:
        yield
        return
    _kept.append(sys.stdout)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        _kept.clear()


def _stdout() -> TextIO:
    return _kept[0] if _kept else sys.stdout


def _asked_within(error: BaseException | None) -> "KeyboardInterrupt | _Ended | None":
    """The request for the end that an extension's import made another error of; None where it is no such error."""
    while error is not None and not isinstance(error, (KeyboardInterrupt, _Ended)):
        error = error.__cause__ or error.__context__
    return error


def _interrupted(asked: "KeyboardInterrupt | _Ended", *, as_json: bool) -> NoReturn:
    interrupted(f"ended by {asked.number.name}" if isinstance(asked, _Ended) else "interrupted", as_json=as_json)
    raise typer.Exit(128 + asked.number if isinstance(asked, _Ended) else INTERRUPTED) from asked


def interrupted(text: str, *, as_json: bool) -> None:
    """Say that a run was ended: on stderr, and with ``as_json`` in the one object on stdout, unless that is out already."""
    if as_json and not _emitted:
        with contextlib.suppress(OutputError):
            _echo({"ok": False, "error": text})
    err.print(text)


def context_in_use() -> Any:  # noqa: ANN401 - click's, wherever typer keeps it
    """Of the command that the command line library is running; None outside of one."""
    home = typer.Context.__mro__[1].__module__.rpartition(".")[0]  # its click: its own, or the one installed
    return importlib.import_module(f"{home}.globals").get_current_context(silent=True)


def _options_in_use() -> dict[str, str]:
    """The options of the command that runs; empty outside of one."""
    _options.clear()
    context = context_in_use()
    return {} if context is None else options_of(context.command)


class _Ended(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number)
        self.number = number


def _is_heeded(number: signal.Signals) -> bool:
    """Whether a signal asks for anything yet: not where a command has ended by it, see `counted_signals`."""
    return signal.getsignal(number) is not signal.SIG_IGN


@contextlib.contextmanager
def _ending_orderly() -> Iterator[None]:
    """Let SIGTERM and SIGHUP, the first of them, run what cleans up; commands that know more to do with them do it inside."""
    numbers = [number for number in _ENDINGS if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        numbers = []

    def end(number: int, _frame: FrameType | None) -> None:
        restore()
        raise _Ended(signal.Signals(number))

    def lost(unraisable: Any) -> None:  # noqa: ANN401 - Python's
        """It came while Python ran a callback, where no error goes any further: it is sent once more, outside of that."""
        if isinstance(unraisable.exc_value, _Ended):
            listen()
            again = threading.Timer(0.05, signal.pthread_kill, (threading.main_thread().ident, unraisable.exc_value.number))
            again.daemon = True
            again.start()
        else:
            hook(unraisable)

    def listen() -> None:
        for number in numbers:
            signal.signal(number, end)

    def restore() -> None:
        for number in filter(_is_heeded, numbers):
            signal.signal(number, signal.SIG_DFL)

    hook = sys.unraisablehook
    if numbers:
        sys.unraisablehook = lost
    listen()
    try:
        yield
    finally:
        sys.unraisablehook = hook
        restore()


def _give_up(stream: TextIO) -> None:
    """Let what a stream still holds go nowhere: at the interpreter's end it would fail again, and change the exit code."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def unwritten(error: OSError) -> Exception:
    """What to raise where standard output takes nothing: a reader that has gone is the command line's to handle."""
    _give_up(_stdout())
    if error.errno == errno.EPIPE:
        return error
    return OutputError(f"standard output cannot be written: {error.strerror}.")


def _end(text: str, code: int, *, as_json: bool, cause: Exception) -> NoReturn:
    if as_json:
        with contextlib.suppress(OutputError):
            _echo({"ok": False, "error": text})
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
    """With ``as_json`` print ``result`` as the one JSON object on stdout; otherwise nothing. Raises: OutputError."""
    if as_json:
        _echo(result)


def _echo(values: Mapping[str, Any]) -> None:
    _emitted.append(True)
    try:
        typer.echo(json_text(deep_as_options(values, _options)), file=_stdout())
    except OSError as error:
        raise unwritten(error) from error


def plain(text: str) -> None:
    """Print a text on stdout as it is: brackets of a Markdown table are no markup."""
    try:
        typer.echo(written_out(text.rstrip("\n")))
    except OSError as error:
        raise unwritten(error) from error


def wrote(path: Path, *, as_json: bool = False) -> None:
    """Name a file that was written (on stderr when stdout belongs to JSON)."""
    (err if as_json else out).print(f"wrote {escape(one_line(path))}", soft_wrap=True)


def word(value: object) -> str:
    """A path as a word of a command that can be copied into a shell: quoted where it has to be, and never an option."""
    text = str(value)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def hint(command: str, *, as_json: bool = False) -> None:
    """Name the next sensible command."""
    (err if as_json else out).print(f"[dim]next: {escape(one_line(command))}[/dim]", soft_wrap=True)


def progress() -> "Bars":
    """A progress bar on stderr; silent when stderr is no terminal."""
    if not err.is_terminal:
        return cast("Bars", Silence())
    from ufafuse.runtime.progress import Bars

    return Bars(err)


class Silence:
    """In the place of bars where nobody would see them: what they draw with takes a while to import."""

    def __enter__(self) -> "Silence":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""

    def add_task(self, *_: object, **__: object) -> Any:  # noqa: ANN401 - as `Bars`, a number
        """Nothing; a number for the others."""
        return 0

    def update(self, *_: object, **__: object) -> None:
        """Nothing."""

    def advance(self, *_: object, **__: object) -> None:
        """Nothing."""

    def remove_task(self, *_: object) -> None:
        """Nothing."""
