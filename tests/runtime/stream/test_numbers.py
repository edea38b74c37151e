"""Which number in a file's name counts the frames."""

from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from ufafuse.runtime.errors import InputError
from ufafuse.runtime.stream.options import PipelineOptions
from ufafuse.runtime.stream.pipeline import Pipeline
from ufafuse.runtime.stream.sinks import FolderSink
from ufafuse.runtime.stream.sources import BrokenFrame, FolderSource
from ufafuse.runtime.stream.sources.numbers import Numbers


def numbers_of(names):
    known = Numbers()
    known.learn(names)
    return [known.of(name).number for name in names]


@pytest.mark.parametrize(
    ("pattern", "values"),
    [
        ("f{:03d}_640x480", range(6)),
        ("img_{:04d}_cam2", range(8, 12)),
        ("cam1_{}", (7, 8, 10)),
        ("640x480_{}_v3", (1, 2, 30)),
        ("3_{:02d}_12bit", range(4)),
        ("run7/part{:02d}b", (1, 2)),
        ("{}", (5, 6, 11)),
    ],
)
def test_the_part_that_changes_is_the_number(pattern, values):
    names = [pattern.format(value) for value in values]
    assert numbers_of(names) == list(values)


def test_of_several_that_change_the_counter_is_the_number():
    names = [f"img_{number:04d}_{1699999999123 + 37 * number}" for number in range(5)]
    assert numbers_of(names) == list(range(5))
    names = [f"t{temperature}_{number}" for number, temperature in enumerate((317, 290, 322))]
    assert numbers_of(names) == [0, 1, 2]
    names = [f"s{section}_f{frame}" for section in (1, 2) for frame in (1, 2)]
    found = numbers_of(names)
    assert found == sorted(found)
    assert len(set(found)) == 4, "where neither is one of a kind, they are it together"


@pytest.mark.parametrize(
    "form", ["%Y%m%d_%H%M%S_{ms:03d}", "line_%Y-%m-%d_%H-%M-%S.{ms:03d}_A", "%Y%m%dT%H%M%S{ms:03d}", "x{epoch}{ms:03d}"]
)
def test_time_stamps_are_one_number_and_a_time(form):
    start = datetime(2026, 1, 28, 10, 59, 59, tzinfo=timezone.utc).timestamp()
    moments = [start + step for step in (0.005, 0.123, 0.998, 1.031, 61.5)]
    names = []
    for moment in moments:
        whole, ms = int(moment), round(moment % 1 * 1000)
        named = datetime.fromtimestamp(whole, timezone.utc).strftime(form.replace("{", "\x01").replace("}", "\x02"))
        names.append(named.replace("\x01", "{").replace("\x02", "}").format(ms=ms, epoch=whole))
    known = Numbers()
    known.learn(names)
    found = [known.of(name) for name in names]
    assert [number.seconds for number in found] == pytest.approx(moments, abs=1e-6)
    assert [number.number for number in found] == sorted({number.number for number in found})


def number_in(stem):
    """The number in a name of which no other is known."""
    found = Numbers().of(stem)
    return None if found is None else found.number


def test_one_name_alone():
    assert number_in("f007_640x480") == 7
    assert number_in("img_0001_cam2") == 1
    assert number_in("line2_frame_000123_A") == 123
    assert number_in("board") is None
    assert number_in("9" * 40) is None
    known = Numbers()
    assert known.sure("img_0001_cam2")
    assert not known.sure("b12_0001")
    known.learn(["b12_0001", "b13_0001"])
    assert known.sure("b14_0001")
    assert known.of("b14_0001").number == 14


def picture(level):
    return np.full((48, 64, 3), level, np.uint8)


def folders(tmp_path, names):
    """A near and a far folder; the picture's level says which file it is."""
    for side, of_side in zip(("near", "far"), names, strict=True):
        (tmp_path / side).mkdir()
        for level, name in enumerate(of_side):
            cv2.imwrite(str(tmp_path / side / f"{name}.png"), picture(level * 10))
    return FolderSource(tmp_path / "near"), FolderSource(tmp_path / "far")


NAMES = {
    "sizes": [[f"f{number:03d}_640x480" for number in range(6)]] * 2,
    "cameras": [[f"img_{number:04d}_cam{side}" for number in range(6)] for side in (1, 2)],
    "time stamps of two cameras": [
        [f"20260128_1015{number:02d}_{ms + side:03d}" for number, ms in enumerate((3, 900, 17, 450, 5, 6))] for side in (0, 4)
    ],
}


@pytest.mark.parametrize(
    ("names", "force"),
    [("sizes", False), ("cameras", True), ("time stamps of two cameras", False), ("time stamps of two cameras", True)],
)
def test_every_pair_has_a_result_of_its_own(tmp_path, names, force):
    near, far = folders(tmp_path, NAMES[names])
    pairs = []
    pipeline = Pipeline(
        near,
        far,
        np.maximum,
        FolderSink(tmp_path / "out", force=force),
        options=PipelineOptions(idle=0.4),
        on_frame=lambda item: pairs.append((item.pair.near.array[0, 0, 0], item.pair.far.array[0, 0, 0])),
    )
    summary = pipeline.run()
    assert summary["fused"] == 6, summary
    assert all(a == b for a, b in pairs)
    written = sorted((tmp_path / "out").glob("*.png"))
    assert [int(cv2.imread(str(path))[0, 0, 0]) for path in written] == [0, 10, 20, 30, 40, 50]


def test_equal_numbers_in_one_source_are_an_error(tmp_path):
    near, _ = folders(tmp_path, [["part_07_A", "part_07_B"], ["x1"]])
    with pytest.raises(
        InputError, match=r"part_07_B\.png and part_07_A\.png beside it have the same number, 7: name one otherwise"
    ):
        near.open()
    watched = FolderSource(tmp_path / "far")
    watched.open()
    assert watched.read(0).index == 1
    cv2.imwrite(str(tmp_path / "far" / "y1.png"), picture(3))
    with pytest.raises(BrokenFrame, match=r"y1\.png has the number of x1\.png, 1"):
        watched.read(0)


def test_a_first_name_with_several_numbers_waits_for_a_second(tmp_path, monkeypatch):
    watched = FolderSource(tmp_path)
    watched.open()
    assert watched.read(0) is None
    cv2.imwrite(str(tmp_path / "b12_0001.png"), picture(1))
    assert watched.read(0) is None
    cv2.imwrite(str(tmp_path / "b13_0001.png"), picture(2))
    assert [watched.read(0.3).index for _ in range(2)] == [12, 13]
    alone = FolderSource(tmp_path / "alone")
    (tmp_path / "alone").mkdir()
    alone.open()
    assert alone.read(0) is None
    cv2.imwrite(str(tmp_path / "alone" / "b12_0001.png"), picture(1))
    monkeypatch.setattr("ufafuse.runtime.stream.sources.folder._FOR_ANOTHER", 0.2)
    assert alone.read(1.0).index == 1
