"""The streaming examples run as they are, with a copy in the network's place."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ufafuse.runtime.errors import InputError

EXAMPLES = Path(__file__).parents[3] / "examples"


def run(name, *arguments):
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_simulated_line(tmp_path):
    output = run("03_stream_sim.py", "--copy", "--seconds", "2", "--out", str(tmp_path / "line.mkv"))
    said = re.search(r"pair 0: frames (\d+)/\d+, the picture says (\d+)\n", output)
    assert said is not None
    assert said[1] == said[2]
    assert "in [" in output
    assert (tmp_path / "line.mkv").stat().st_size > 100_000
    again = [
        sys.executable,
        str(EXAMPLES / "03_stream_sim.py"),
        "--copy",
        "--seconds",
        "1",
        "--out",
        str(tmp_path / "line.mkv"),
    ]
    refused = subprocess.run(again, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "line.mkv exists already" in refused.stderr


@pytest.mark.skipif(importlib.util.find_spec("harvesters") is None, reason="harvesters is not installed")
def test_genicam_cameras_through_harvesters(tmp_path):
    """`genicam` ships a GenTL producer of simulated cameras, so the example runs against the real interface."""
    genicam = importlib.util.find_spec("genicam")
    assert genicam is not None
    assert genicam.origin is not None
    producer = Path(genicam.origin).parent / "viky.cti"
    if not producer.is_file():
        pytest.skip("this genicam has no simulated cameras")
    video = tmp_path / "line.mkv"
    output = run(
        "04_genicam_harvesters.py", str(producer), "--copy", "--max-skew", "0.03", "--seconds", "2", "--out", str(video)
    )
    fused = int(output.rpartition("fused ")[2].split(",")[0])
    assert fused > 0
    assert video.stat().st_size > 1000


@pytest.mark.skipif(importlib.util.find_spec("harvesters") is None, reason="harvesters is not installed")
@pytest.mark.parametrize(
    ("pixel_format", "shape", "dtype", "size"),
    [
        ("Mono8", (4, 6), "uint8", 24),
        ("Mono12", (4, 6), "uint16", 48),
        ("Mono12p", (4, 6), "uint16", 36),
        ("BayerRG8", (4, 6, 3), "uint8", 24),
        ("RGB8", (4, 6, 3), "uint8", 72),
        ("YUV422_8", (4, 6, 3), "uint8", 48),
    ],
)
def test_pixel_formats_become_pictures(pixel_format, shape, dtype, size):
    import numpy as np

    spec = importlib.util.spec_from_file_location("genicam_example", EXAMPLES / "04_genicam_harvesters.py")
    assert spec is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    data = np.full(size, 255, np.uint8)
    picture = example.to_picture(data, 4, 6, pixel_format)
    assert (picture.shape, picture.dtype) == (shape, np.dtype(dtype))
    assert not np.shares_memory(picture, data)
    padded = np.hstack([data.reshape(4, -1), np.zeros((4, 5), np.uint8)])
    np.testing.assert_array_equal(example.to_picture(padded, 4, 6, pixel_format, padding=5), picture)
    with pytest.raises(InputError, match="set the camera to one such as"):
        example.to_picture(data, 4, 6, "Coord3D_C16")


def test_a_camera_sdk_with_callbacks():
    output = run("05_own_camera_callback.py", "--copy")
    assert "(240, 320, 3)" in output
    assert "fused 20 of [20, 20]" in output
