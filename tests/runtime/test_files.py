"""Files in, files out; one bad pair does not stop a folder."""

import shutil
import threading
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ufafuse.runtime.batches import task
from ufafuse.runtime.errors import InputError, ModelError, OutputError
from ufafuse.runtime.files import FileOptions, fuse_files, reading
from ufafuse.runtime.folders import fuse_folder
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.images import read_image, write_image
from ufafuse.runtime.memory.budget import SURELY_ENOUGH
from ufafuse.runtime.outputs import Outputs, as_levels
from ufafuse.runtime.pairs import PairPaths, find_pairs
from ufafuse.runtime.pictures.inputs import StackPaths
from ufafuse.runtime.pictures.source import FileFrame
from ufafuse.runtime.stack import StackOptions
from ufafuse.runtime.writing import make_folder

pytestmark = pytest.mark.usefixtures("small_engine")


@pytest.fixture
def fuser(write_model):
    with Fuser(write_model(), backend="onnxruntime") as opened:
        yield opened


@pytest.fixture
def images(tmp_path, rng):
    """Writes ``count`` images of a kind; returns their paths."""

    def write(count=2, shape=(20, 30, 3), dtype=np.uint8, suffix=".png", folder=tmp_path, names="ABCDEFG"):
        paths = []
        folder.mkdir(exist_ok=True, parents=True)
        for index in range(count):
            path = folder / f"x_{names[index]}{suffix}"
            write_image(path, rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True), force=True)
            paths.append(path)
        return paths

    return write


def test_a_pair(fuser, images, tmp_path):
    near, far = images()
    outcome = fuse_files(fuser, (near, far), Outputs(tmp_path / "f.png"))
    np.testing.assert_array_equal(read_image(tmp_path / "f.png"), fuser.fuse(read_image(near), read_image(far)))
    json = outcome.to_json()
    told = {"near", "far", "fused", "size", "ms", "method", "white", "white_found", "seen_as_white", "disagreement"}
    assert json.keys() == told | {"warnings"}
    assert "show different things" in json["warnings"][0]  # two pictures of noise do
    assert (json["white"], json["white_found"]) == (255, "8 bits")
    assert json["size"] == [20, 30]
    assert json["ms"] > 0


def test_colours_that_webp_does_not_keep_are_told(fuser, images, tmp_path):
    near, far = images(shape=(20, 30, 4))
    for path in (near, far):
        picture = read_image(path)
        picture[:5, :, 3] = 0
        write_image(path, picture, force=True)
    told = fuse_files(fuser, (near, far), Outputs(tmp_path / "f.webp")).warnings
    assert any("f.webp cannot hold the colours where alpha is 0: end it in .png or .tif." in text for text in told)
    assert not any("alpha is 0" in text for text in fuse_files(fuser, (near, far), Outputs(tmp_path / "f.png")).warnings)


@pytest.mark.parametrize(
    ("shape", "dtype", "suffix"),
    [
        ((20, 30), np.uint16, ".tif"),
        ((20, 30, 4), np.uint8, ".png"),
        ((1, 1, 3), np.uint8, ".bmp"),
        ((20, 30), np.uint8, ".webp"),
    ],
)
def test_what_goes_in_comes_out(fuser, images, tmp_path, shape, dtype, suffix):
    kept = ".png" if suffix == ".webp" else suffix
    fuse_files(fuser, images(shape=shape, dtype=dtype, suffix=suffix), Outputs(tmp_path / f"f{kept}"))
    fused = read_image(tmp_path / f"f{kept}")
    assert fused.dtype == dtype
    assert fused.shape[:2] == shape[:2]


def test_everything_at_once(fuser, images, tmp_path):
    paths = images(3, shape=(64, 70, 3))
    outputs = Outputs(tmp_path / "f.png", tmp_path / "m.png", tmp_path / "c.png")
    outcome = fuse_files(fuser, paths, outputs, StackOptions(align="translation", match_gain=True))
    json = outcome.to_json()
    assert json["more"] == [str(paths[2])]
    assert json["map"].endswith("m.png")
    assert json["confidence"].endswith("c.png")
    assert len(json["alignment"]) == len(json["gain"]) == 2
    assert json["crop"] == [0, 64, 0, 70]
    assert json["warnings"]
    for path in (outputs.map, outputs.confidence):
        assert read_image(path).shape == (64, 70)


