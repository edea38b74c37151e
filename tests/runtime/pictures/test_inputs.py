"""What people name: files, folders, patterns, stacks; in the order in which one counts."""

import os
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.pictures import put
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.outputs import software
from ufafuse.runtime.pairs import find_pairs
from ufafuse.runtime.pictures.decode import opened
from ufafuse.runtime.pictures.frames_among import REGISTERED, is_result
from ufafuse.runtime.pictures.inputs import cut_by_time, expanded, find_stacks, frames_in, taken_at
from ufafuse.runtime.pictures.metadata import Metadata
from ufafuse.runtime.pictures.naming import in_natural_order, natural_key, natural_order
from ufafuse.runtime.pictures.write import write_image


class TestNames:
    def test_numbers_are_counted(self, tmp_path):
        names = ["f10.png", "f2.png", "F1.PNG", "f02.png", "g1.png", "f1_3.png", "f1_12.png"]
        ordered = sorted((tmp_path / name for name in names), key=natural_key)
        assert [path.name for path in ordered] == ["F1.PNG", "f1_3.png", "f1_12.png", "f02.png", "f2.png", "f10.png", "g1.png"]

    @pytest.mark.parametrize(
        "ordered",
        [
            ["z0.25mm.png", "z0.5mm.png", "z0.75mm.png", "z1.0mm.png"],
            ["z-10.png", "z-5.png", "z0.png", "z5.png"],
            ["z-1.5um.png", "z-0.25um.png", "z+0.5um.png", "z+2um.png"],
            ["f1.9.png", "f1.10.png", "f1.11.png", "f2.1.png"],
            ["img-1.png", "img-2.png", "img-10.png"],
            ["2024-01-02.png", "2024-01-10.png", "2024-02-01.png"],
            ["01.png", "1.png", "2.png"],
            ["f\u0661.png", "f\u0662.png", "f\u0661\u0660.png"],
            ["a\u00b2.png", "b\u00b2.png", "c\u00b2.png"],
            ["x" + "9" * 60 + ".png", "x1" + "0" * 60 + ".png"],
        ],
    )
    def test_decimals_and_minus_signs(self, tmp_path, ordered):
        names = [path.name for path in in_natural_order(tmp_path / name for name in sorted(ordered, key=hash))]
        assert names == ordered
        assert natural_order(ordered) == list(range(len(ordered)))

    def test_a_pattern_takes_pictures_that_are_not_hidden(self, tmp_path):
        folder = tmp_path / "run [1]"
        put(folder, "1.png", "2.png", "._1.png", "._2.png")
        (folder / "Thumbs.db").touch()
        for pattern in ("*", "*.png", "[12].p?g"):
            files, note = expanded([folder / pattern])
            assert [path.name for path in files] == ["1.png", "2.png"]
            assert note == ("taken without Thumbs.db" if pattern == "*" else "")
        with pytest.raises(InputError, match="is no pattern"):
            expanded([folder / "**x.png"])

    def test_a_folder(self, tmp_path):
        put(tmp_path, "f10.png", "f9.png", ".hidden.png")
        (tmp_path / "notes.txt").touch()
        files, note = expanded([tmp_path])
        assert [path.name for path in files] == ["f9.png", "f10.png"]
        assert note == ""

    @pytest.mark.parametrize("suffix", [".mpo", ".jps", ".apng", ".jpx", ".jpf", ".j2c", ".jpc", ".stk", ".lsm"])
    def test_a_folder_of_other_names_for_what_is_read(self, tmp_path, suffix):
        files = [path.rename(path.with_suffix(suffix)) for path in put(tmp_path, "1.png", "2.png")]
        assert expanded([tmp_path])[0] == files

    def test_a_pattern(self, tmp_path):
        put(tmp_path / "a", "f10.png", "f9.png", "x.jpg")
        files, _ = expanded([tmp_path / "a" / "f*.png"])
        assert [path.name for path in files] == ["f9.png", "f10.png"]
        files, _ = expanded([tmp_path / "*" / "*.jpg"])
        assert [path.name for path in files] == ["x.jpg"]
        with pytest.raises(InputError, match=r"f\*\.tif matches no file"):
            expanded([tmp_path / "a" / "f*.tif"])

    def test_brackets_in_a_real_name_are_no_pattern(self, tmp_path):
        paths = put(tmp_path, "a[1].png", "b.png")
        assert expanded(paths)[0] == paths

    def test_a_shells_order_is_counted_and_said(self, tmp_path):
        paths = put(tmp_path, "p1.png", "p10.png", "p2.png")
        files, note = expanded(paths)
        assert [path.name for path in files] == ["p1.png", "p2.png", "p10.png"]
        assert "2 before 10" in note

    @pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0)])
    def test_an_order_of_ones_own_stays(self, tmp_path, order):
        paths = put(tmp_path, "p1.png", "p10.png", "p2.png")
        given = [paths[index] for index in order]
        assert expanded(given) == (given, "")

    def test_a_pair_stays_near_and_far(self, tmp_path):
        paths = put(tmp_path, "p10.png", "p9.png")
        assert expanded(paths) == (paths, "")

    def test_what_cannot_be_meant(self, tmp_path):
        put(tmp_path / "full", "a.png")
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="is a folder: give one folder alone"):
            expanded([tmp_path / "full", tmp_path / "empty"])
        with pytest.raises(InputError, match="empty holds no pictures"):
            expanded([tmp_path / "empty"])
        with pytest.raises(InputError, match="holds no pictures: for a stack in each of its folders take `stacks`"):
            expanded([tmp_path])

    def test_a_folder_with_one_video(self, tmp_path):
        (tmp_path / "x.mp4").touch()
        assert expanded([tmp_path])[0] == [tmp_path / "x.mp4"]


