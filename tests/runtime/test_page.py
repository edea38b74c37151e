"""The page about a fusion: one file, no network, and it works in a browser."""

import re
import shutil
import subprocess
from typing import get_type_hints

import cv2
import numpy as np
import pytest

from ufafuse.commands.results import OutputJson
from ufafuse.runtime.errors import OutputError
from ufafuse.runtime.page import check_page, write_page
from ufafuse.runtime.pagewords import told_in_words

MOVES = [{"frame": "c.png", "motion": "affine", "moved_px": 3.25}, {"frame": "b<i>.png", "refused": "blank"}]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def made(path, dtype=np.uint8, channels=3, **changes):
    top = 1.0 if dtype == np.float32 else float(np.iinfo(dtype).max)
    shape = (40, 60, channels) if channels else (40, 60)
    pictures = {name: np.full(shape, top * level, dtype) for name, level in (("near", 0.2), ("far", 0.5), ("fused", 0.8))}
    values = {
        "title": "<b>fused & co.png",
        "engine": "ufa-edge in fp32",
        "unit": top,
        "names": ["a.png", "b<i>.png", "c.png"],
        "details": {
            "reference": "a.png", "white": 255.0, "alignment": MOVES,
        },
        "warnings": ["b.png is <damaged>"],
        "ms": 12.3,
        "won": np.linspace(0, 1, 2400, dtype=np.float32).reshape(40, 60),
        "sharp": np.full((40, 60), 0.2, np.float32),
    }  # fmt: skip
    write_page(path, pictures, **(values | changes))
    return path.read_text()


def test_nothing_is_fetched_and_all_is_escaped(tmp_path):
    page = made(tmp_path / "p.html")
    assert not re.search(r"(src|href)=[\"'](?!data:)", page.partition("<script>")[0])
    assert "http://" not in page
    assert "https://" not in page
    assert "default-src 'none'" in page
    assert "&lt;b&gt;fused &amp; co.png" in page
    assert "b.png is &lt;damaged&gt;" in page
    for text in (
        "3 frames",
        "60 x 40 pixels",
        "12 ms",
        "100 % of the picture is sharp in none",
        "affine, 3.25 pixels",
        "blank",
    ):
        assert text in page


def test_what_was_found_of_a_frame_stands_beside_its_name(tmp_path):
    """In the order of focus, which need not be that of the names; and frames that are left out have not moved."""
    moves = [{"frame": "d.png", "motion": "affine", "moved_px": 3.25}, {"frame": "b.png", "refused": "blank"}]
    details = {"reference": "c.png", "alignment": moves, "left_out": {"a.png": "it is black"}}
    page = made(tmp_path / "p.html", names=[f"{name}.png" for name in "abcd"], details=details)
    rows = dict(re.findall(r"<td>(.\.png)</td><td>(.*?)</td>", page))
    assert rows == {
        "a.png": "left out: it is black",
        "b.png": "blank",
        "c.png": "the reference",
        "d.png": "affine, 3.25 pixels",
    }


