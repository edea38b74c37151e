"""Files whole or not at all, beside other threads, other programs, and processes that were killed."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.images import write_image
from ufafuse.runtime.underway import sweep
from ufafuse.runtime.writing import atomic_write, check_name, check_new, write_json

HALF = (
    "import sys, time; from pathlib import Path; from ufafuse.runtime.writing import atomic_write\n"
    "with atomic_write(Path(sys.argv[1])) as temporary:\n"
    "    temporary.write_bytes(b'half'); print(temporary.name, flush=True); time.sleep(60)\n"
)


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def writing(path):
    """A process that is writing ``path``, and the name of its temporary file."""
    process = subprocess.Popen([sys.executable, "-c", HALF, path], stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().strip()


def test_other_threads_files_keep_the_umask(tmp_path):
    """The umask is the whole process's: nobody may change it, not even for a moment."""
    before = os.umask(0o077)
    try:
        over = threading.Event()

        def write():
            for number in range(300):
                write_json(tmp_path / f"ours{number % 4}.json", {})
            over.set()

        thread = threading.Thread(target=write)
        thread.start()
        modes, number = set(), 0
        while not over.is_set():
            number += 1
            handle = os.open(tmp_path / f"theirs{number % 8}", os.O_CREAT | os.O_WRONLY, 0o666)
            modes.add(os.fstat(handle).st_mode & 0o777)
            os.close(handle)
            (tmp_path / f"theirs{number % 8}").unlink()
        thread.join()
    finally:
        os.umask(before)
    assert modes == {0o600}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("ours*")} == {0o600}


class TestSomeoneElseWasFaster:
    @pytest.mark.parametrize("links", [True, False])
    def test_what_came_meanwhile_stays(self, tmp_path, monkeypatch, links):
        if not links:
            monkeypatch.setattr(os, "link", self.no_links)
        with pytest.raises(OutputError, match="exists already"), atomic_write(tmp_path / "x.bin") as temporary:
            temporary.write_bytes(b"ours")
            (tmp_path / "x.bin").write_bytes(b"theirs")
        assert (tmp_path / "x.bin").read_bytes() == b"theirs"
        assert names_in(tmp_path) == ["x.bin"]

    @staticmethod
    def no_links(source, target):
        raise PermissionError(1, "Operation not permitted")  # as FAT says it

    @pytest.mark.parametrize("force", [True, False])
    def test_without_hard_links(self, tmp_path, monkeypatch, force):
        monkeypatch.setattr(os, "link", self.no_links)
        with atomic_write(tmp_path / "x.bin", force=force) as temporary:
            temporary.write_bytes(b"ours")
        assert (tmp_path / "x.bin").read_bytes() == b"ours"
        assert names_in(tmp_path) == ["x.bin"]

    def test_a_link_to_nowhere_is_something(self, tmp_path):
        (tmp_path / "x.bin").symlink_to(tmp_path / "nothing")
        with pytest.raises(OutputError, match="exists already"), atomic_write(tmp_path / "x.bin"):
            pass

    def test_one_of_many_wins(self, tmp_path):
        won, lost = [], []
        begin = threading.Barrier(8)

        def write(number):
            try:
                with atomic_write(tmp_path / "x.bin") as temporary:
                    temporary.write_bytes(bytes([number]))
                    begin.wait()
                won.append(number)
            except OutputError:
                lost.append(number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(won), len(lost)) == (1, 7)
        assert (tmp_path / "x.bin").read_bytes() == bytes(won)


class TestLongNames:
    @pytest.mark.parametrize("length", range(240, 256))
    def test_every_possible_name_can_be_written(self, tmp_path, length):
        name = "n" * (length - 4) + ".png"
        write_image(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
        assert names_in(tmp_path) == [name]

    @pytest.mark.parametrize("name", ["n" * 252 + ".png", "ä" * 126 + ".png", "n." + "s" * 254])
    def test_an_impossible_one_is_refused_before_the_work(self, tmp_path, name):
        with pytest.raises(OutputError, match=r"255 are possible: shorten it|has the suffix"):
            write_image(tmp_path / name, np.zeros((4, 4, 3), np.uint8))
        with pytest.raises(OutputError, match="255 are possible"), atomic_write(tmp_path / name):
            pytest.fail("the work was begun")

    def test_room_for_a_report_beside_it(self, tmp_path):
        check_name(tmp_path / ("n" * 245 + ".onnx"), beside=".json")
        with pytest.raises(OutputError, match=r"nnn\.\.\.\.json beside it has 256 bytes"):
            check_new(tmp_path / ("n" * 246 + ".onnx"), force=True, beside=".json")

    def test_a_long_suffix_is_no_part_of_the_temporary_name(self, tmp_path):
        with atomic_write(tmp_path / ("n." + "s" * 200)) as temporary:
            temporary.write_bytes(b"")

    def test_the_command_says_so_before_it_loads_anything(self, tmp_path):
        examples = Path(__file__).resolve().parents[2] / "examples"
        frames = [str(examples / f"sample_{side}.png") for side in "AB"]
        done = CliRunner().invoke(build_app(), ["fuse", *frames, "-o", str(tmp_path / ("n" * 300 + ".png"))])
        assert done.exit_code == 2, done.stderr
        assert "shorten it" in done.stderr


class TestKilled:
    def test_what_a_killed_process_left_is_swept_by_the_next_one(self, tmp_path):
        process, left = writing(tmp_path / "x.bin")
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert names_in(tmp_path) == [left]
        program = HALF.split("    ", maxsplit=1)[0] + "    pass"
        subprocess.run([sys.executable, "-c", program, tmp_path / "y.bin"], check=True)
        assert names_in(tmp_path) == ["y.bin"]

    def test_what_a_living_one_writes_is_not(self, tmp_path):
        process, under_way = writing(tmp_path / "x.bin")
        os.utime(tmp_path / under_way, (0, 0))
        sweep(tmp_path)
        assert names_in(tmp_path) == [under_way]
        process.kill()
        process.wait()
        sweep(tmp_path)
        assert names_in(tmp_path) == []

    def test_other_files_and_links_stay(self, tmp_path):
        outside = tmp_path / "outside"
        outside.write_bytes(b"kept")
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / ".ufafuse-link").symlink_to(outside)
        (folder / ".hidden").touch()
        sweep(folder)
        sweep(tmp_path / "missing")
        assert outside.read_bytes() == b"kept"
        assert (folder / ".hidden").exists()