class TestStacks:
    def test_one_in_each_folder_and_file(self, tmp_path):
        put(tmp_path / "s10", "1.png", "2.png")
        put(tmp_path / "s9", "10.png", "9.png", "8.png")
        put(tmp_path / "lonely", "1.png")
        tifffile.imwrite(tmp_path / "many.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
        tifffile.imwrite(tmp_path / "one.tif", np.zeros((8, 8), np.uint8))
        found = find_stacks(tmp_path)
        assert [(stack.name, [path.name for path in stack.files]) for stack in found] == [
            ("lonely", ["1.png"]), ("many", ["many.tif"]), ("s9", ["8.png", "9.png", "10.png"]), ("s10", ["1.png", "2.png"])
        ]  # fmt: skip

    def test_cut_by_count(self, tmp_path):
        put(tmp_path, *(f"f{number}.png" for number in range(6)))
        found = find_stacks(tmp_path, every=3)
        assert [stack.name for stack in found] == ["f0-f2", "f3-f5"]
        with pytest.raises(InputError, match="holds 6 pictures, which is no multiple of 4"):
            find_stacks(tmp_path, every=4)

    def test_cut_by_time(self, tmp_path):
        paths = put(tmp_path, *(f"f{number}.png" for number in range(6)))
        for path, moment in zip(paths, (0, 1, 2, 10, 11, 30), strict=True):
            os.utime(path, (1e9 + moment, 1e9 + moment))
        assert [len(group) for group in cut_by_time(paths[:5], 3)] == [3, 2]
        with pytest.raises(InputError, match=r"f5\.png lies 3 s or more from every other frame"):
            find_stacks(tmp_path, gap=3)
        paths[5].unlink()
        assert [stack.name for stack in find_stacks(tmp_path, gap=3)] == ["f0-f2", "f3-f4"]

    def test_the_time_of_exposure_counts_before_the_files(self, tmp_path):
        for name, taken, fraction in (("a", "10:00:05", "25"), ("b", "10:00:01", "")):
            exif = Image.Exif()
            part = exif.get_ifd(0x8769)
            part[0x9003] = f"2026:01:01 {taken}"
            if fraction:
                part[0x9291] = fraction
            Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.jpg", exif=exif)
        assert taken_at(tmp_path / "a.jpg") - taken_at(tmp_path / "b.jpg") == pytest.approx(4.25)

    def test_what_holds_none(self, tmp_path):
        with pytest.raises(InputError, match="holds no stacks, which are folders"):
            find_stacks(tmp_path)
        put(tmp_path, "a.png", "b.png")
        with pytest.raises(InputError, match="it holds 2 pictures: cut them with"):
            find_stacks(tmp_path)
        with pytest.raises(InputError, match="is not a folder"):
            find_stacks(tmp_path / "no")
        with pytest.raises(InputError, match="give one of the two"):
            find_stacks(tmp_path, gap=1, every=2)


class TestNoFrames:
    """Pictures in a folder that are no frames: the JPEG beside a raw file, results of earlier fusions, previews."""

    def result(self, path):
        picture = np.zeros((4, 5, 3), np.uint8)
        write_image(path, picture, metadata=Metadata().of_result((4, 5), software(), "x"), force=True)

    def test_a_raw_files_jpeg(self, tmp_path):
        names = [f"IMG_{number}{suffix}" for number in (1, 2) for suffix in (".JPG", ".CR2")]
        tmp_path.joinpath("in").mkdir()
        for name in (*names, "IMG_3.JPG"):
            (tmp_path / "in" / name).write_bytes(b"x")
        frames = ["IMG_1.CR2", "IMG_2.CR2", "IMG_3.JPG"]
        files, note = expanded([tmp_path / "in"])
        assert [path.name for path in files] == frames
        assert note == "taken without IMG_1.JPG and IMG_2.JPG"
        assert [path.name for path in expanded([tmp_path / "in" / "*"])[0]] == frames
        (stack,) = find_stacks(tmp_path / "in", every=3)
        assert [path.name for path in stack.files] == frames

    def test_a_raw_files_jpeg_among_pairs(self, tmp_path):
        for name in ("b_A.JPG", "b_A.DNG", "b_B.DNG", "b_B.JPG"):
            (tmp_path / name).write_bytes(b"x")
        (pair,) = find_pairs(tmp_path)
        assert (pair.near.name, pair.far.name) == ("b_A.DNG", "b_B.DNG")

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".webp"])
    def test_an_earlier_result(self, tmp_path, suffix):
        put(tmp_path, "1.png", "2.png")
        self.result(tmp_path / f"fused{suffix}")
        for named in (tmp_path, tmp_path / "*"):
            files, note = expanded([named])
            assert [path.name for path in files] == ["1.png", "2.png"]
            assert note == f"taken without fused{suffix}"

    @pytest.mark.parametrize(
        ("frames", "results"),
        [
            (("pcb_001.jpg", "pcb_002.jpg", "pcb_010.jpg"), ("focus-stack.jpg",)),
            (("1.png", "2.png", "3.png"), ("fused.tif", "Result.JPG")),
            (("IMG_20260101_120001.jpg", "IMG_20260101_120002.jpg", "IMG_20260101_120003.jpg"), ("board.png",)),
            (("DSC_1.tif", "DSC_2.tif"), ("2011-04-23-15.37.40 ZS PMax.tif", "2011-04-23-15.40.02 ZS DMap-1.tif")),
            (("a.jpg", "b.jpg"), ("2022-02-27 11-19-53 (A,Radius8,Smoothing4).jpg", "a-b (C,S4).jpg")),
        ],
    )
    def test_results_of_other_programs(self, tmp_path, frames, results):
        put(tmp_path / "s", *frames, *results)
        for named in (tmp_path / "s", tmp_path / "s" / "*"):
            files, note = expanded([named])
            assert [path.name for path in files] == list(frames)
            assert all(name in note for name in results)
        (stack,) = find_stacks(tmp_path)
        assert [path.name for path in stack.files] == list(frames)
        named = [tmp_path / "s" / name for name in (*frames, *results)]
        assert set(expanded(named)[0]) == set(named)  # what is named is taken, and told where it is read

    @pytest.mark.parametrize(
        "names",
        [
            ("far.png", "mid.png", "near.png"),
            ("1.png", "2.png", "last.png"),  # two are no series
            ("a1.png", "a2.png", "b3.png", "b4.png", "end.png"),  # nor are two of two
            ("2011-04-23-15.37.40 ZS PMax.tif", "2011-04-23-15.40.02 ZS PMax.tif", "2011-04-23-15.42.02 ZS PMax.tif"),
            ("1.png", "2011-04-23-15.37.40 ZS PMax.tif"),
        ],
    )
    def test_names_that_tell_nothing_are_frames(self, tmp_path, names):
        put(tmp_path, *names)
        files, note = expanded([tmp_path])
        assert {path.name for path in files} == set(names)
        assert note == ""

    def test_results_alone_are_frames(self, tmp_path):
        for name in ("1.png", "2.png"):
            self.result(tmp_path / name)
        assert len(expanded([tmp_path])[0]) == 2

    def test_folders_of_results_and_previews_are_no_stacks(self, tmp_path):
        for folder in ("a", "b", "__MACOSX"):
            put(tmp_path / folder, "1.png", "2.png")
        (tmp_path / "fused").mkdir()
        for name in ("a.png", "b.png"):
            self.result(tmp_path / "fused" / name)
        assert [stack.name for stack in find_stacks(tmp_path)] == ["a", "b"]


