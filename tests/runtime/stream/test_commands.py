"""`ufa stream` as its users meet it; where signals come in, in a process of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import cv2
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.commands.quantities import duration_from
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.fusion import Fusion
from ufafuse.runtime.stream.drawn_numbers import read_number
from ufafuse.runtime.stream.messages import NEAR, SIDES
from ufafuse.runtime.stream.sinks import MatroskaSink, sink_from_text
from ufafuse.runtime.stream.sources import VideoFileSource, source_from_text

UFA = [sys.executable, "-c", "from ufafuse.commands.cli import main; main()", "stream"]
COPY = ["--model", "copy"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def sim(**parameters):
    text = "sim:?size=96x192&rate=60" + "".join(f"&{key}={value}" for key, value in parameters.items())
    return ["--near", text, "--far", text]


def ufa(*arguments):
    """Run the command in this process: as in one of its own, but without a second for the start."""
    return CliRunner().invoke(build_app(), ["stream", *arguments])


def started(*arguments):
    return subprocess.Popen([*UFA, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def wait_for_frames(path, frames):
    """Until the file that another process writes shows so many frames."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if path.exists() and path.read_bytes().count(b"\xff\xd8\xff") >= frames:
            return
        time.sleep(0.05)
    pytest.fail(f"{path} did not grow")


def assert_adds_up(summary):
    for side in range(2):
        assert summary["frames_in"][side] == summary["fused"] + summary["dropped"] + summary["unmatched_by_side"][side]


def test_the_json_contract():
    done = ufa(*sim(), *COPY, "--frames", "20", "--json")
    assert done.exit_code == 0, done.stderr
    summary = json.loads(done.stdout)
    assert {"ok", "backend", "frames_in", "fused", "dropped", "unmatched", "latency_ms", "fps", "seconds"} <= summary.keys()
    assert summary["latency_ms"].keys() == {"p50", "p95", "p99"}
    assert (summary["ok"], summary["backend"], summary["fused"]) == (True, "copy", 20)
    assert_adds_up(summary)