def test_tiles_are_reported(write_model, images, tmp_path):
    with Fuser(write_model(), backend="onnxruntime", tile=16) as fuser:
        json = fuse_files(fuser, images(shape=(50, 60)), Outputs(tmp_path / "f.png")).to_json()
    assert json["tiles"]["count"] > 1
    assert json["tiles"]["work"] > 1


def test_levels():
    assert as_levels(np.array([[0, 0.5, 1]], np.float32)).tolist() == [[0, 128, 255]]


class TestReading:
    def test_frames_come_in_the_files_order(self, images):
        paths = images(7)
        with reading(paths, threads=2) as frames:
            got = list(frames)
            for _ in range(2):
                assert [frame.read().tobytes() for frame in got] == [read_image(path).tobytes() for path in paths]

    def test_in_no_thread_of_their_own_where_many_are_under_way(self, images, tmp_path):
        paths, before = images(2), threading.active_count()
        (tmp_path / "broken.png").write_bytes(b"no picture")
        with reading([*paths, tmp_path / "broken.png"], threads=0) as frames:
            assert threading.active_count() == before
            assert [frame.read().tobytes() for frame in frames[:2]] == [read_image(path).tobytes() for path in paths]
        with reading([tmp_path / "broken.png", *paths], threads=0) as frames, pytest.raises(InputError, match=r"broken\.png"):
            frames[0].read()

    def test_a_missing_file_speaks_at_once(self, images, tmp_path):
        with pytest.raises(InputError, match=r"no\.png"), reading([*images(1), tmp_path / "no.png"]):
            pass

    def test_a_broken_file_speaks_when_it_is_read(self, images, tmp_path):
        good = images(1)[0]
        (tmp_path / "broken.png").write_bytes(good.read_bytes()[:-20])
        with reading([good, tmp_path / "broken.png", good]) as frames:
            frames[0].read()
            with pytest.raises(InputError, match=r"broken\.png is damaged"):
                frames[1].read()
            frames[2].read()

    def test_frames_read_already_are_taken(self, fuser, images, tmp_path):
        near, far = images()
        fuse_files(fuser, (near, far), Outputs(tmp_path / "f.png"))
        with reading((near, far)) as frames:
            fuse_files(fuser, (near, far), Outputs(tmp_path / "g.png"), frames=frames)
        assert (tmp_path / "g.png").read_bytes() == (tmp_path / "f.png").read_bytes()


class TestRefused:
    def test_unlike_frames_name_the_files(self, fuser, images, tmp_path):
        near = images()[0]
        other = images(1, shape=(20, 31, 3), names="Z")[0]
        with pytest.raises(InputError, match=r"x_Z\.png has 20 x 31 pixels, .*x_A\.png 20 x 30"):
            fuse_files(fuser, (near, other), Outputs(tmp_path / "f.png"))
        assert not (tmp_path / "f.png").exists()

    def test_a_truncated_file(self, fuser, images, tmp_path):
        near, far = images()
        far.write_bytes(far.read_bytes()[:-20])
        with pytest.raises(InputError, match=r"x_B\.png is damaged"):
            fuse_files(fuser, (near, far), Outputs(tmp_path / "f.png"))

    def test_one_file_for_two_results(self, tmp_path):
        with pytest.raises(InputError, match=r"two results would be written to .*f\.png"):
            Outputs(tmp_path / "f.png", map=tmp_path / "." / "f.png")
        with pytest.raises(InputError, match=r"two results would be written to .*d\.png"):
            Outputs(tmp_path / "f.png", depth=tmp_path / "d.png", depth_view=tmp_path / "d.png")

    @pytest.mark.parametrize("which", ["fused", "map", "confidence"])
    def test_an_existing_result_before_anything_is_read(self, fuser, tmp_path, which):
        outputs = Outputs(tmp_path / "f.png", tmp_path / "m.png", tmp_path / "c.png")
        getattr(outputs, which).touch()
        with pytest.raises(OutputError, match="exists already"):
            fuse_files(fuser, (tmp_path / "no.png", tmp_path / "no.png"), outputs)

    def test_a_format_that_cannot_hold_the_frames(self, fuser, images, tmp_path):
        with pytest.raises(OutputError, match="cannot hold the 16-bit levels"):
            fuse_files(fuser, images(dtype=np.uint16), Outputs(tmp_path / "f.jpg"))

    def test_a_model_without_a_map(self, fuser, images, tmp_path, small, monkeypatch):
        infer = small.Session.infer
        monkeypatch.setattr(small.Session, "infer", lambda self, inputs: {"fused": infer(self, inputs)["fused"]})
        with pytest.raises(ModelError, match=r"small\.onnx gives no map: omit the map"):
            fuse_files(fuser, images(), Outputs(tmp_path / "f.png", map=tmp_path / "m.png"))
        assert not (tmp_path / "f.png").exists()


