"""No name and no word from outside gives orders to a terminal or forges a line of a journal."""

import errno
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.runtime import console
from ufafuse.runtime.artefact import write_json
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.models import FOLDER
from ufafuse.runtime.texts import few_of_a_kind, json_text, one_line, usable_by_c, written_out

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


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


class TestJson:
    def test_what_is_not_finite_is_null(self):
        values = {"a": [math.nan, 1.5, {"b": math.inf}], "c": (np.float64("-inf"), np.float64(2), True, None, "nan"), "d": 3}
        assert json.loads(json_text(values)) == {"a": [None, 1.5, {"b": None}], "c": [None, 2.0, True, None, "nan"], "d": 3}

    def test_files_have_a_line_for_each_row(self):
        values = {
            "ok": True,
            "size": [2, 3],
            "of": {"x": {"y": [1]}, 3: {}},
            "rows": [{"a": {"b": [1]}}, {"a": None}],
            "no": [],
        }
        text = json_text(values, lines=True)
        assert json.loads(text) == {**values, "of": {"x": {"y": [1]}, "3": {}}}
        assert text.splitlines()[1:9] == [
            '  "ok": true,',
            '  "size": [2, 3],',
            '  "of": {',
            '    "x": {"y": [1]},',
            '    "3": {}',
            "  },",
            '  "rows": [',
            '    {"a": {"b": [1]}},',
        ]

    def test_every_reader_takes_it(self, tmp_path):
        write_json(tmp_path / "x.json", {"psnr": math.nan})
        assert json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail) == {"psnr": None}


class TestForC:
    @pytest.mark.parametrize("name", [b"\xff.avi", b"a\xc3", b"\xed\xa0\x80"])
    def test_bytes_that_are_no_utf8_are_refused(self, name):
        with pytest.raises(InputError, match=r"`out=.*` holds bytes that are no UTF-8"):
            usable_by_c(name.decode("utf-8", "surrogateescape"), "out")
        with pytest.raises(InputError):
            usable_by_c("a\0b")
        assert usable_by_c("näme 写真.avi") == "näme 写真.avi"


UFA = [sys.executable, "-c", "from ufafuse.commands.cli import main; main()"]
SIM = ["--near", "sim:?size=96x192", "--far", "sim:?size=96x192", "--model", "copy", "--frames", "3"]


def ufa(*arguments, **kwargs):
    return subprocess.run(
        [*UFA, *arguments], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=120, check=False, **kwargs
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["stream", *SIM, "--out", b"\xff.avi"],
        ["stream", *SIM, "--out", b"\xff.mp4"],
        ["stream", "--near", b"rtsp://127.0.0.1:9/\xff", "--far", "sim:", "--model", "copy"],
        ["stream", "--near", b"/dev/video\xff", "--far", "sim:", "--model", "copy"],
        ["stream", "--near", b"\xff.mp4", "--far", "sim:", "--model", "copy"],
        ["fuse", "a.png", "b.png", "-o", "c.png", "--model", b"\xff.onnx", "--backend", "onnxruntime"],
    ],
    ids=repr,
)
def test_what_c_cannot_take_is_one_sentence(tmp_path, arguments):
    (tmp_path / "\udcff.mp4").write_bytes(b"no video")
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes((EXAMPLES / "sample_A.png").read_bytes())
    (tmp_path / "\udcff.onnx").write_bytes((FOLDER / "ufa-nano.onnx").read_bytes())
    done = ufa(*arguments, cwd=tmp_path, stdout=subprocess.PIPE)
    lines = done.stderr.decode().strip().splitlines()
    assert done.returncode == 2, lines
    assert len(lines) == 1, lines
    assert lines[0].startswith("error: ")


