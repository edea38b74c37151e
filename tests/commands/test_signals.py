"""Whoever asks for the end of a long run again and again has its result and its exit code."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

SIM = "sim:?size=96x160&rate=20"
STREAM = ["stream", "--near", SIM, "--far", SIM, "--model", "copy", "--alarm", "latency_ms>=0", "--on-alarm", "exec sleep 3"]
RUNS = {
    "stream": (STREAM, 1, "alarm: latency_ms>=0 ("),
    "serve": (["serve", "--port", "127.0.0.1:0", "--model", "ufa-nano"], 0, "serving at"),
}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("command", list(RUNS))
def test_the_result_is_told_however_often_the_end_is_asked_for(command, number, tmp_path):
    if command == "serve":
        pytest.importorskip("prometheus_client")
    arguments, code, begun = RUNS[command]
    with (tmp_path / "said").open("w+") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "ufafuse", *arguments, "--json"], stdout=subprocess.PIPE, stderr=said, text=True
        )
        until = time.monotonic() + 60
        while begun not in (tmp_path / "said").read_text() and time.monotonic() < until:
            time.sleep(0.1)
        time.sleep(0.5)
        for _ in range(400):
            os.kill(process.pid, number)
            if process.poll() is not None:
                break
            time.sleep(0.02)
        out, _ = process.communicate(timeout=30)
    summary = json.loads(out)
    assert "seconds" in summary, (tmp_path / "said").read_text()
    assert process.returncode == code
