"""Errors become exit codes; stdout belongs to results."""

import contextlib
import errno
import importlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.cells import cell_len
from rich.text import Text

from ufafuse.runtime import console
from ufafuse.runtime.errors import BackendError, CheckFailed, InputError, ModelError
from ufafuse.runtime.stream.opening import all_opened
from ufafuse.runtime.stream.sources.push import PushSource

NOT_HERE = "ufafuse runs on Linux: on Windows, install and run it inside WSL."


@pytest.mark.parametrize(
    ("error", "code"), [(InputError("no\n  such [file]"), 2), (ModelError("broken"), 2), (CheckFailed("short"), 1)]
)
def test_one_line_and_a_code(error, code, capsys):
    with pytest.raises(typer.Exit) as stopped, console.run():
        raise error
    assert stopped.value.exit_code == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err == f"error: {' '.join(str(error).split())}\n"


def test_json_gets_the_error_too(capsys):
    with pytest.raises(typer.Exit), console.run(as_json=True):
        raise InputError("wrong")
    assert json.loads(capsys.readouterr().out) == {"ok": False, "error": "wrong"}


def test_an_interrupt(capsys):
    with pytest.raises(typer.Exit) as stopped, console.run():
        raise KeyboardInterrupt
    assert stopped.value.exit_code == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize("said", [False, True])
def test_an_interrupt_in_json_is_the_one_object(said, capsys):
    with pytest.raises(typer.Exit) as stopped, console.run(as_json=True):
        if said:
            console.emit({"ok": True}, as_json=True)
        raise KeyboardInterrupt
    assert stopped.value.exit_code == 130
    assert json.loads(capsys.readouterr().out) == ({"ok": True} if said else {"ok": False, "error": "interrupted"})


def test_a_signal_in_an_extensions_import(capsys):
    with pytest.raises(typer.Exit) as stopped, console.run(as_json=True):
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:
            raise ImportError("initialization failed") from error
    assert stopped.value.exit_code == 143
    assert json.loads(capsys.readouterr().out) == {"ok": False, "error": "ended by SIGTERM"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_modules_are_imported(number):
    program = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "class Late:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer':\n"
        f"            os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Late()); sys.argv[1:] = ['fuse', '--json']\n"
        "from ufafuse.commands.start import main; main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    said = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    assert (done.returncode, done.stderr) == (128 + number, f"{said}\n")
    assert json.loads(done.stdout) == {"ok": False, "error": said}


@pytest.mark.parametrize("as_json", [False, True])
def test_where_it_does_not_run_is_a_sentence(as_json):
    words = ["ufa", "fuse", *(["--json"] if as_json else [])]
    program = f"import os, sys; os.name, sys.argv = 'nt', {words}; from ufafuse.commands.start import main; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, f"error: {NOT_HERE}\n")
    assert done.stdout == (json.dumps({"ok": False, "error": NOT_HERE}) + "\n" if as_json else "")


@pytest.mark.parametrize("package", ["ufafuse", "ufafuse.runtime", "ufafuse.runtime.fuser"])
def test_so_is_the_import_there(package):
    program = f"import os; os.name = 'nt'; from {package} import Fuser"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == f"ImportError: {NOT_HERE}"


@pytest.mark.parametrize(
    "error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"), RuntimeError("std::bad_alloc")]
)
def test_no_memory_is_a_sentence(error, capsys):
    with pytest.raises(typer.Exit) as stopped, console.run(as_json=True):
        raise error
    assert stopped.value.exit_code == 2
    assert "memory" in json.loads(capsys.readouterr().out)["error"]


@pytest.mark.parametrize(
    "said",
    [
        "can't start new thread",  # Python
        "Check failed:\nResource temporarily unavailable",  # OpenVINO
        "thread_pool.cc:89 pthread_create failed, error code: 11",  # ONNX Runtime
    ],
)
def test_no_thread_is_a_sentence_wherever_it_is_missed(said, capsys):
    told = "the system starts no more threads"
    with pytest.raises(typer.Exit) as stopped, console.run(as_json=True):
        raise RuntimeError(said)
    assert stopped.value.exit_code == 2
    assert json.loads(capsys.readouterr().out)["error"].startswith(told)
    source = PushSource("camera")
    source.open = lambda: (_ for _ in ()).throw(RuntimeError(said))
    with pytest.raises(BackendError, match=told):
        all_opened([source], [], lambda: False)
    for engine, words in (("openvino", "_last_line"), ("onnxruntime", "_first_line")):
        pytest.importorskip(engine)
        sentence = getattr(importlib.import_module(f"ufafuse.runtime.backends.{engine}"), words)
        assert sentence(RuntimeError(said)).startswith(told)


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError), console.run():
        _ = 1 / 0