class TestOneFileNamedTwice:
    def test_is_one_frame_and_that_is_said(self, tmp_path):
        put(tmp_path, "1.png", "2.png", "3.png")
        (tmp_path / "link.png").symlink_to("3.png")
        files, note = expanded([tmp_path / "1.png", tmp_path / ".." / tmp_path.name / "2.png", tmp_path / "[123]*.png"])
        assert [path.name for path in files] == ["1.png", "2.png", "3.png"]
        assert note == "named twice and taken once: 1.png, 2.png"
        files, note = expanded([tmp_path / "[123].png", tmp_path / "link.png"])
        assert [path.name for path in files] == ["1.png", "2.png", "3.png"]
        assert note == "named twice and taken once: link.png"

    def test_by_its_name_both_times_it_is_two(self, tmp_path):
        put(tmp_path, "1.png", "2.png")
        named = [tmp_path / "1.png", tmp_path / "2.png", tmp_path / "1.png"]
        assert expanded(named) == (named, "")


class TestRegisteredFrames:
    def test_are_no_frames_beside_others_but_a_stack_of_their_own(self, tmp_path):
        registered = Metadata().of_result((4, 5), software(), f"{REGISTERED} 1 of 2 (x.png)")
        result = Metadata().of_result((4, 5), software(), "")
        for name, notes in (("a/1.png", None), ("a/2.png", None), ("a/001.tif", registered), ("b/001.png", registered),
                            ("b/002.png", registered), ("c/1.png", result), ("c/2.png", result)):  # fmt: skip
            (tmp_path / name).parent.mkdir(exist_ok=True)
            write_image(tmp_path / name, np.zeros((4, 5, 4), np.uint8), metadata=notes)
        assert [path.name for path in expanded([tmp_path / "a"])[0]] == ["1.png", "2.png"]
        assert [path.name for path in expanded([tmp_path / "b"])[0]] == ["001.png", "002.png"]
        passed = []
        assert [stack.name for stack in find_stacks(tmp_path, passed=passed)] == ["a", "b"]
        assert passed == ["c holds results of ufafuse only"]