@pytest.mark.parametrize(
    "given", ["size=100000x100000", "size=5000x1000000", "count=inf", "stall=nan:nan", "resize=1:99999x99999"]
)
def test_what_cannot_be_simulated_is_one_sentence(given):
    done = CliRunner().invoke(build_app(), ["stream", "--near", f"sim:?{given}", "--far", "sim:", "--model", "copy"])
    assert done.exit_code == 2, done.exception
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("error: ")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize(
    "arguments",
    [
        ["stream", *SIM, "--json"],
        ["stream", *SIM],
        ["info", "--json"],
        ["models"],
        ["--version"],
        ["--help"],
        ["fuse", "--help"],
    ],
)
def test_a_full_standard_output_is_one_sentence(arguments):
    with Path("/dev/full").open("wb") as full:
        done = ufa(*arguments, stdout=full)
    assert done.returncode == 2
    assert done.stderr.decode().strip().splitlines()[-1] == "error: standard output cannot be written: No space left on device."
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
@pytest.mark.parametrize(
    "arguments", [["nosuch"], ["fuse", "--nosuch", "--json"], ["fuse", "no.png", "no.png", "-o", "x.png", "--json"]]
)
def test_an_error_is_told_where_standard_output_is_full(arguments):
    with Path("/dev/full").open("wb") as full:
        done = ufa(*arguments, stdout=full)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith(b"error: no")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_standard_error_changes_no_exit_code():
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*UFA, "fuse", "no.png", "no.png", "-o", "x.png"], stderr=full, stdout=subprocess.PIPE, check=False
        )
    assert done.returncode == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_that_ends_a_command_leaves_nothing_half_written(tmp_path, number):
    program = (
        "import time; from pathlib import Path\n"
        "from ufafuse.runtime import console; from ufafuse.runtime.artefact import atomic_write\n"
        "with console.run():\n"
        "    with atomic_write(Path('x.png')) as temporary:\n"
        "        temporary.write_bytes(b'half'); print('writing', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "writing\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"ended by {number.name}" in errors
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_comes_while_something_is_taken_down_is_not_lost():
    """Once in fifty tries it came while a library was imported, in a callback, and `ufa export` went on."""
    program = (
        "import os, signal, time\n"
        "from ufafuse.runtime import console\n"
        "class Going:\n"
        "    def __del__(self):\n"
        "        os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.01)\n"
        "with console.run():\n"
        "    Going(); time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    assert "ended by SIGTERM" in done.stderr
    assert "ignored" not in done.stderr


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES])
def test_a_disk_that_fails_anywhere_is_one_sentence(capsys, code):
    with pytest.raises(typer.Exit) as ended, console.run():
        raise OSError(code, os.strerror(code), "log.csv")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err.startswith(f"error: log.csv cannot be written or read: {os.strerror(code)}.")
    with pytest.raises(ChildProcessError), console.run():
        raise ChildProcessError(errno.ECHILD, "No child processes")


@pytest.mark.parametrize(
    "arguments", [("fuse", "{}", "{}", "-o", "o.png"), ("info", "{}"), ("fuse", "--pairs", "{}", "-o", "o")]
)
def test_a_name_that_no_file_can_have_is_one_sentence(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(build_app(), [argument.format("n" * 300 + ".png") for argument in arguments])
    assert done.exit_code == 2, done.exception
    assert len(done.stderr.strip().splitlines()) == 1
    assert "name too long" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["fuse", "loop.png", "{b}", "-o", "o.png"],
        ["fuse", "{a}", "{b}", "-o", "loop.png"],
        ["fuse", "{a}", "{b}", "-o", "o.png", "--map", "loop.png"],
        ["fuse", "{a}", "{b}", "-o", "o.png", "--model", "loop.onnx"],
        ["fuse", "--pairs", "loop.csv", "-o", "out"],
        ["stream", *SIM, "--out", "loop.mkv", "--log", "loop.jsonl"],
        ["info", "loop.onnx"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("target", ["", "nowhere"])
def test_links_that_go_round_in_a_circle_or_nowhere_are_one_sentence(tmp_path, monkeypatch, arguments, target):
    monkeypatch.chdir(tmp_path)
    for suffix in ("png", "onnx", "csv", "mkv", "jsonl"):
        (tmp_path / f"loop.{suffix}").symlink_to(target or f"loop.{suffix}")
    frames = {side.lower(): EXAMPLES / f"sample_{side}.png" for side in "AB"}
    done = CliRunner().invoke(build_app(), [argument.format(**frames) for argument in arguments])
    assert done.exit_code == 2, done.exception
    assert [line.startswith("error: ") for line in done.stderr.strip().splitlines()].count(True) == 1, done.stderr
    assert all(path.is_symlink() for path in tmp_path.iterdir()), "nothing was written, nor where a link leads"


def test_warnings_of_a_kind_do_not_bury_the_others():
    left_out = [f"board: /shots/{n:02}.jpg was left out: it cannot be registered (by {n} pixels)." for n in range(20)]
    spread = [f"{engine} at 64x64: its runs spread by {n} %." for n, engine in enumerate(("a", "b (fp32)", "c"))]
    found = few_of_a_kind([left_out[0], *spread, *left_out[1:], "the end"])
    assert found == [*left_out[:2], f"{left_out[2]} (17 more of this kind: all are in the JSON)", *spread, "the end"]
    assert few_of_a_kind([]) == []
