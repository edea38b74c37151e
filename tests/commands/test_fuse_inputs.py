"""`ufa fuse` on inputs as people name them, and what it never does to them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.runtime.files import Outcome
from ufafuse.runtime.images import read_image
from ufafuse.runtime.pictures.decode import decode_picture, read_picture
from ufafuse.runtime.pictures.exif import IMAGE_HISTORY, parse_exif

pytest.importorskip("onnxruntime")
ENGINE = ("--model", "ufa-nano", "--backend", "onnxruntime", "--threads", "1")


def ufa(*arguments):
    return CliRunner().invoke(build_app(), ["fuse", *map(str, arguments), *ENGINE])


def outputs(done):
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)["outputs"]


def put(folder, *names, shape=(40, 48, 3), dtype=np.uint8):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(4)
    sharp = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 2)
    for number, name in enumerate(names):
        frame = blurred.copy()
        rows = slice(shape[0] * number // len(names), shape[0] * (number + 1) // len(names))
        frame[rows] = sharp[rows]
        cv2.imwrite(str(folder / name), frame)
    return [folder / name for name in names]


def test_a_folder_a_pattern_and_a_stack_in_one_file_are_one_stack(tmp_path):
    paths = put(tmp_path / "in", "f9.png", "f10.png", "f11.png")
    stack = np.stack([cv2.cvtColor(read_image(path), cv2.COLOR_BGR2RGB) for path in paths])
    tifffile.imwrite(tmp_path / "stack.tif", stack, photometric="rgb")
    results = []
    for number, named in enumerate((tmp_path / "in", tmp_path / "in" / "f*.png", tmp_path / "stack.tif")):
        (entry,) = outputs(ufa(named, "-o", tmp_path / f"{number}.png", "--json"))
        results.append(read_image(tmp_path / f"{number}.png"))
        assert len(entry["more"]) == 1
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_a_video_is_a_stack(tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / "x.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 40))
    for path in put(tmp_path / "in", "1.png", "2.png", "3.png"):
        writer.write(read_image(path))
    writer.release()
    (entry,) = outputs(ufa(tmp_path / "x.avi", "-o", tmp_path / "f.png", "--json"))
    assert entry["near"].endswith("x.avi, frame 1")


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_an_input_is_never_overwritten(tmp_path, force):
    near, far = put(tmp_path, "a.png", "b.png")
    before = near.read_bytes()
    (tmp_path / "link.png").symlink_to(near)
    for out in (near, tmp_path / "link.png", tmp_path / "." / "a.png"):
        done = ufa(near, far, "-o", out, *force)
        assert done.exit_code == 2
        assert "is one of the frames that are read" in done.stderr
    done = ufa(tmp_path, "-o", tmp_path / "b.png", *force)
    assert done.exit_code == 2
    assert near.read_bytes() == before


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("in", "-o", "o.png", "--save-aligned", "in", "--force"), "in/001.png is one of the frames that are read"),
        (("in", "-o", "o.png", "--save-aligned", "other"), "other/002.png exists already"),
        (("in", "-o", "o.png", "--save-aligned", "o.png"), "o.png is no folder, or another result"),
        (("in", "-o", "o.png", "--mesh", "missing/m.ply"), "missing is not a folder: make it first"),
        (("in", "-o", "new/001.png", "--save-aligned", "new"), "new/001.png would be a registered frame and another result"),
        (("--pairs", "pairs", "-o", "out", "--map", "pairs/near", "--force"), "pairs/near/x.png is one of the frames"),
    ],
)
def test_no_result_beside_the_picture_replaces_what_is_read(tmp_path, monkeypatch, arguments, text):
    put(tmp_path / "in", "001.png", "002.png", "003.png")
    put(tmp_path / "other", "002.png")
    (tmp_path / "new").mkdir()
    for side in ("near", "far"):
        put(tmp_path / "pairs" / side, "x.png")
    monkeypatch.chdir(tmp_path)
    before = contents(tmp_path)
    model = ("--backend", "onnxruntime", "--threads", "1", *(() if "--pairs" in arguments else ("--align", "translation")))
    done = CliRunner().invoke(build_app(), ["fuse", *arguments, *model])
    assert done.exit_code == 2, done.stderr
    assert text in done.stderr
    assert contents(tmp_path) == before


def test_earlier_results_are_left_out_of_a_folder_and_told_where_they_are_named(tmp_path):
    near, far = put(tmp_path / "in", "a.png", "b.png")
    beside = [name for kind in ("map", "confidence", "conflicts") for name in (f"--{kind}", tmp_path / "in" / f"x-{kind}.png")]
    outputs(ufa(near, far, "-o", tmp_path / "in" / "x.png", *beside, "--json"))
    (entry,) = outputs(ufa(tmp_path / "in", "-o", tmp_path / "o.png", "--json"))
    assert entry["order"] == "taken without x-confidence.png, x-conflicts.png, x-map.png and 1 more"
    assert "more" not in entry
    (entry,) = outputs(ufa(near, far, tmp_path / "in" / "x.png", "-o", tmp_path / "p.png", "--json"))
    assert any("x.png is a result of ufafuse and takes part as a frame" in warning for warning in entry["warnings"])


def test_another_programs_result_is_left_out_of_a_folder_and_told_where_it_is_named(tmp_path):
    frames = put(tmp_path / "in", "f1.png", "f2.png", "f3.png")
    (stacked,) = put(tmp_path / "in", "stacked.png")
    (entry,) = outputs(ufa(tmp_path / "in", "-o", tmp_path / "o.png", "--json"))
    assert entry["order"] == "taken without stacked.png"
    assert not any("stacked.png" in warning for warning in entry["warnings"])
    (entry,) = outputs(ufa(*frames, stacked, "-o", tmp_path / "p.png", "--json"))
    assert any("stacked.png is not called like the others and takes part" in warning for warning in entry["warnings"])
    put(tmp_path / "b", "1.png", "2.png")
    entries = outputs(ufa("--stacks", tmp_path, "-o", tmp_path / "out", "--json"))
    assert [entry.get("order") for entry in entries] == [None, "taken without stacked.png"]


def test_what_was_left_out_stands_beside_what_was_put_in_order(tmp_path):
    outcome = Outcome(tmp_path / "a", tmp_path / "b", tmp_path / "o", details={"order": "by the numbers in their names"})
    outcome.note("")
    assert outcome.to_json()["order"] == "by the numbers in their names"
    outcome.note("taken without stacked.png")
    assert outcome.to_json()["order"] == "by the numbers in their names; taken without stacked.png"


def test_names_that_are_no_text(tmp_path):
    for number, path in enumerate(put(tmp_path, "a.png", "b.png")):
        path.rename(tmp_path / os.fsdecode(b"\xff%d.png" % number))
    outputs(ufa(tmp_path, "-o", tmp_path / "f.png", "--json", "--report", tmp_path / "r.html"))
    assert "0.png, " in parse_exif(read_picture(tmp_path / "f.png").metadata.exif).text(IMAGE_HISTORY)


def test_results_of_a_folder_never_replace_its_pairs(tmp_path):
    put(tmp_path, "x_A.png", "x_B.png", "x_1.png")
    (tmp_path / "x_A.png").rename(tmp_path / "y_A.png")
    put(tmp_path, "x_A.png")
    done = ufa("--pairs", tmp_path, "-o", tmp_path, "--force")
    assert done.exit_code in (0, 1)
    assert {path.name for path in tmp_path.glob("*_[AB].png")} == {"x_A.png", "x_B.png", "y_A.png"}


def test_what_is_in_no_pair_is_named(tmp_path):
    put(tmp_path / "in", "x_A.png", "x_B.png", "z_1.png", "z_2.png", "k_a.png", "k_b.png", "alone.png")
    done = ufa("--pairs", tmp_path / "in", "-o", tmp_path / "out", "--json")
    told = json.loads(done.stdout)
    assert [entry["fused"] for entry in told["outputs"]] == [str(tmp_path / "out" / f"{name}.png") for name in "kxz"]
    assert (done.exit_code, told["passed_over"]) == (0, ["alone.png is no half of a pair"])
    assert "warning: passed over: alone.png is no half of a pair." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--quality", "90", "-o", "x.png"), "has no quality to choose"),
        (("--compression", "fast", "-o", "x.jpg"), "has no compression to choose"),
        (("--compression", "lzw", "-o", "x.png"), "cannot be compressed with lzw"),
        (("--report", "x.txt", "-o", "x.png"), "a report ends in .html"),
        (("--report", "x", "-o", "x.png"), "x has no suffix: a report ends in .html"),
        (("-o", "extnone"), "extnone has no suffix: end it in .png"),
        (("--gap", "3s", "-o", "x.png"), "--gap is for a folder of stacks: add --stacks DIR"),
        (("--watch", "-o", "x.png"), "--watch is for a folder of stacks"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_any_work(tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    paths = put(tmp_path, "a.png", "b.png")
    done = ufa(*paths, *arguments)
    assert done.exit_code == 2
    assert text in done.stderr
    assert not list(tmp_path.glob("x.*"))


def test_a_side_that_a_format_does_not_have_is_refused_before_any_work(tmp_path):
    paths = put(tmp_path, "a.png", "b.png", shape=(1, 17000))
    done = ufa(*paths, "-o", tmp_path / "f.webp")
    assert done.exit_code == 2
    assert "cannot hold 1 x 17000 pixels, .webp ends at 16383" in done.stderr


def test_quality_and_compression_change_the_size(tmp_path):
    paths = put(tmp_path, "a.png", "b.png", shape=(120, 160, 3))
    for path in paths:
        cv2.imwrite(str(path), cv2.GaussianBlur(read_image(path), (0, 0), 5))
    options = {
        "a.jpg": ("--quality", "20"),
        "b.jpg": ("--quality", "99"),
        "c.tif": ("--compression", "none"),
        "d.tif": ("--compression", "small"),
        "e.png": ("--compression", "none"),
        "f.png": ("--compression", "small"),
    }
    sizes = {}
    for name, option in options.items():
        outputs(ufa(*paths, "-o", tmp_path / f"o{name}", *option, "--json"))
        sizes[name] = (tmp_path / f"o{name}").stat().st_size
    assert sizes["a.jpg"] < sizes["b.jpg"]
    assert sizes["d.tif"] < sizes["c.tif"]
    assert sizes["f.png"] < sizes["e.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "oc.tif"), read_image(tmp_path / "oe.png"))


def test_damage_inside_is_a_warning_and_strict_makes_it_an_error(tmp_path):
    near, far = put(tmp_path, "a.jpg", "b.jpg", shape=(160, 200, 3))
    data = far.read_bytes()
    middle = len(data) // 2
    far.write_bytes(data[:middle] + data[middle + 40 :])
    (entry,) = outputs(ufa(near, far, "-o", tmp_path / "f.png", "--json"))
    assert any("b.jpg is damaged inside" in warning for warning in entry["warnings"])
    done = ufa(near, far, "-o", tmp_path / "g.png", "--strict")
    assert done.exit_code == 2
    assert "b.jpg is damaged inside" in done.stderr
    assert not (tmp_path / "g.png").exists()


@pytest.mark.parametrize("count", [2, 3])
def test_a_frame_that_lost_its_end_is_told(tmp_path, count):
    paths = put(tmp_path, *(f"{index}.bmp" for index in range(count)), shape=(96, 120, 3))
    broken = cv2.imread(str(paths[1]))
    broken[60:] = 0
    cv2.imwrite(str(paths[1]), broken)
    (entry,) = outputs(ufa(*paths, "-o", tmp_path / "f.png", "--json"))
    assert [warning.split(": ")[1] for warning in entry["warnings"] if "rows are 0" in warning] == [
        "its last 36 of 96 rows are 0, as where a copy or a transfer broke off"
    ]


def test_damage_that_the_decoder_passes_over_is_told_too(tmp_path):
    near, far = put(tmp_path, "a.jpg", "b.jpg", shape=(160, 200, 3))
    whole = far.read_bytes()
    for middle in range(len(whole) // 3, 2 * len(whole) // 3, 97):
        data = whole[:middle] + bytes(40) + whole[middle + 40 :]
        if not decode_picture(data, "x", inside="quickly").damage and decode_picture(data, "x", inside="thoroughly").damage:
            break
    far.write_bytes(data)
    for frames in ((near, far), (near, near, far)):
        (entry,) = outputs(ufa(*frames, "-o", tmp_path / "f.png", "--json", "--force"))
        assert [warning for warning in entry["warnings"] if "b.jpg is damaged inside" in warning]


def test_a_jump_of_exposure_is_told_and_matched(tmp_path):
    near, far = put(tmp_path, "a.png", "b.png", shape=(120, 160, 3))
    cv2.imwrite(str(far), np.rint(read_image(far) * 0.7).astype(np.uint8))
    (entry,) = outputs(ufa(near, far, "-o", tmp_path / "f.png", "--json"))
    assert any("exposure changes by up to 4" in warning and "--match-gain" in warning for warning in entry["warnings"])
    (entry,) = outputs(ufa(near, far, "-o", tmp_path / "g.png", "--match-gain", "--json"))
    assert not any("exposure" in warning for warning in entry.get("warnings", []))


def test_a_stack_whose_exposure_changes_is_matched(tmp_path):
    frames = put(tmp_path, "a.png", "b.png", "c.png", "d.png", shape=(120, 160, 3))
    cv2.imwrite(str(frames[2]), np.rint(read_image(frames[2]) * 0.7).astype(np.uint8))
    (entry,) = outputs(ufa(*frames, "-o", tmp_path / "f.png", "--json"))
    assert entry["matched"][str(frames[2])] == pytest.approx([1 / 0.7] * 3, rel=0.05)
    assert any("exposure changes" in text and "--no-match-gain leaves" in text for text in entry["warnings"])
    (entry,) = outputs(ufa(*frames, "-o", tmp_path / "g.png", "--no-match-gain", "--json"))
    assert "matched" not in entry
    assert any("add --match-gain" in text for text in entry["warnings"])


@pytest.mark.parametrize("match_gain", [False, True])
@pytest.mark.parametrize(("factor", "told"), [(0, "the far frame is black: there is nothing in"), (0.1, "at least 4 ti")])
def test_advice_on_the_exposure_fits_a_pair(tmp_path, factor, told, match_gain):
    near, far = put(tmp_path, "a.png", "b.png", shape=(120, 160, 3))
    cv2.imwrite(str(far), np.rint(read_image(far) * factor).astype(np.uint8))
    (entry,) = outputs(ufa(near, far, "-o", tmp_path / "f.png", "--json", *(["--match-gain"] if match_gain else [])))
    text = "\n".join(entry["warnings"])
    assert (told if not match_gain or not factor else "even when matched") in text
    assert "add --match-gain" not in text
    assert "take the stack" not in text


def test_a_report_is_written_and_named(tmp_path):
    paths = put(tmp_path, "a.png", "b.png")
    (entry,) = outputs(ufa(*paths, "-o", tmp_path / "f.png", "--report", tmp_path / "f.html", "--json"))
    assert entry["report"] == str(tmp_path / "f.html")
    assert "data:image/jpeg" in (tmp_path / "f.html").read_text()


class TestStacks:
    def test_folders(self, tmp_path):
        put(tmp_path / "in" / "s1", "1.png", "2.png", "3.png")
        put(tmp_path / "in" / "s2", "1.png", "2.png")
        found = outputs(ufa("--stacks", tmp_path / "in", "-o", tmp_path / "out", "--report", tmp_path / "pages", "--json"))
        assert [entry["fused"] for entry in found] == [str(tmp_path / "out" / f"s{number}.png") for number in (1, 2)]
        assert sorted(path.name for path in (tmp_path / "pages").iterdir()) == ["s1.html", "s2.html"]

    def test_what_cannot_be_fused_is_a_row_and_what_is_none_is_named(self, tmp_path):
        put(tmp_path / "in" / "s1", "1.png", "2.png")
        put(tmp_path / "in" / "s2", "1.png")
        (tmp_path / "in" / "notes").mkdir()
        done = ufa("--stacks", tmp_path / "in", "-o", tmp_path / "out", "--json")
        told = json.loads(done.stdout)
        assert (done.exit_code, told["failed"], told["passed_over"]) == (1, 1, ["notes holds no pictures"])
        assert "s2/1.png holds one frame: fusing takes two or more." in told["outputs"][1]["error"]
        assert "warning: passed over: notes holds no pictures." in done.stderr

    def test_the_pyramid_is_named_and_no_network(self, tmp_path):
        done = ufa(*put(tmp_path, "a.png", "b.png"), "-o", tmp_path / "f.png", "--method", "pyramid", "--json")
        told = json.loads(done.stdout)
        assert (told["model"], told["backend"], told["outputs"][0]["method"]) == ("pyramid", "opencv", "pyramid")

    def test_one_folder_cut_by_count_into_tiffs(self, tmp_path):
        put(tmp_path / "in", *(f"f{number}.png" for number in range(4)))
        outputs(ufa("--stacks", tmp_path / "in", "--every", "2", "-o", tmp_path / "out" / "*.tif", "--json"))
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["f0-f1.tif", "f2-f3.tif"]

    def test_watching_ends_after_so_many(self, tmp_path):
        put(tmp_path / "in" / "s1", "1.png", "2.png")
        put(tmp_path / "in" / "s2", "1.png", "2.png")
        watch = ("--stacks", tmp_path / "in", "--watch", "--every", "2", "--limit", "2")
        assert len(outputs(ufa(*watch, "-o", tmp_path / "out", "--json"))) == 2

    def test_watching_ends_at_a_signal_and_reports(self, tmp_path):
        put(tmp_path / "in" / "s1", "1.png", "2.png")
        command = [sys.executable, "-m", "ufafuse", "fuse", "--stacks", tmp_path / "in", "--watch", "--quiet", "300ms", "-o",
                   tmp_path / "out", "--json", *ENGINE]  # fmt: skip
        with subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            until = time.monotonic() + 90
            while not (tmp_path / "out" / "s1.png").exists() and time.monotonic() < until:
                time.sleep(0.2)
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        assert [entry["fused"] for entry in json.loads(out)["outputs"]] == [str(tmp_path / "out" / "s1.png")]

    def test_what_does_not_go_together(self, tmp_path):
        paths = put(tmp_path / "in", "a.png", "b.png")
        for arguments, text in (
            ((*paths, "--stacks", tmp_path), "both images and --stacks were given"),
            (("--stacks", tmp_path / "in", "-o", tmp_path / "x.png"), "looks like a file, and many are written"),
            (("--stacks", tmp_path / "in"), "name a folder for them with -o OUTDIR"),
            (("--stacks", tmp_path / "in", "-o", tmp_path / "o", "--gap", "soon"), "--gap soon is not a time"),
        ):
            done = ufa(*arguments)
            assert done.exit_code == 2
            assert text in done.stderr


@pytest.mark.parametrize("option", ["-o", "--map", "--depth", "--depth-view", "--mesh", "--report", "--save-aligned"])
def test_a_folder_that_may_not_be_written_to_is_told_before_the_work(tmp_path, monkeypatch, option):
    put(tmp_path / "in", "1.png", "2.png", "3.png")
    (tmp_path / "closed").mkdir()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and may(path, mode))  # root may anything
    monkeypatch.setattr("ufafuse.runtime.stacks.fusing.fuse_sources", None)
    name = {"--mesh": "x.ply", "--report": "x.html", "--save-aligned": "x"}.get(option, "x.png")
    out = ("-o", tmp_path / "o.png", option, tmp_path / "closed" / name)
    done = ufa(tmp_path / "in", *(out if option != "-o" else out[2:]))
    assert done.exit_code == 2
    assert "closed may not be written to: name another folder" in " ".join(done.stderr.split())
    assert list(tmp_path.glob("o*")) == []


def test_a_folder_of_many_may_end_in_a_number(tmp_path):
    put(tmp_path / "in" / "s", "1.png", "2.png")
    done = ufa("--stacks", tmp_path / "in", "-o", tmp_path / "v1.2")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "v1.2" / "s.png").is_file()


@pytest.mark.parametrize(
    ("named", "out", "url"),
    [
        (["https://example.invalid/a.png", "b.png"], "f.png", "https://example.invalid/a.png"),
        (["s3://bucket/stack"], "f.png", "s3://bucket/stack"),
        (["a.png", "b.png"], "s3://bucket/f.png", "s3://bucket/f.png"),
    ],
)
def test_a_url_of_one_picture_is_told_where_urls_are_taken(named, out, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = ufa(*named, "-o", out)
    assert done.exit_code == 2
    assert f"error: {url} is a URL: give its folder as --pairs or --stacks" in done.stderr
    assert not list(tmp_path.iterdir())