def test_all_that_a_report_says_is_said_in_words():
    """A key that is added to the report and not to the page would stand there as a name with a bare number."""
    keys = get_type_hints(OutputJson).keys() - {"near", "far", "fused", "size", "ms", "error", "warnings"}
    elsewhere = {"more", "map", "confidence", "alignment", "left_out", "report", "seen_as_white"}
    values = {
        "crop": [2, 90, 0, 120],
        "order_of_focus": ["a.png", "b.png"],
        "white": 65535.0,
        "gain": [[1.25, 1.25, 1.25], [0.8, 0.9, 0.8]],
        "matched": {"b.png": [1.25, 1.25, 1.25]},
        "curves": {"b.png": [[[0.0, 1.0], [0.1, 1.0]]]},
        "banding": {"across": "rows", "bands": 6.2, "depth": 0.15},
        "hot_pixels": 3,
        "dust": 2,
        "restored": [0.0029, 1.623],
        "smoothing": 2.5,
        "noise": 4.0,
        "lights": 0.031,
        "stark": 0.02,
        "disagreement": 0.0157,
        "strayed": {"b.png": 0.02},
        "registered_to": {"b.png": "a.png"},
        "heights": {"unit": "mm", "first": 0.0, "last": 0.35, "known": 0.9978, "per_level": 0.0001},
        "tiles": {"count": 6, "window": [512, 768], "work": 1.2},
    }
    details = {key: values.get(key, f"the {key}") for key in keys}
    told = dict(told_in_words(details))
    assert len(told) == len(keys - elsewhere)
    assert not told.keys() & {"order_of_focus", "white_found", "hot_pixels", "depth_view", "registered_to"}
    assert told["shown by all frames"] == "rows 2 to 90, columns 0 to 120"
    assert told["exposure of the others times"] == "1.25, 0.8 / 0.9"
    assert told["exposure matched, times"] == "b.png: 1.25"
    assert told["bands of light evened"] == "6.2 across the rows, up to 15 % either way"
    assert told["detail between planes of focus raised"] == "in 0.29 % of the picture, up to 1.62 times"
    assert told["heights"] == "0 to 0.35 mm, known in 99.8 % of the picture"
    assert told["tiles"] == "6 of 512 x 768 pixels"
    assert not [name for name in told if "_" in name]
    assert told_in_words({"new_key": [1, 2]}) == [("new_key", "[1, 2]")]


@pytest.mark.parametrize(("count", "called"), [(2, ("near", "far")), (3, ("first frame", "last frame"))])
def test_of_a_stack_the_first_and_the_last_frame_are_shown(tmp_path, count, called):
    page = made(tmp_path / "p.html", names=["a.png", "b.png", "c.png"][:count], details={})
    shown = re.findall(r'<option value="(\w+)">(.*?)</option>', page)[:3]
    assert shown == [("near", called[0]), ("far", called[1]), ("fused", "fused")]


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 0), (np.uint16, 4), (np.float32, 3), (np.uint8, 1)])
def test_every_kind_of_picture_is_shown(tmp_path, dtype, channels):
    page = made(tmp_path / "p.html", dtype, channels)
    import base64

    shown = [cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_GRAYSCALE).mean()
             for data in re.findall(r'"data:image/jpeg;base64,([^"]+)"', page.partition("const pictures")[2])]  # fmt: skip
    assert [round(float(level) / 255, 1) for level in shown[:3]] == [0.2, 0.5, 0.8]


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(OutputError, match=r"a report ends in \.html"):
        check_page(tmp_path / "p.txt", force=False)
    (tmp_path / "p.html").touch()
    with pytest.raises(OutputError, match="exists already"):
        check_page(tmp_path / "p.html", force=False)
    check_page(tmp_path / "p.html", force=True)
    with pytest.raises(OutputError, match="is not a folder"):
        check_page(tmp_path / "no" / "p.html", force=False)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1200, pytest.param(400, marks=pytest.mark.slow)])
def test_it_opens_in_a_browser(tmp_path, width):
    """Near (dark) left of the wipe, fused (bright) right of it: the script ran."""
    made(tmp_path / "p.html")
    done = subprocess.run(
        [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={width},900",
         f"--user-data-dir={tmp_path / 'profile'}", f"--screenshot={tmp_path / 'shot.png'}", (tmp_path / "p.html").as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Uncaught" not in done.stderr
    shot = cv2.imread(str(tmp_path / "shot.png"))
    rows, columns = np.nonzero((np.abs(shot.astype(int) - 204) <= 6).all(axis=2))  # fused: 0.8
    middle = int(np.median(rows))
    right = columns[rows == middle]
    assert right.size >= 20
    left = shot[middle, right.min() - 20 : right.min() - 6]
    assert np.abs(left.astype(int) - 51).max() <= 6  # near: 0.2