def test_people_get_a_table_and_the_files_names(tmp_path):
    done = ufa(*sim(), *COPY, "--frames", "5", "--out", str(tmp_path / "x.mkv"))
    assert done.exit_code == 0, done.stderr
    assert re.search(r"fused\s*│ 5 ", done.stdout)
    assert f"wrote {tmp_path / 'x.mkv'}" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "--near is missing"),
        (["--near", "sim:"], "--far is missing"),
        (["--near", "sim:", "--alternating", "sim:"], "stands for both"),
        (["--near", "missing.mp4", "--far", "sim:"], "no file, folder, camera or URL"),
        (["--near", "sim:?rat=5", "--far", "sim:"], "known here are"),
        ([*sim(), "--max-skew", "wide"], "--max-skew wide is no time"),
        ([*sim(), "--out", "x.mov"], "videos end in"),
        ([*sim(), "--out", "missing/x.mkv"], "mkdir -p missing"),
        ([*sim(), "--view", "0.0.0.0:0"], "--token"),
        ([*sim(), "--view", "port"], "no port"),
        ([*sim(), "--json", "--out", "-"], "standard output"),
        ([*sim(), "--pair-by", "number"], "two folders"),
        ([*sim(), "--give-up", "-1"], "--give-up -1"),
        (["--near", ".", "--far", "sim:"], "folders for both sides"),
        # What would do nothing.
        ([*sim(), "--swap"], "--swap is for one camera"),
        ([*sim(), "--alternate-by", "sharpness"], "--alternate-by is for one camera"),
        ([*sim(), "--planes", "3"], "--planes is for one camera"),
        (["--alternating", "sim:", "--pair-by", "number"], "are for two sources"),
        (["--alternating", "sim:", "--far-offset", "3"], "are for two sources"),
        ([*sim(), "--align-every", "2"], "--align-every is about registered frames: add --align"),
        ([*sim(), "--quality", "80"], "--quality is for JPEG"),
        ([*sim(), "--quality", "80", "--out", "x.avi"], "--quality is for JPEG"),
        ([*sim(), "--fps", "10", "--out", "x.mkv"], "--fps is for videos in .avi and .mp4"),
        ([*sim(), "--segment", "5", "--out", "pictures"], "--segment is for videos"),
        ([*sim(), "--mqtt", "mqtt://localhost/x"], "such as --alarm usual"),
        ([*sim(), "--log", "x.mkv", "--out", "x.mkv"], "two results would be written"),
        ([*sim(), "--out", "d/*.png", "--map", "d"], "two results would be written"),
        ([*sim(), "--out", "-", "--map", "-"], "two results would be written to standard output"),
        ([*sim(), "--map", "d", "--out", "https://localhost:1"], "served as plain http"),
        # What does not fit the frames.
        ([*sim(), "--white", "100"], "--white 100 is the level of 16-bit frames"),
        ([*sim(), "--bayer", "rggb"], "have colour already, and are no Bayer mosaic"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(arguments, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = ufa(*arguments, *COPY)
    assert done.exit_code == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert part in lines[0]


@pytest.fixture
def sources(tmp_path, monkeypatch, numbered_picture):
    """Two folders of frames and a recording, with other names for what is in them."""
    monkeypatch.chdir(tmp_path)
    for folder in ("n", "f"):
        (tmp_path / folder).mkdir()
        for number in range(2):
            cv2.imwrite(f"{folder}/{number:08d}.png", numbered_picture(number, NEAR))
    assert ufa("--near", "n", "--far", "f", *COPY, "--frames", "2", "--out", "v.mkv").exit_code == 0
    for name, meant in (("hard.mkv", "v.mkv"), ("log.jsonl", "n/00000001.png")):
        (tmp_path / name).hardlink_to(tmp_path / meant)
    for name, meant in (("soft.mkv", "v.mkv"), ("linked", "n")):
        (tmp_path / name).symlink_to(meant)
    return tmp_path


FOLDERS = ["--near", "n", "--far", "f"]
RECORDING = ["--near", "v.mkv", "--far", "sim:?size=96x192"]


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize(
    "arguments",
    [
        [*FOLDERS, "--out", "n"],
        [*FOLDERS, "--out", "linked/*.jpg"],
        [*FOLDERS, "--out", "out", "--map", "f"],
        [*FOLDERS, "--depth", "f"],
        [*FOLDERS, "--log", "n/00000000.png"],
        [*FOLDERS, "--log", "log.jsonl"],
        *([*RECORDING, option, name] for option in ("--out", "--log") for name in ("v.mkv", "hard.mkv", "soft.mkv")),
        ["--alternating", "v.mkv", "--out", "v.mkv", "--segment", "5"],
    ],
)
def test_no_result_is_written_to_what_is_read(sources, arguments, force):
    before = {path: path.read_bytes() for path in sources.rglob("*") if path.is_file()}
    done = ufa(*arguments, *COPY, *force, "--frames", "1")
    assert done.exit_code == 2, done.stdout
    assert "belongs to what is read" in done.stderr
    assert {path: path.read_bytes() for path in sources.rglob("*") if path.is_file()} == before


def test_a_later_part_of_a_recording_passes_over_one_that_is_read(sources):
    (sources / "v.mkv").rename("x-2.mkv")
    sink = MatroskaSink(sources / "x.mkv", segment=1, force=True)
    sink.spares = VideoFileSource(sources / "x-2.mkv").reads
    sink.outputs = [sources / "x.mkv"]
    assert sink._next_path() == sources / "x-3.mkv"


def test_a_pattern_that_takes_no_result_leaves_its_folder_to_them(sources):
    done = ufa("--near", "n/*0.png", "--far", "f", *COPY, "--frames", "1", "--out", "n/*.jpg")
    assert done.exit_code == 0, done.stderr


def test_frames_that_do_not_go_together_are_the_error(sources, numbered_picture):
    for number in range(2):
        cv2.imwrite(f"f/{number:08d}.png", numbered_picture(number, NEAR)[..., 0])
    done = ufa(*FOLDERS, *COPY, "--idle", "0.2", "--json")
    assert done.exit_code == 1
    assert "near is 96x192 uint8 colour, far is 96x192 uint8 grey" in json.loads(done.stdout)["error"]


def test_a_run_that_is_started_again_has_a_log_of_its_own(sources):
    done = ufa(*FOLDERS, *COPY, "--frames", "2", "--log", "run-%Y.jsonl", "--json")
    assert done.exit_code == 0, done.stderr
    (log,) = sources.glob("run-2*.jsonl")
    assert [json.loads(line)["frames"] for line in log.read_text().splitlines()] == [[0, 0], [1, 1]]


def test_one_folder_for_both_sides_is_told(sources):
    done = ufa("--near", "n", "--far", "n", *COPY, "--frames", "1")
    assert "each frame is fused with itself" in done.stderr


def test_times_that_cannot_be_compared_are_told_at_the_start(sources):
    done = ufa("--near", "v.mkv", "--far", "f", *COPY)
    assert done.exit_code == 2
    assert "v.mkv has times that begin at 0 and f has the times of its files" in done.stderr


def test_a_run_that_pairs_nothing_fails_and_says_what_to_do():
    near, far = "sim:?size=96x192&rate=20", "sim:?size=96x192&rate=20&jitter=20&seed=3"
    done = ufa("--near", near, "--far", far, *COPY, "--max-skew", "0.0001ms", "--seconds", "1", "--json")
    assert done.exit_code == 1
    summary = json.loads(done.stdout)
    assert not summary["ok"]
    assert re.search(r"the nearest were [\d.]+ ms apart. Try --max-skew \d+", summary["error"])
    assert_adds_up(summary)


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_the_video_and_ends_well(tmp_path, pictures_of, signal_number):
    path = tmp_path / "x.mkv"
    process = started(*sim(), *COPY, "--out", str(path), "--json")
    wait_for_frames(path, 40)
    process.send_signal(signal_number)
    output, errors = process.communicate(timeout=40)
    assert process.returncode == 0, errors
    summary = json.loads(output)
    assert summary["ok"]
    assert "stopping" in errors
    numbers = [read_number(picture, NEAR) for picture in pictures_of(path)]
    assert len(numbers) == summary["written"] == summary["fused"] > 30
    assert numbers == sorted(numbers)
    assert_adds_up(summary)


def test_a_killed_run_leaves_a_video_that_plays(tmp_path, pictures_of):
    path = tmp_path / "x.mkv"
    process = started(*sim(), *COPY, "--out", str(path))
    wait_for_frames(path, 60)
    process.kill()
    process.communicate(timeout=40)
    numbers = [read_number(picture, NEAR) for picture in pictures_of(path)]
    assert len(numbers) >= 40
    # All but the last picture must be there: each one is handed to the operating system before the next is taken.
    last_complete = path.read_bytes().count(b"\xff\xd9")
    assert len(numbers) >= last_complete - 1
    assert None not in numbers[:-1]


def test_a_file_that_a_kill_would_destroy_is_announced(tmp_path):
    done = ufa(*sim(), *COPY, "--frames", "3", "--out", str(tmp_path / "x.mp4"), "--json")
    assert done.exit_code == 0, done.stderr
    assert "kill -9 costs all of it" in " ".join(done.stderr.split())
    assert ["caution" in event for event in json.loads(done.stdout)["events"]] == [True]


def test_a_network_is_warm_before_the_first_frame_is_read():
    fused, prepared = [], []

    class Network:
        backend, precision, model, why = "none", "fp32", "x.onnx", "asked for"

        def __init__(self, model, **options):
            pass

        def fuse(self, near, far):
            fused.append((near.shape, int(near.max())))
            return near

        def fuse_pair(self, near, far, **_options):
            return Fusion(self.fuse(near, far), None, None)

        def prepare(self, size):
            prepared.append((size, len(fused)))

        def close(self):
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ufafuse.runtime.stream.live_fuser.Fuser", Network)
        done = ufa(*sim(), "--frames", "2", "--json")
    assert done.exit_code == 0, done.stderr
    assert fused[0] == fused[1] == ((96, 192, 3), 0)
    assert prepared == [((96, 192), 1), ((96, 192), 2)]
    assert [level for _, level in fused[2:]] == [255] * json.loads(done.stdout)["fused"]


def test_registration_is_told_and_kept_in_the_summary():
    arguments = ["--near", "sim:?size=240x320&rate=30&defocus=2", "--far", "sim:?size=240x320&rate=30&defocus=2"]
    done = ufa(*arguments, *COPY, "--align", "translation", "--frames", "5", "--json")
    assert done.exit_code == 0, done.stderr
    summary = json.loads(done.stdout)
    assert "alignment" in summary
    assert sum("registered" in event for event in summary["events"]) == 1


def test_an_alternating_camera():
    camera = "sim:?size=240x320&rate=60&focus=alternate&speed=2"
    done = ufa("--alternating", camera, "--alternate-by", "sharpness", *COPY, "--frames", "10", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["fused"] == 10


def test_videos_are_fused_whole_and_at_their_own_speed_when_asked(tmp_path, numbered_picture):
    paths = [tmp_path / f"{side}.avi" for side in SIDES]
    for side, path in enumerate(paths):
        writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 20, (192, 96))
        for number in range(20):
            writer.write(numbered_picture(number, side))
        writer.release()
    videos = ["--near", str(paths[0]), "--far", str(paths[1]), *COPY, "--json"]
    fast = json.loads(ufa(*videos).stdout)
    assert (fast["fused"], fast["dropped"], fast["unmatched"], fast["when_late"]) == (20, 0, 0, "block")
    slow = json.loads(ufa(*videos, "--realtime").stdout)
    assert slow["seconds"] >= 0.95
    assert slow["when_late"] == "drop-oldest"
    assert slow["frames_in"] == [20, 20]
    assert_adds_up(slow)


def test_the_page_is_served_and_its_token_comes_from_the_environment():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*UFA, *sim(), *COPY, "--view", f"127.0.0.1:{port}", "--seconds", "20", "-q"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**ENVIRONMENT, "UFAFUSE_TOKEN": "secret-1"},
    )
    assert f"live at http://127.0.0.1:{port}/" in process.stderr.readline()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics?token=secret-1", timeout=5) as answer:
        assert b"ufafuse_pairs_fused_total" in answer.read()
    process.terminate()
    process.communicate(timeout=40)
    assert process.returncode == 0


