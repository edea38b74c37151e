"""Names of files come from anybody: what is written about them is UTF-8 in any locale, runs nothing and obeys nothing."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.runtime.models import FOLDER
from ufafuse.runtime.texts import as_utf8

NANO = ["--model", str(FOLDER / "ufa-nano.onnx"), "--backend", "onnxruntime"]
NAMES = [
    "\udcff\udc80",
    "a\nb",
    "x\x1b]0;title\x07\x9b31m",
    "<script>alert(1)<!--",
    "'\"><img src=x onerror=alert(1)>",
    "${title}%s{0}",
    "\u202egnp.exe",
    "ünï",
]


@pytest.fixture
def folder(tmp_path):
    frame = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)
    data = cv2.imencode(".png", frame)[1].tobytes()
    (tmp_path / "in").mkdir()
    for name in NAMES:
        for side in "AB":
            (tmp_path / "in" / f"{name}_{side}.png").write_bytes(data)
        (tmp_path / "st" / name).mkdir(parents=True)
        for number in range(2):
            (tmp_path / "st" / name / f"{number}.png").write_bytes(data)
    return tmp_path


def ufa(*arguments):
    done = CliRunner().invoke(build_app(), [*map(str, arguments)])
    assert done.exit_code == 0, (done.stderr, done.exception)
    return done


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
@pytest.mark.parametrize("what", [["--pairs", "in"], ["--stacks", "st"]], ids=" ".join)
def test_pages_and_notes_of_any_names(folder, monkeypatch, what):
    monkeypatch.chdir(folder)
    done = ufa("fuse", *what, "-o", "out", "--report", "pages", *NANO)
    assert "\x1b" not in done.stderr + done.stdout
    pages = list((folder / "pages").glob("*.html"))
    assert len(pages) == len(list((folder / "out").glob("*.png"))) == len(NAMES)
    for path in pages:
        page = path.read_text(encoding="utf-8")
        assert page.count("<script") == 1, "our own"
        assert "<img src=x" not in page
        assert not set(page) & {"\x07", "\x1b", "\x9b", "\u202e"}


@pytest.mark.skipif(sys.platform != "linux", reason="its locale C is of ASCII alone")
def test_what_is_written_is_utf8_where_the_locale_is_not(folder):
    environment = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    command = [
        sys.executable,
        "-m",
        "ufafuse",
        "fuse",
        "in/ünï_A.png",
        "in/ünï_B.png",
        "-o",
        "o.png",
        "--report",
        "o.html",
        *NANO,
    ]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert (folder / "o.html").read_bytes().decode("utf-8")


def test_a_text_of_any_characters_is_utf8():
    text = "".join(map(chr, range(0x3000))) + "\ud800\udcff"
    written = as_utf8(text).decode("utf-8")
    assert not set(written) & set(map(chr, (*range(9), *range(14, 32), *range(127, 160), 0x202E)))
    assert as_utf8("a\tb\r\nü 4 \u00d7 5mm") == "a\tb\r\nü 4 \u00d7 5mm".encode()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux")
def test_the_page_of_an_evaluation_of_any_names(folder, monkeypatch):
    monkeypatch.chdir(folder)
    ufa("eval", "--pairs", "in", "-o", "ev", "--methods", "lap", "--jobs", "1")
    for name in ("index.html", "report.md", "eval.csv"):
        text = (folder / "ev" / name).read_text(encoding="utf-8")
        assert "<script>alert" not in text or not name.endswith(".html")
        assert not set(text) & {"\x07", "\x1b", "\x9b", "\u202e"}
