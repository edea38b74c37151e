"""No name and no word from outside gives orders to a terminal or forges a line of a journal."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.runtime import console
from ufafuse.runtime.texts import one_line, written_out


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain näme 写真.png", "plain näme 写真.png"),
        ("a\r\nerror: forged", "a error: forged"),
        ("\x1b[2J\x1b]0;title\x07x", r"\x1b[2J\x1b]0;title\x07x"),
        ("a\u202egnp.exe", r"a\u202egnp.exe"),
        ("b\udcff.avi", r"b\udcff.avi"),
        ("c\u2028d\x9b31m", r"c d\x9b31m"),
        (404, "404"),
    ],
)
def test_what_is_shown(text, shown):
    assert one_line(text) == shown


@given(st.text())
def test_nothing_is_obeyed(text):
    for line in (one_line(text), written_out(text, keep="")):
        assert line.isprintable() or all(character.isprintable() or character.isspace() for character in line)
        assert "\x1b" not in line
        assert "\n" not in line
        line.encode()


def test_the_console_shows_names_in_tables_and_lines(capsys):
    table = Table()
    table.add_row("x\x1b[31m.png")
    console.out.print(table)
    console.out.print("y\x1b]0;z\x07", markup=False)
    console.wrote("a\nwrote b\x1b[1A")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert r"x\x1b[31m.png" in shown
    assert shown.splitlines()[-1] == r"wrote a wrote b\x1b[1A"


def test_a_files_name_in_an_error_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(build_app(), ["fuse", "a\n\x1b[31merror: all is well.png", "b.png", "-o", "c.png"])
    assert done.exit_code == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "\x1b" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_a_files_name_that_is_no_utf8_can_be_printed():
    assert one_line(b"\xff.avi".decode("utf-8", "surrogateescape")) == r"\udcff.avi"