def test_systemd_hears_of_it(tmp_path):
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address)
        channel.settimeout(30)
        environment = {**ENVIRONMENT, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "5000000"}
        process = subprocess.Popen(
            [*UFA, *sim(), *COPY, "--seconds", "20"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert channel.recv(1000) == b"READY=1"
        state = channel.recv(1000).decode()
        assert state.startswith("WATCHDOG=1\nSTATUS=in ")
        process.terminate()
        while (state := channel.recv(1000)) != b"STOPPING=1":
            assert state.startswith(b"WATCHDOG=1")
        process.communicate(timeout=40)
    assert process.returncode == 0


@pytest.mark.parametrize(("text", "seconds"), [("20", 0.02), ("20ms", 0.02), ("0.02s", 0.02), ("0", 0.0), ("1e1", 0.01)])
def test_times_are_milliseconds_unless_they_say_otherwise(text, seconds):
    assert duration_from("--max-skew", text) == pytest.approx(seconds)


def test_an_empty_name_is_none():
    with pytest.raises(InputError, match="`near` is empty: give a camera"):
        source_from_text("", NEAR)
    with pytest.raises(InputError, match="`out` is empty: name a file, a folder or an address, or none"):
        sink_from_text("")


@pytest.mark.parametrize("text", ["", "s", "-5", "nan", "20 min"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InputError, match="is no time"):
        duration_from("--max-skew", text)


def test_an_offset_may_be_negative():
    assert duration_from("--far-offset", "-40", negative=True) == pytest.approx(-0.04)
