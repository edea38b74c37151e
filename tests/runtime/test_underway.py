"""Files of one run appear together, or none of them does; what was there before is not lost."""

import contextlib
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ufafuse.runtime import underway
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.underway import sweep
from ufafuse.runtime.writing import atomic_write, make_folder, together, write_text


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").is_dir() else 0


def test_they_get_their_names_at_the_end(tmp_path):
    with together() as files:
        write_text(tmp_path / "a", "1")
        make_folder(tmp_path / "below" / "here")
        write_text(tmp_path / "below" / "here" / "b", "2")
        assert not (tmp_path / "a").exists()
        assert files.now_at(tmp_path / "a").read_text() == "1"
    assert files_in(tmp_path) == ["a", "below", "below/here", "below/here/b"]


@pytest.mark.parametrize("error", [InputError("bad"), KeyboardInterrupt()])
def test_or_none_of_them_and_no_folder_either(tmp_path, error):
    (tmp_path / "old").write_text("before")
    with contextlib.suppress(InputError, KeyboardInterrupt), together():
        write_text(tmp_path / "a", "1")
        write_text(tmp_path / "old", "after", force=True)
        make_folder(tmp_path / "made" / "here")
        write_text(tmp_path / "made" / "here" / "b", "2")
        raise error
    assert files_in(tmp_path) == ["old"]
    assert (tmp_path / "old").read_text() == "before"


def test_one_whose_name_is_taken_at_the_last_moment_undoes_the_others(tmp_path):
    (tmp_path / "old").write_text("before")
    with pytest.raises(OutputError, match="b exists already"), together():
        write_text(tmp_path / "a", "1")
        write_text(tmp_path / "old", "after", force=True)
        write_text(tmp_path / "b", "2")
        (tmp_path / "b").write_text("theirs")
    assert files_in(tmp_path) == ["b", "old"]
    assert [(tmp_path / name).read_text() for name in ("b", "old")] == ["theirs", "before"]


def test_what_replaces_a_link_to_nowhere_is_undone_too(tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to("nowhere")
    put, count = underway.put, []

    def full_at_the_second(*given, **how):
        count.append(given)
        if len(count) > 1:
            raise OSError(28, "No space left on device")
        put(*given, **how)

    monkeypatch.setattr(underway, "put", full_at_the_second)
    with pytest.raises(OutputError, match="b cannot be written: No space"), together():
        write_text(tmp_path / "link", "x", force=True)
        write_text(tmp_path / "b", "y")
    assert files_in(tmp_path) == ["link"]
    assert (tmp_path / "link").readlink() == Path("nowhere")


def test_a_block_within_belongs_to_the_one_around_it(tmp_path):
    with contextlib.suppress(InputError), together():
        with together():
            write_text(tmp_path / "a", "1")
        assert not (tmp_path / "a").exists()
        raise InputError("bad")
    assert files_in(tmp_path) == []


def test_what_is_kept_for_later_is_no_result(tmp_path):
    with contextlib.suppress(InputError), together():
        with underway.apart():
            write_text(tmp_path / "kept", "1")
        write_text(tmp_path / "a", "1")
        raise InputError("bad")
    assert files_in(tmp_path) == ["kept"]


def test_another_thread_names_its_own(tmp_path):
    with contextlib.suppress(InputError), together() as files:
        for wanted in ("alone", "with"):

            def write(name=wanted):
                with files.entered() if name == "with" else contextlib.nullcontext():
                    write_text(tmp_path / name, name)

            thread = threading.Thread(target=write)
            thread.start()
            thread.join()
        raise InputError("bad")
    assert files_in(tmp_path) == ["alone"]


def test_more_files_than_may_be_open(tmp_path):
    with together():
        before = open_files()
        for number in range(20):
            with atomic_write(tmp_path / str(number)) as temporary:
                temporary.write_bytes(b"x")
        assert open_files() <= before + 1
    assert len(files_in(tmp_path)) == 20


def test_what_a_killed_run_left_is_swept_and_what_a_living_one_has_is_not(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from ufafuse.runtime.writing import together, write_text\n"
        "with together():\n"
        "    write_text(Path(sys.argv[1]) / 'a', 'x'); print('', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE)
    process.stdout.readline()
    sweep(tmp_path)
    assert len(files_in(tmp_path)) == 2  # the hidden folder and the file in it
    process.send_signal(signal.SIGKILL)
    process.wait()
    sweep(tmp_path)
    assert files_in(tmp_path) == []
