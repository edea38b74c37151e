"""JPEGs that lost or changed bytes inside, which decoders pass over."""

import io
import tracemalloc

import cv2
import numpy as np
import pytest
from PIL import Image

from ufafuse.runtime.pictures import jpegscan
from ufafuse.runtime.pictures.jpegscan import fault_in_scan


@pytest.fixture(autouse=True, params=[0, 1 << 40], ids=["leaps", "codes"])
def least_scan(request, monkeypatch):
    """From which size on several codes are walked over in one step: always, and never."""
    monkeypatch.setattr(jpegscan, "_WORTH_LEAPS", request.param)


SIZE = 72, 96  # what is walked over bit by bit takes its time


def picture(size=SIZE):
    noise = np.random.default_rng(5).random((*size, 3)).astype(np.float32)
    mixed = cv2.GaussianBlur(noise, (0, 0), 1) + cv2.GaussianBlur(noise, (0, 0), 9) * 3
    return cv2.normalize(mixed, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)


def by_opencv(*options, size=SIZE, grey=False):
    image = picture(size)
    return cv2.imencode(".jpg", image[..., 0] if grey else image, list(options))[1].tobytes()


def by_pillow(**options):
    stream = io.BytesIO()
    Image.fromarray(picture()).save(stream, "JPEG", **options)
    return stream.getvalue()


WHOLE = {
    "plain": by_opencv,
    "best": lambda: by_opencv(1, 100),
    "poor": lambda: by_opencv(1, 10),
    "4:4:4": lambda: by_opencv(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "4:2:2": lambda: by_opencv(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    "4:1:1": lambda: by_opencv(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411),
    "restarts": lambda: by_opencv(cv2.IMWRITE_JPEG_RST_INTERVAL, 3),
    "own tables": lambda: by_opencv(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "grey": lambda: by_opencv(grey=True),
    "odd": lambda: by_opencv(size=(33, 71)),
    "tiny": lambda: by_opencv(size=(1, 1)),
    "narrow": lambda: by_opencv(size=(400, 3)),
    "progressive": lambda: by_opencv(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "cmyk": lambda: (Image.fromarray(picture()).convert("CMYK").save(s := io.BytesIO(), "JPEG"), s.getvalue())[1],
    "something behind": lambda: by_opencv() + b"appended by a phone" * 9,
    "a thumbnail inside": lambda: by_pillow(exif=b"Exif\0\0" + by_opencv(size=(40, 40))),
}


@pytest.mark.parametrize("name", WHOLE)
def test_nothing_is_found_in_whole_files(name):
    assert fault_in_scan(WHOLE[name]()) == ""


@pytest.mark.parametrize("name", ["plain", "best", "4:4:4", "4:2:2", "restarts", "own tables", "grey"])
def test_most_lost_bytes_are_found(name):
    """Some cannot be: where what is left is a picture, nothing shows it."""
    data = WHOLE[name]()
    start = data.find(b"\xff\xda") + 20
    rng = np.random.default_rng(2)
    found = 0
    for _ in range(15):
        at = int(rng.integers(start, len(data) - 60))
        found += bool(fault_in_scan(data[:at] + data[at + 40 :]))
        found += bool(fault_in_scan(data[:at] + bytes(40) + data[at + 40 :]))
    assert found >= 12


def test_missing_restarts_are_found():
    data = WHOLE["restarts"]()
    at = data.find(b"\xff\xd3")
    end = data.find(b"\xff\xd4")
    assert "restart" in fault_in_scan(data[:at] + data[end:])


def test_any_damage_ends():
    rng = np.random.default_rng(8)
    data = WHOLE["plain"]()
    for _ in range(80):
        broken = bytearray(data)
        for at in rng.integers(0, len(data), 5):
            broken[at] = rng.integers(256)
        fault_in_scan(bytes(broken[: rng.integers(2, len(broken))]))


def test_a_header_of_more_blocks_than_a_unit_has_is_not_walked_through():
    """Each component by 4 x 4: what states would be made for takes a gigabyte, in a file of some hundred bytes."""
    data = bytearray(WHOLE["plain"]())
    frame = data.index(b"\xff\xc0")
    for component in range(3):
        data[frame + 11 + 3 * component] = 0x44
    tracemalloc.start()
    assert fault_in_scan(bytes(data)) == ""
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 8 << 20


@pytest.mark.parametrize("least_scan", [0], indirect=True, ids=["both"])  # which it sets itself
@pytest.mark.parametrize("name", ["plain", "best", "poor", "4:2:2", "restarts", "own tables", "grey"])
def test_several_codes_in_one_step_tell_the_same(name, monkeypatch):
    data, rng = WHOLE[name](), np.random.default_rng(3)
    start = data.find(b"\xff\xda") + 20
    for number in range(24):
        at, length = int(rng.integers(start, len(data) - 2)), int(rng.integers(1, 60))
        damaged = data[:at] + (rng.bytes(length) if number % 2 else b"") + data[at + length * (number % 3) :]
        told = []
        for least in (0, 1 << 40):
            monkeypatch.setattr(jpegscan, "_WORTH_LEAPS", least)
            told.append(fault_in_scan(damaged).lstrip("0123456789"))  # how many blocks too many is only a lower bound
        assert told[0] == told[1], (at, length, number)