def test_files_are_closed_when_nobody_reads_in_them_any_more(tmp_path, monkeypatch):
    writer = cv2.VideoWriter(str(tmp_path / "x.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for level in (20, 90, 160, 230):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    under_way, ended_under_it = threading.Event(), []

    class Slow:
        """OpenCV's capture, which ends the process where it is released while a thread reads."""

        def __init__(self, *arguments):
            self.capture, self.busy = opened(*arguments), False

        def __getattr__(self, name):
            return getattr(self.capture, name)

        def read(self):
            self.busy = True
            under_way.set()
            time.sleep(0.2)
            self.busy = False
            return self.capture.read()

        def release(self):
            ended_under_it.extend([self] if self.busy else [])
            self.capture.release()

    opened = cv2.VideoCapture
    monkeypatch.setattr(cv2, "VideoCapture", Slow)
    with pytest.raises(ModelError, match="meanwhile"), reading([tmp_path / "x.avi"]):
        assert under_way.wait(10)
        raise ModelError("meanwhile the model was found not to fit")
    assert ended_under_it == []


class TestFolders:
    @pytest.fixture
    def folder(self, images, tmp_path):
        """Two good pairs, one broken, one with unequal sizes, one half."""
        base = tmp_path / "pairs"
        for name in ("good1", "deep/good2"):
            for path in images(folder=(base / name).parent):
                path.rename(path.with_name((base / name).name + path.name[1:]))
        (base / "broken_A.png").write_bytes(b"\x89PNG\r\n\x1a\n")
        (base / "broken_B.png").touch()
        cv2.imwrite(str(base / "odd_A.png"), np.zeros((4, 5, 3), np.uint8))
        cv2.imwrite(str(base / "odd_B.png"), np.zeros((5, 4, 3), np.uint8))
        cv2.imwrite(str(base / "half_A.png"), np.zeros((4, 5, 3), np.uint8))
        return base

    def test_the_good_ones_are_fused(self, fuser, folder, tmp_path):
        told = []
        out, maps, confidences = (tmp_path / name for name in ("out", "maps", "confidences"))
        outcomes = fuse_folder(fuser, find_pairs(folder), out, maps=maps, confidences=confidences, done=told.append)
        assert told == outcomes
        assert {outcome.fused.stem: bool(outcome.error) for outcome in outcomes} == {
            "broken": True, "good2": False, "good1": False, "half": True, "odd": True
        }  # fmt: skip
        errors = {outcome.fused.stem: outcome.error for outcome in outcomes}
        assert "broken_B.png is empty" in errors["broken"]
        assert "half_B.png does not exist" in errors["half"]
        assert "turn it" in errors["odd"]
        found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("good*.png") if "pairs" not in path.parts}
        assert found == {f"{top}/{name}.png" for top in ("out", "maps", "confidences") for name in ("good1", "deep/good2")}

    def test_going_on_where_an_earlier_run_stopped(self, fuser, folder, tmp_path):
        pairs = find_pairs(folder)
        fuse_folder(fuser, pairs, tmp_path / "out")
        again = fuse_folder(fuser, pairs, tmp_path / "out", skip_existing=True)
        assert {outcome.fused.stem for outcome in again} == {"broken", "half", "odd"}
        refused = fuse_folder(fuser, pairs, tmp_path / "out")
        assert all(outcome.error for outcome in refused)
        forced = fuse_folder(fuser, pairs, tmp_path / "out", force=True)
        assert sum(not outcome.error for outcome in forced) == 2

    def test_done_is_what_has_all_its_results(self, fuser, folder, tmp_path):
        pairs, maps = find_pairs(folder), tmp_path / "maps"
        fuse_folder(fuser, pairs, tmp_path / "out")
        before = (tmp_path / "out" / "good1.png").read_bytes()
        later = fuse_folder(fuser, pairs, tmp_path / "out", maps=maps, skip_existing=True)
        assert {outcome.fused.stem for outcome in later if not outcome.error} == {"good1", "good2"}
        assert (maps / "good1.png").exists()
        assert (tmp_path / "out" / "good1.png").read_bytes() == before
        again = fuse_folder(fuser, pairs, tmp_path / "out", maps=maps, skip_existing=True)
        assert all(outcome.error for outcome in again)

    def test_what_is_refused_is_a_row_and_nothing_is_read(self, fuser, images, tmp_path):
        stack = StackPaths("s", tuple(images(3)), refused="one is missing")
        (outcome,) = fuse_folder(fuser, [stack], tmp_path / "out")
        assert outcome.error == "one is missing"

    def test_of_those_that_still_arrive_the_second_with_a_name_is_refused(self, fuser, images, tmp_path):
        stacks = [StackPaths("s", tuple(images(2, folder=tmp_path / name))) for name in "ab"]
        for force in (False, True):
            late = replace(stacks[0], refused="one came late")
            outcomes = fuse_folder(fuser, iter([*stacks, late]), tmp_path / f"out{force}", force=force)
            assert not outcomes[0].error
            assert "another called s was fused before" in outcomes[1].error
            assert outcomes[2].error == "one came late"

    def test_several_at_once_give_what_one_after_the_other_gives(self, fuser, folder, tmp_path):
        runs = {}
        for at_once in (1, 2, 5):
            outcomes = fuse_folder(fuser, find_pairs(folder), tmp_path / f"out{at_once}", at_once=at_once)
            runs[at_once] = [(outcome.fused.stem, outcome.size, bool(outcome.error)) for outcome in outcomes]
        assert runs[1] == runs[2] == runs[5]
        for name in ("good1.png", "deep/good2.png"):
            np.testing.assert_array_equal(read_image(tmp_path / "out1" / name), read_image(tmp_path / "out5" / name))

    def test_how_many_at_once(self, write_model, folder, images, tmp_path):
        pairs = find_pairs(folder)
        with Fuser(write_model(), backend="onnxruntime", threads=2) as fuser:
            assert task.pairs_at_once(fuser, pairs * 2) == 4
            assert task.pairs_at_once(fuser, pairs[:2]) == 2
            assert task.pairs_at_once(fuser, iter(pairs)) == 1  # they are still arriving
            stack = StackPaths("stack", tuple(images(3, folder=tmp_path / "stack")))
            assert task.pairs_at_once(fuser, [*pairs, stack]) == 1
        with Fuser(write_model(), backend="onnxruntime", threads=2, max_memory=4000) as fuser:
            assert task.pairs_at_once(fuser, pairs) == 1

    def test_large_pairs_wait_for_memory(self, folder, images, tmp_path):
        large = PairPaths("large", *images(shape=(300, 200, 3), folder=tmp_path / "large"))
        assert task._memory_for(task.task_of(large, tmp_path)) == 300 * 200 * SURELY_ENOUGH
        by_name = {pair.name: pair for pair in find_pairs(folder)}
        assert task._memory_for(task.task_of(by_name["half"], tmp_path)) > 0
        assert task._memory_for(task.task_of(by_name["broken"], tmp_path)) == float("inf")  # alone: nobody knows what comes

    def test_a_folder_that_cannot_be_made(self, fuser, folder, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(OutputError, match="out cannot be made: Not a directory"):
            make_folder(tmp_path / "file" / "out")
        with pytest.raises(OutputError, match="file is no folder, and results are to lie in it"):
            fuse_folder(fuser, find_pairs(folder), tmp_path / "file" / "out")


@pytest.mark.parametrize(("method", "made"), [("pyramid", "the pyramid (no network)"), ("network", "small in fp32")])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_result_says_what_made_it(fuser, images, tmp_path, method, made, suffix):
    out, page = tmp_path / f"f{suffix}", tmp_path / "f.html"
    how = FileOptions(report=page)
    outcome = fuse_files(fuser, images(), Outputs(out), StackOptions(method=method), files=how)
    made = made.replace("small", fuser.model.stem)
    assert outcome.details["method"] == method
    assert made in page.read_text()
    assert FileFrame(out).metadata.exif.count(f"with {made}".encode()) == 1


@pytest.mark.parametrize("named", ["another way", "link", "hard link"])
def test_a_file_that_is_both_frames_is_told(fuser, images, tmp_path, named):
    near, _ = images()
    other = tmp_path / "." / near.name if named == "another way" else tmp_path / "other.png"
    if named != "another way":
        (other.hardlink_to if named == "hard link" else other.symlink_to)(near)
    outcome = fuse_files(fuser, (near, other), Outputs(tmp_path / "f.png"))
    assert any("the same file is given more than once" in warning for warning in outcome.warnings)
    assert not any("more than once" in text for text in fuse_files(fuser, images(), Outputs(tmp_path / "g.png")).warnings)


def test_sentences_on_many_frames_name_a_few(fuser, images, tmp_path):
    made = tmp_path / "made.png"
    fuse_files(fuser, images(), Outputs(made), StackOptions(method="pyramid"))
    results = [made.rename(tmp_path / "result_00.png")]
    results += [Path(shutil.copy(results[0], tmp_path / f"result_{number:02}.png")) for number in range(1, 40)]
    frames = images(40, folder=tmp_path / "frames", names=[f"{number:02}" for number in range(40)])
    for given, told in ((frames * 2, "more than once"), (frames[:2] + results, "are results of ufafuse")):
        outcome = fuse_files(fuser, given, Outputs(tmp_path / "f.png"), StackOptions(method="pyramid"), force=True)
        (sentence,) = (text for text in outcome.warnings if told in text)
        assert "and 37 more" in sentence
        assert all(text.count(str(tmp_path)) <= 5 for text in outcome.warnings)


class TestMemory:
    @pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")])
    def test_a_pair_that_finds_none_is_a_row(self, fuser, images, tmp_path, monkeypatch, error):
        def refused(*_given, **_how):
            raise error

        monkeypatch.setattr(fuser, "fuse_pair", refused)
        (outcome,) = fuse_folder(fuser, [PairPaths("x", *images())], tmp_path / "out")
        assert "x_A.png cannot be fused: there is not enough memory" in outcome.error

    @pytest.mark.parametrize(("suffix", "decoder"), [(".png", "cv2.imdecode"), (".bmp", "ufafuse.runtime.pictures.bmp._rows")])
    def test_a_picture_that_finds_none_says_so(self, images, monkeypatch, suffix, decoder):
        def refused(*_given):
            raise MemoryError

        monkeypatch.setattr(decoder, refused)
        with pytest.raises(InputError, match=rf"x_A{suffix} cannot be decoded: there is not enough memory for it\.$"):
            read_image(images(suffix=suffix)[0])

    def test_a_defect_stays_one(self, fuser, images, tmp_path, monkeypatch):
        def wrong(*_given, **_how):
            raise RuntimeError("a defect")

        monkeypatch.setattr(fuser, "fuse_pair", wrong)
        with pytest.raises(RuntimeError, match="a defect"):
            fuse_files(fuser, images(), Outputs(tmp_path / "f.png"))


def test_a_reference_that_one_of_many_lacks_is_counted_as_it_was_asked(fuser, images, tmp_path):
    stack = StackPaths("s", tuple(images(2)))
    (outcome,) = fuse_folder(fuser, [stack], tmp_path / "out", StackOptions(align="affine", reference=2))
    assert outcome.error.startswith("`reference` asks for frame 3, counted from 1, and the stack that begins with")
    assert outcome.error.endswith("has 2.")


class TestTogether:
    def test_a_result_that_cannot_be_written_takes_the_others_with_it(self, fuser, images, tmp_path, monkeypatch):
        def full(*_given, **_how):
            raise OutputError("no space")

        monkeypatch.setattr("ufafuse.runtime.page.write_page", full)
        near, far = images()
        (tmp_path / "m.png").write_bytes(b"before")
        outputs = Outputs(tmp_path / "f.png", map=tmp_path / "m.png")
        with pytest.raises(OutputError, match="no space"):
            fuse_files(fuser, (near, far), outputs, files=FileOptions(report=tmp_path / "p.html"), force=True)
        assert {path.name for path in tmp_path.iterdir()} >= {"m.png", "x_A.png", "x_B.png"}
        assert not (tmp_path / "f.png").exists()
        assert (tmp_path / "m.png").read_bytes() == b"before"
