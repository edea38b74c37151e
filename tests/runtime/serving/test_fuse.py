"""``POST /fuse``: pictures in a form, one picture back."""

import itertools
import json
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.pictures.write import COMPRESSIONS
from ufafuse.runtime.serving.asking import _READERS as READERS
from ufafuse.runtime.serving.asking import FORMATS
from ufafuse.runtime.stack import StackOptions, fuse_stack


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture
def post(ask, form):
    def send(server, files, query="", **fields):
        body, kind = form(files, **fields)
        return ask(f"{server.url}fuse{query}", body, Content_Type=kind)

    return send


def test_two_pictures_give_what_the_fuser_gives(small_engine, serve, post, pair, files, write_model):
    answer = post(serve(), files)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "image/png"
    with Fuser(write_model(), backend="onnxruntime") as fuser:
        np.testing.assert_array_equal(decoded(answer.body), fuser.fuse(*pair))
    report = json.loads(answer.headers["Ufafuse-Report"])
    assert report["model"] == "small"
    assert report["size"] == [24, 32]
    assert report["white"] == 255


def test_a_stark_pair_gets_the_model_that_ufa_fuse_takes(serve, post, encode):
    pytest.importorskip("onnxruntime")
    near = np.zeros((64, 96, 3), np.uint8)
    near[:, 24:72] = 255
    files = [("near.png", encode(near)), ("far.png", encode(np.full_like(near, 128)))]
    server = serve(models=())
    for query, model, told in (
        ("", "ufa-stack", True),
        ("?model=ufa-edge", "ufa-edge", False),
        ("?method=pyramid", "pyramid", False),
    ):
        report = json.loads(post(server, files, query).headers["Ufafuse-Report"])
        assert report["model"] == model
        assert bool(report.keys() & {"lights", "stark"}) is told


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_command_that_the_page_shows(small_engine, serve, pair, files, tmp_path):
    for name, data in files:
        (tmp_path / name).write_bytes(data)
    out = tmp_path / "fused.jpg"
    form = [f"-Fnear=@{tmp_path / 'near.png'}", f"-Ffar=@{tmp_path / 'far.png'}"]
    command = ["curl", "-sS", "--noproxy", "*", "--fail", *form, f"{serve().url}fuse?format=jpg&quality=90", "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes().startswith(b"\xff\xd8\xff")
    assert cv2.imread(str(out)).shape == pair[0].shape


def test_more_than_two_are_a_stack(small_engine, serve, post, pair, encode):
    names = [("a.png", encode(pair[0])), ("b.png", encode(pair[1])), ("c.png", encode(pair[0][::-1].copy()))]
    answer = post(serve(), names)
    assert answer.status == 200
    assert json.loads(answer.headers["Ufafuse-Report"])["more"] == ["c.png"]


def test_options_in_the_form_and_in_the_address(small_engine, serve, post, files):
    server = serve()
    assert post(server, files, "?format=webp").headers["Content-Type"] == "image/webp"
    assert post(server, files, format="tif").headers["Content-Type"] == "image/tiff"
    map_of = post(server, files, "?output=map")
    assert decoded(map_of.body).shape == (24, 32)
    assert decoded(map_of.body).std() > 0


def test_an_option_has_one_value(small_engine, serve, post, files):
    server = serve()
    assert post(server, files, "?format=tif&format=tif").status == 200
    for query, fields in (("?format=tif&format=webp", {}), ("?format=tif", {"format": "webp"})):
        answer = post(server, files, query, **fields)
        assert answer.status == 400
        assert "`format` is given twice, as" in answer.json()["error"]


def test_each_way_to_store_a_picture_works_or_is_a_sentence(small_engine, serve, post, files):
    server, worked = serve(), set()
    for kind, compression, quality in itertools.product(("", *FORMATS), ("", *COMPRESSIONS), ("", "50")):
        asked = {"format": kind, "compression": compression, "quality": quality}
        answer = post(server, files, **{name: value for name, value in asked.items() if value})
        assert answer.status in (200, 400), (asked, answer.body)
        if answer.status == 200:
            worked.add((kind, compression, quality))
            assert answer.headers["Content-Type"] == FORMATS[kind or "png"]
        else:
            assert "to choose" in answer.json()["error"] or "cannot be compressed" in answer.json()["error"]
    sure = {(kind, packing, "") for kind in ("", "png", "tif") for packing in ("", "none", "fast", "small")}
    assert worked - {("tif", "lzw", ""), ("tif", "zstd", "")} == sure | {
        (kind, "", quality) for kind in ("jpg", "webp") for quality in ("", "50")
    } | {("bmp", "", "")}


def test_an_option_that_the_network_has_not_is_a_sentence(small_engine, serve, post, files):
    server = serve()
    for query, text in (("?smoothing=3", "take `model=ufa-stack`"), ("?smoothing=nan", "`smoothing=nan`")):
        answer = post(server, files, query)
        assert answer.status == 400
        assert text in json.loads(answer.body)["error"]
    assert post(server, files, "?smoothing=1").status == 200


def test_sixteen_bits_stay_sixteen(small_engine, serve, post, rng, encode):
    frames = [rng.integers(0, 65536, (24, 32), np.uint16) for _ in range(2)]
    answer = post(serve(), [("a.png", encode(frames[0])), ("b.png", encode(frames[1]))])
    assert decoded(answer.body).dtype == np.uint16


def bomb(height=60_000, width=60_000):
    """A PNG of a few bytes that declares gigapixels."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def test_a_bomb_is_refused_by_its_header(small_engine, serve, post, files, monkeypatch):
    def decodes(*_, **__):
        raise AssertionError("it was decoded")

    server = serve()
    monkeypatch.setattr("ufafuse.runtime.serving.service.decoded", decodes)
    answer = post(server, [files[0], ("bomb.png", bomb())])
    assert answer.status == 400
    assert "bomb.png declares 60000 x 60000 pixels" in answer.json()["error"]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"files": 1}, "too few pictures were sent (1)"),
        ({"files": 0}, "send two or more pictures as a form"),  # an older python-multipart refuses an empty form before
        ({"query": "?format=gif"}, "`format=gif` is not known"),
        ({"query": "?align=wild"}, "`align=wild` is not known"),
        ({"query": "?colour=red"}, "`colour` is not known"),
        ({"query": "?order=rgb"}, "`order` is for tensors"),
        ({"query": "?bayer=pink"}, "pink"),
        ({"query": "?quality=200&format=jpg"}, "quality of 200"),
        ({"query": "?quality=90&format=png"}, "`format=png` has no quality to choose: take .jpg or .webp, or omit"),
        ({"query": "?match_gain=perhaps"}, "`match_gain=perhaps` is neither"),
        ({"query": "?output=depth"}, "`output=depth` is not known"),
        ({"query": "?timeout=-1"}, "`timeout=-1` is not a number above 0"),
        ({"query": "?reference=1.5"}, "not a whole number"),
        ({"query": "?reference=1"}, "`reference` is what others are registered to"),
        ({"query": "?reference=9&align=affine"}, "`reference=9`: there are 2 frames, counted from 1"),
        ({"query": "?keep_unregistered=1"}, "`keep_unregistered` is about registered frames"),
        ({"query": "?quality=50"}, "`format=png` has no quality to choose"),
        ({"query": "?compression=lzw&format=png"}, "`format=png` cannot be compressed with lzw"),
        ({"data": b"no picture"}, "far.png is no image"),
        ({"data": b""}, "far.png is no image"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(small_engine, serve, post, files, change, text):
    sent = files[: change.get("files", 2)]
    if "data" in change:
        sent = [files[0], ("far.png", change["data"])]
    answer = post(serve(), sent, change.get("query", ""))
    assert answer.status == 400, answer.body
    assert text in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_an_error_names_the_options_that_the_page_has(small_engine, serve, post, files):
    told = post(serve(), files, "?colour=red").json()["error"].partition("give any of ")[2]
    text = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
    page = text[text.index("## The first picture") : text.index("## The Open Inference Protocol")]
    rows = " ".join(line for line in page.splitlines() if line.startswith("| "))
    assert set(told.rstrip(".").split(", ")) == set(re.findall(r"`(\w+)`", rows)) & {*READERS, "output", "model"}


def test_frames_of_unlike_size_are_named(small_engine, serve, post, pair, files, encode):
    answer = post(serve(), [files[0], ("other.png", encode(pair[1][:, :20].copy()))])
    assert answer.status == 400
    assert "other.png has 24 x 20 pixels" in answer.json()["error"]


def test_what_is_no_form(small_engine, serve, ask, files):
    server = serve()
    assert ask(f"{server.url}fuse", b"{}", Content_Type="application/json").status == 415
    cut = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n' + files[0][1]
    assert ask(f"{server.url}fuse", cut, Content_Type="multipart/form-data").status == 400
    assert ask(f"{server.url}fuse", cut, Content_Type="multipart/form-data; boundary=x").status == 400
    assert ask(f"{server.url}fuse", cut, Content_Type="multipart/form-data; boundary=y").status == 400
    assert (
        ask(f"{server.url}fuse", files[0][1], Content_Type="multipart/form-data; boundary=x", Content_Encoding="gzip").status
        == 415
    )
    assert ask(f"{server.url}fuse").status == 405


def test_an_unknown_model_and_address(small_engine, serve, post, ask, files):
    server = serve()
    answer = post(server, files, "?model=huge")
    assert answer.status == 404
    assert "there are small" in answer.json()["error"]
    assert ask(f"{server.url}nowhere").status == 404


def test_a_name_that_gives_orders_to_a_terminal_is_written_out(small_engine, serve, post, files):
    answer = post(serve(), [files[0], ("\x1b[31mred.png", b"no picture")])
    assert answer.status == 400
    assert "\x1b" not in answer.json()["error"]


def test_what_is_told_is_what_the_stack_tells(small_engine, serve, post, sample_pair, encode, write_model):
    """Frames that lie apart and differ in exposure: the same warnings and figures as without a server, aligned or not."""
    near, far = sample_pair[0], np.roll(sample_pair[1] // 2, 9, 1)
    sent = [("near.png", encode(near)), ("far.png", encode(far))]
    server = serve(batch=2)
    with Fuser(write_model(), backend="onnxruntime") as fuser:
        for query, options in (
            ("", StackOptions()),
            ("?align=translation&match_gain=true&crop=1", StackOptions(align="translation", match_gain=True, crop=True)),
        ):
            expected = fuse_stack(fuser, [near, far], options)
            answer = post(server, sent, query)
            report = json.loads(answer.headers["Ufafuse-Report"])
            np.testing.assert_array_equal(decoded(answer.body), expected.fused)
            assert report.get("warnings", []) == expected.warnings
            assert report["disagreement"] == round(expected.disagreement, 4)
            assert report["size"] == list(expected.fused.shape[:2])
            assert expected.warnings
