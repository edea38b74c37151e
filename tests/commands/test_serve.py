"""`ufa serve` as a process: it says where it is, answers, and ends in order at SIGTERM."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app

for needed in ("starlette", "prometheus_client", "python_multipart"):
    pytest.importorskip(needed, reason="needs the extra serve")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def refused(*options):
    done = CliRunner().invoke(build_app(), ["serve", *options])
    assert done.exit_code == 2, done.output
    assert len(done.stderr.strip().splitlines()) == 1
    return done.stderr


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--port", "0.0.0.0:8000"], "add a --token"),
        (["--grpc", "0.0.0.0:8001"], "add a --token"),
        (["--port", "ninety"], "--port ninety is no port"),
        (["--tls-cert", "x.pem"], "give both --tls-cert and --tls-key"),
        (["--model", "huge"], "huge"),
        (["--model", "ufa-edge@fp4"], "fp4"),
        (["--deadline", "soon"], "--deadline soon is not a time"),
        (["--max-request", "much"], "--max-request much"),
        (["--warm", "big"], "big"),
        (["--workers", "2", "--max-memory", "2GB"], "--workers"),
    ],
)
def test_bad_usage_is_one_line(options, text):
    assert text in refused("--port", "0", *options)


def test_a_process_from_its_start_to_sigterm(tmp_path):
    pytest.importorskip("openvino", reason="needs an engine")
    command = [sys.executable, "-m", "ufafuse", "serve", "--port", "0", "--model", "ufa-nano", "--warm", "392x420", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = next(found[1] for line in process.stderr if (found := re.search(r"serving at (\S+)", line)))
            assert process.stdout is not None
            body = b""
            for side in "AB":
                head = f'--x\r\nContent-Disposition: form-data; name="{side}"; filename="{side}.png"\r\n\r\n'
                body += head.encode() + (EXAMPLES / f"sample_{side}.png").read_bytes() + b"\r\n"
            request = urllib.request.Request(
                f"{url}fuse", body + b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}
            )
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=60) as answer:
                served = answer.read()
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    result = json.loads(output)
    assert result["ok"] is True
    assert result["fused"] == 1
    assert result["models"] == ["ufa-nano"]
    out = tmp_path / "fused.png"
    pair = [str(EXAMPLES / f"sample_{side}.png") for side in "AB"]
    assert CliRunner().invoke(build_app(), ["fuse", *pair, "-o", str(out), "--model", "ufa-nano"]).exit_code == 0
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(served, np.uint8), cv2.IMREAD_COLOR), cv2.imread(str(out)))


@pytest.mark.parametrize("missing", ["starlette", "python_multipart", "prometheus_client", "uvicorn"])
def test_without_the_extra_it_is_said_what_to_install(missing):
    program = f"import sys; sys.modules[{missing!r}] = None; from ufafuse.commands.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "serve", "--port", "0", "--model", "ufa-nano"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.strip() == f"error: serving needs {missing}: run `pip install 'ufafuse[serve]'`."