@pytest.mark.parametrize(("module", "extra"), [("ufafuse.commands.train", "train"), ("ufafuse.commands.calibrate", "export")])
def test_a_missing_package_of_an_extra(module, extra, capsys):
    scope = {"__name__": module}
    exec("def command(): import no_such_package", scope)
    with pytest.raises(typer.Exit) as stopped, console.run(as_json=True):
        scope["command"]()
    assert stopped.value.exit_code == 2
    told = capsys.readouterr()
    text = f"this command needs no_such_package, which is not installed: run pip install 'ufafuse[{extra}]'."
    assert told.err == f"error: {text}\n"
    assert json.loads(told.out) == {"ok": False, "error": text}


@pytest.mark.parametrize("module", ["elsewhere", "ufafuse.commands.fuse"])
def test_a_module_of_ours_that_is_missing_is_a_defect(module):
    scope = {"__name__": module}
    exec("def command(): import ufafuse.no_such_module", scope)
    with pytest.raises(ModuleNotFoundError), console.run():
        scope["command"]()


def test_where_things_are_printed(capsys):
    console.wrote(Path("a[b].png"))
    console.hint("ufa info")
    console.wrote(Path("c.png"), as_json=True)
    console.warn("mind [this]")
    console.emit({"ok": True}, as_json=False)
    told = capsys.readouterr()
    assert told.out == "wrote a[b].png\nnext: ufa info\n"
    assert told.err == "wrote c.png\nwarning: mind [this]\n"
    console.emit({"ok": True}, as_json=True)
    assert capsys.readouterr().out == '{"ok": true}\n'


@pytest.mark.parametrize("ends", [None, InputError("no")])
def test_what_a_library_prints_is_no_part_of_the_json(ends, capsys):
    with contextlib.suppress(typer.Exit), console.run(as_json=True):
        print("the library says what it does")  # noqa: T201 - as a library does
        if ends is not None:
            raise ends
        console.emit({"ok": True}, as_json=True)
    said = capsys.readouterr()
    assert json.loads(said.out)["ok"] is (ends is None)
    assert "the library says what it does" in said.err
    print("after it")  # noqa: T201
    assert capsys.readouterr().out == "after it\n"


def test_no_progress_bar_where_nobody_looks(capsys):
    with console.progress() as bar:
        bar.advance(bar.add_task("work", total=2))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("width", [12, 40, 80])
def test_a_sentence_breaks_between_words(width):
    text = "a sentence of many words, with /a/path/longer/than/twelve/columns.png in it, \u5199\u771f\u5199\u771f, and an end"
    lines = console.between_words(Text(text), width).plain.split("\n")
    assert " ".join(lines) == text
    assert all(cell_len(line) <= width or " " not in line for line in lines)
    assert len(lines) > 1


def test_lines_that_are_there_stay_and_short_ones_are_not_touched():
    assert console.between_words(Text("one\ntwo three"), 9).plain == "one\ntwo three"
    assert console.between_words(Text(""), 9).plain == ""


def test_a_pipe_gets_sentences_whole_and_a_terminal_in_lines(monkeypatch):
    for terminal in (False, True):
        printed = console._Console(highlight=False, soft_wrap=True, force_terminal=terminal, width=20, file=io.StringIO())
        printed.print("[red]error:[/red] a sentence that is longer than that")
        lines = re.sub(r"\x1b\[[0-9;]*m", "", printed.file.getvalue()).splitlines()
        expected = ["error: a sentence", "that is longer than", "that"]
        assert lines == (expected if terminal else [" ".join(expected)])


def test_standard_error_without_a_reader_takes_nothing_from_standard_output():
    reader, writer = os.pipe()
    os.close(reader)
    told = "console.err.print('x'); console.warn('y'); console.emit({'ok': True}, as_json=True)"
    code = f"from ufafuse.runtime import console; {told}"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writer, check=False)
    os.close(writer)
    assert (done.returncode, json.loads(done.stdout)) == (0, {"ok": True})


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A command of which Python keeps what it compiles in a folder of its own, run once: the folder, and what runs it again."""
    folder = tmp_path_factory.mktemp("compiled")
    command = [sys.executable, "-X", f"pycache_prefix={folder}", "-m", "ufafuse", "stream", "--json"]
    command += [part for side in ("--near", "--far") for part in (side, "sim:?size=96x192")]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}

    def run():
        return subprocess.run(
            [*command, "--model", "copy", "--frames", "2"],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
            timeout=60,
        )

    assert run().returncode == 0
    return folder, run


@pytest.mark.parametrize("module", ["commands/cli", "commands/stream", "runtime/stream/pipeline", "runtime/values"])
@pytest.mark.parametrize("cut", [0, 200])
def test_a_module_that_a_full_disk_cut_short_is_one_sentence(compiled, module, cut):
    """Python finds it broken at every start, and a command line library says "Aborted" of it."""
    folder, run = compiled
    (broken,) = folder.rglob(f"ufafuse/{module}.*.pyc")
    whole = broken.read_bytes()
    broken.write_bytes(whole[: 16 + cut])
    done = run()
    broken.write_bytes(whole)  # for the next case
    assert done.returncode == 2
    assert json.loads(done.stdout) == {
        "ok": False,
        "error": f"{broken} is cut short, as a full disk leaves files: delete it.",
    }
    assert len(done.stderr.splitlines()) == 1
