"""Errors become exit codes; stdout belongs to results."""

import json
from pathlib import Path

import pytest
import typer

from ufafuse.runtime import console
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError


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


def test_no_progress_bar_where_nobody_looks(capsys):
    with console.progress() as bar:
        bar.advance(bar.add_task("work", total=2))
    assert capsys.readouterr().err == ""