class TestWhatIsNoStack:
    def test_is_a_row_where_frames_were_meant_and_told_where_not(self, tmp_path):
        put(tmp_path / "a", "1.png", "2.png")
        put(tmp_path / "one", "1.png")
        for name in ("video/v.avi", "videos/v.avi", "videos/w.avi", "notes/a.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        put(tmp_path, "loose.png")
        (tmp_path / "gone.tif").symlink_to("nowhere")
        (tmp_path / "a" / "3.png").symlink_to("nowhere")
        (tmp_path / ".git").mkdir()
        passed = []
        found = {stack.name: stack for stack in find_stacks(tmp_path, passed=passed)}
        assert {name: len(stack.files) for name, stack in found.items()} == {
            "a": 3, "gone": 1, "one": 1, "video": 1, "videos": 2
        }  # fmt: skip
        assert [name for name, stack in found.items() if stack.refused] == ["gone", "videos"]
        assert "is a link to what is not there" in found["gone"].refused
        assert passed == ["loose.png is one picture, and no stack", "notes holds no pictures"]

    def test_a_link_to_nowhere_is_a_frame_that_is_missing(self, tmp_path):
        put(tmp_path, "1.png", "2.png")
        (tmp_path / "3.png").symlink_to("nowhere")
        for named in (tmp_path, tmp_path / "*.png"):
            assert [path.name for path in expanded([named])[0]] == ["1.png", "2.png", "3.png"]
        for look in (opened, taken_at):
            with pytest.raises(InputError, match="is a link to nowhere, which does not exist"):
                look(tmp_path / "3.png")


class TestPairs:
    @pytest.mark.parametrize("sides", [("A", "B"), ("a", "b"), ("near", "far")])
    def test_folders_of_sides(self, tmp_path, sides):
        for side in sides:
            put(tmp_path / side, "1.png", "2.png")
        pairs = find_pairs(tmp_path)
        assert [(pair.name, pair.near, pair.far) for pair in pairs] == [
            (str(n), tmp_path / sides[0] / f"{n}.png", tmp_path / sides[1] / f"{n}.png") for n in (1, 2)
        ]

    def test_numbers(self, tmp_path):
        put(tmp_path, "bolt_1.tif", "bolt_2.tif", "nut-01.tif", "nut-02.tif", "alone_1.tif")
        pairs = find_pairs(tmp_path)
        assert [(pair.name, pair.near.name, pair.far.name) for pair in pairs] == [
            ("alone", "alone_1.tif", "alone_2.tif"), ("bolt", "bolt_1.tif", "bolt_2.tif"), ("nut", "nut-01.tif", "nut-02.tif")
        ]  # fmt: skip

    def test_a_stack_is_no_pair(self, tmp_path):
        put(tmp_path, "x_1.png", "x_2.png", "x_3.png")
        with pytest.raises(InputError, match="that is a stack"):
            find_pairs(tmp_path)


class TestWhatIsKnownOfAStack:
    def test_truth_and_depth_are_no_frames_and_that_is_said(self, tmp_path):
        folder = tmp_path / "stack"
        put(folder, "10.png", "2.png", "1.png", "truth.png", "Depth.tif")
        names = ["1.png", "2.png", "10.png"]
        assert [path.name for path in frames_in(folder)] == names
        files, note = expanded([folder])
        assert [path.name for path in files] == names
        assert note == "taken without Depth.tif and truth.png"
        (stack,) = find_stacks(tmp_path)
        assert [path.name for path in stack.files] == names

    @pytest.mark.parametrize("names", [("truth.png", "depth.png"), ("truth.png", "a.png"), ("truth_1.png", "truth_2.png")])
    def test_without_two_other_pictures_the_names_mean_nothing(self, tmp_path, names):
        put(tmp_path, *names)
        assert len(frames_in(tmp_path)) == 2
        assert expanded([tmp_path])[1] == ""


def test_of_a_video_the_beginning_is_read_to_see_what_made_it(tmp_path):
    with (tmp_path / "hours.avi").open("wb") as file:
        file.write(b"RIFF\0\0\0\0AVI ")
        file.truncate(64 << 20)
    tracemalloc.start()
    assert not is_result(tmp_path / "hours.avi")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
