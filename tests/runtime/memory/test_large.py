"""Twenty-four megapixels under a memory budget, measured as the system measures it."""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.images import read_image, write_image
from ufafuse.runtime.models import bundled
from ufafuse.runtime.session import installed

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not bundled(), reason="no network is bundled")]

UFA = Path(sys.executable).with_name("ufa")
# Runs a command and prints its peak memory in bytes; a process of its own, so that no other child is counted.
WATCH = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({"code": done.returncode, "peak": peak, "result": json.loads(done.stdout)}))
"""


def focused(height, width):
    """A pair of two depths over a texture of all scales."""
    rng = np.random.default_rng(0)
    scene = np.zeros((height, width, 3), np.float32)
    for step in (2, 8, 32, 128):
        layer = rng.random((height // step + 1, width // step + 1, 3), np.float32)
        scene += cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR)
    scene = np.rint(scene * (255 / 4)).astype(np.uint8)
    blurred = cv2.GaussianBlur(scene, (0, 0), 5)
    left = slice(0, width // 2)
    near, far = blurred.copy(), scene.copy()
    near[:, left], far[:, left] = scene[:, left], blurred[:, left]
    return near, far


def fused_by_command(near, far, folder, *options, suffix=".png"):
    paths = folder / f"A{suffix}", folder / f"B{suffix}"
    for path, frame in zip(paths, (near, far), strict=True):
        write_image(path, frame, force=True)
    command = [UFA, "fuse", *paths, "-o", folder / "f.png", "--force", "--json", *options]
    done = subprocess.run([sys.executable, "-c", WATCH, *map(str, command)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout), read_image(folder / "f.png")


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_24_megapixels_in_1500_megabytes(tmp_path, backend):
    if not installed(backend):
        pytest.skip(f"{backend} is not installed")
    near, far = focused(4000, 6000)
    told, fused = fused_by_command(near, far, tmp_path, "--max-memory", "1500", "--backend", backend)
    assert told["code"] == 0
    assert told["result"]["outputs"][0]["tiles"]["count"] > 1
    assert told["peak"] < 1725e6
    middle = slice(1000, 3000), slice(400, 2600)  # the sharp half of the near frame, away from what separates the two
    assert np.abs(fused[middle].astype(int) - near[middle]).mean() < 3


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_64_megapixels_of_jpeg_in_2000_megabytes(tmp_path, backend):
    """Of which each is looked into for damage, too: 400 MB of memory, for a second."""
    if not installed(backend):
        pytest.skip(f"{backend} is not installed")
    near, far = focused(8000, 8000)
    told, _ = fused_by_command(near, far, tmp_path, "--max-memory", "2000", "--backend", backend, suffix=".jpg")
    assert told["code"] == 0
    assert told["result"]["outputs"][0]["tiles"]["count"] > 1
    assert told["peak"] < 2300e6


@pytest.mark.parametrize("options", [(), ("--align", "affine"), ("--depth", "z.tif", "--map", "m.png")], ids=" ".join)
def test_the_memory_that_a_refused_stack_asks_for_is_enough(tmp_path, options):
    for index, frame in enumerate(focused(1500, 1700) * 2):
        write_image(tmp_path / f"{index}.png", frame)
    command = [UFA, "fuse", *sorted(tmp_path.glob("*.png")), "-o", tmp_path / "out.tif", *options]

    def within(megabytes):
        done = subprocess.run(
            [*command, "--max-memory", str(megabytes)], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, " ".join(done.stderr.split())

    code, said = within(250)
    assert code == 2
    code, said = within(re.search(r"(\d+) MB are needed, for any number of frames", said)[1])
    assert code == 0, said


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_in_tiles_as_whole_where_both_can_be_done(tmp_path, backend):
    if not installed(backend):
        pytest.skip(f"{backend} is not installed")
    near, far = focused(1500, 1700)
    told, tiled = fused_by_command(near, far, tmp_path, "--max-memory", "400", "--backend", backend)
    assert told["result"]["outputs"][0]["tiles"]["count"] > 1
    assert told["peak"] < 460e6
    with Fuser(backend=backend, tile="off") as fuser:
        whole = fuser.fuse(near, far)
    assert np.abs(tiled.astype(int) - whole).max() <= 1
    assert (tiled != whole).mean() < 1e-3  # only where a rounding tips over
