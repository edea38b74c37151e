"""Evaluation of folders, methods and models, its files, and `ufa eval`."""

import csv
import json
import os
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cv2
import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from ufafuse.benchmarks import contestants, page
from ufafuse.benchmarks import evaluate as evaluate_module
from ufafuse.benchmarks.contestants import FolderContestant, MethodContestant
from ufafuse.benchmarks.evaluate import chosen_pairs, evaluate
from ufafuse.benchmarks.frames import alike
from ufafuse.benchmarks.metrics import JUDGES, METRICS, score
from ufafuse.benchmarks.stacks.contestants import stack_contestants
from ufafuse.commands import bench as commands
from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.images import read_image, write_image
from ufafuse.runtime.models import DEFAULT
from ufafuse.runtime.pictures.metadata import Metadata

ALL_METRICS = {*METRICS, *JUDGES, "PSNR", "SSIM"}


@pytest.fixture
def fused_folder(tmp_path, pair_folder):
    """Fused pictures of both pairs under names as people vary them: here the truth itself."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name, written in (("one", "One-fused"), ("two", "TWO")):
        assert cv2.imwrite(str(folder / f"{written}.png"), cv2.imread(str(pair_folder / f"{name}_GT.png")))
    return folder


@pytest.fixture
def run():
    """`ufa ARGUMENTS` with this folder's commands only."""
    app = typer.Typer()
    commands.register(app)
    app.command("other")(lambda: None)  # a second command, so that `eval` stays a subcommand
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


class FakeFuser:
    """Stands for the runtime: takes the near frame, refuses frames that are not alike."""

    backend, precision = "fake", "fp32"

    def __init__(self, model, **options):
        self.model = Path(model)
        if model == "absent.onnx":
            raise BackendError("absent.onnx cannot be run.")

    def fuse(self, near, far):
        assert near.shape == far.shape
        return near

    def close(self):
        pass


@pytest.fixture
def fake_fuser(monkeypatch):
    monkeypatch.setattr(contestants, "Fuser", FakeFuser)
    monkeypatch.setattr(contestants, "bundled", lambda: ["ufa", "ufa-edge"])


def test_each_row_holds_the_scores_of_its_pair_and_method(pair_folder):
    pairs = chosen_pairs(pair_folder)
    seen = []
    evaluation = evaluate(pairs, [MethodContestant("average"), MethodContestant("lap")], jobs=1, done=seen.append)
    assert [(row.method, row.name) for row in evaluation.rows] == [(m, n) for m in ("average", "lap") for n in ("one", "two")]
    assert len(seen) == 4
    row = evaluation.rows[2]
    near, far, truth = (read_image(pair_folder / f"one_{side}.png") for side in ("A", "B", "GT"))
    from ufafuse.benchmarks.methods import method

    assert row.metrics == pytest.approx(score(near, far, method("lap").fuse(near, far), truth))
    assert row.ms > 0
    assert evaluation.mean("lap")["PSNR"] == pytest.approx(np.mean([row.metrics["PSNR"] for row in evaluation.rows[2:]]))


def test_several_processes_give_the_same_scores_as_one(pair_folder, fused_folder, fake_fuser):
    compared = contestants.contestants(fused=[fused_folder], models=["ufa"], method_names=["average"])
    pairs = chosen_pairs(pair_folder)
    several, one = evaluate(pairs, compared, jobs=2), evaluate(pairs, compared, jobs=1)
    assert [row.metrics for row in several.rows] == [row.metrics for row in one.rows]
    assert not several.failed
    assert several.to_json()["networks"] == {"ufa": {"backend": "fake", "precision": "fp32"}}


def test_processes_have_one_thread_for_matrix_products_each(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    with evaluate_module._one_blas_thread():
        assert (os.environ["OPENBLAS_NUM_THREADS"], os.environ["OMP_NUM_THREADS"]) == ("1", "3")
    assert "OPENBLAS_NUM_THREADS" not in os.environ


class LazyExecutor:
    """Does a job when it is looked at, and counts what lies there undone."""

    def __init__(self):
        self.undone, self.most = [], 0

    def submit(self, call, *arguments):
        future = Future()
        self.undone.append((future, call, arguments))
        self.most = max(self.most, len(self.undone))
        return future

    def wait(self, futures, **_):
        future, call, arguments = self.undone.pop(0)
        future.set_result(call(*arguments))
        return {future}, set(futures) - {future}


def test_pictures_of_a_fast_network_do_not_pile_up(pair_folder, fake_fuser, monkeypatch):
    executor = LazyExecutor()
    monkeypatch.setattr(evaluate_module, "wait", executor.wait)
    monkeypatch.setattr(evaluate_module, "as_completed", lambda futures: [*executor.wait(futures)[0]] * len(futures))
    pairs, compared = chosen_pairs(pair_folder) * 5, contestants.contestants(fused=[], models=["ufa"], method_names=[])
    rows = evaluate_module._rows(executor, 2, [(compared[0], pair) for pair in pairs], evaluate_module._How())
    assert len(list(rows)) == len(pairs)
    assert executor.most == 4


def test_a_killed_process_is_one_clear_error(pair_folder, monkeypatch):
    def broken(*_):
        raise BrokenProcessPool

    monkeypatch.setattr(evaluate_module, "_rows", broken)
    with pytest.raises(BackendError, match=r"one of 2 processes was killed, .* give `jobs=1`"):
        evaluate(chosen_pairs(pair_folder), [MethodContestant("average")], jobs=2)


@pytest.mark.parametrize(
    ("raised", "reason"), [(MemoryError(), "MemoryError: a smaller picture"), (cv2.error("too big"), "too big")]
)
def test_a_pair_too_large_for_the_memory_is_a_failed_row(pair_folder, monkeypatch, raised, reason):
    def refuse(*_, **__):
        raise raised

    monkeypatch.setattr(evaluate_module, "score", refuse)
    evaluation = evaluate(chosen_pairs(pair_folder), [MethodContestant("average")], jobs=1)
    assert len(evaluation.failed) == 2
    assert reason in evaluation.failed[0].error


def test_fused_pictures_are_found_under_varied_names(pair_folder, fused_folder):
    evaluation = evaluate(chosen_pairs(pair_folder), [FolderContestant("theirs", fused_folder)], jobs=1)
    assert all(row.metrics["SSIM"] == pytest.approx(1.0) for row in evaluation.rows)
    assert evaluation.median_ms("theirs") is None


def test_a_missing_picture_is_a_failed_row_and_the_others_go_on(pair_folder, fused_folder):
    (fused_folder / "TWO.png").unlink()
    evaluation = evaluate(chosen_pairs(pair_folder), [FolderContestant("theirs", fused_folder)], jobs=1)
    assert [bool(row.error) for row in evaluation.rows] == [False, True]
    assert "holds no picture of pair two: name it two.png" in evaluation.failed[0].error
    assert evaluation.to_json()["ok"] is False


def test_failures_are_told_once_a_method(pair_folder, tmp_path):
    (tmp_path / "theirs").mkdir()
    evaluation = evaluate(chosen_pairs(pair_folder), [FolderContestant("theirs", tmp_path / "theirs")], jobs=1)
    assert len(evaluation.failed) == 2
    (line,) = evaluation.failures()
    assert line.startswith("theirs, 2 pairs from one to two: ")
    assert "holds no picture of pair one: name it one.png" in line


def test_failures_of_several_kinds_are_told_each(pair_folder, tmp_path):
    """The first one's reason was told of all."""
    (tmp_path / "theirs").mkdir()
    (pair_folder / "one_A.png").write_bytes(b"no picture")
    evaluation = evaluate(chosen_pairs(pair_folder), [FolderContestant("theirs", tmp_path / "theirs")], jobs=1)
    damaged, missing = evaluation.failures()
    assert damaged.startswith("theirs, one: ")
    assert "one_A.png" in damaged
    assert missing.startswith("theirs, two: ")
    assert "holds no picture of pair two" in missing


def test_a_damaged_frame_is_a_failed_row(pair_folder):
    (pair_folder / "one_A.png").write_bytes(b"no picture")
    evaluation = evaluate(chosen_pairs(pair_folder), [MethodContestant("average")], jobs=1)
    assert "one_A.png" in evaluation.failed[0].error
    assert len(evaluation.failed) == 1


def test_a_fused_picture_of_another_size_is_a_failed_row(pair_folder, fused_folder):
    cv2.imwrite(str(fused_folder / "TWO.png"), np.zeros((20, 20, 3), np.uint8))
    evaluation = evaluate(chosen_pairs(pair_folder), [FolderContestant("theirs", fused_folder)], jobs=1)
    assert "must have one size" in evaluation.failed[0].error


def test_a_folder_of_folders_stands_for_all_of_them(fused_folder):
    found = contestants.contestants(fused=[fused_folder.parent], models=[], method_names=[])
    assert "theirs" in [contestant.name for contestant in found]


def test_methods_and_networks_are_told_apart_by_name(fake_fuser):
    found = contestants.contestants(fused=[], models=["mine.onnx"], method_names=["ufa", "lap"])
    assert [(contestant.name, contestant.in_worker) for contestant in found] == [
        ("lap", True),
        ("mine", False),
        ("ufa", False),
    ]


def test_the_bundled_network_is_taken_when_nothing_is_named(fake_fuser):
    assert [found.name for found in contestants.contestants(fused=[], models=[], method_names=[])] == [DEFAULT]


def test_what_is_named_twice_is_compared_once(fake_fuser):
    every = [found.name for found in contestants.contestants(fused=[], models=[], method_names=["all"])]
    twice = contestants.contestants(fused=[], models=["ufa", "ufa"], method_names=["all", "lap", "ufa"])
    assert [found.name for found in twice] == [*every, "ufa"]


@pytest.mark.parametrize("asked", [{"backend": "onnxruntime"}, {"precision": "bf16"}, {"threads": 1}])
def test_what_is_asked_of_networks_needs_one(fake_fuser, asked):
    name, value = next(iter(asked.items()))
    for gather in (contestants.contestants, stack_contestants):
        with pytest.raises(InputError, match=f"`{name}={value}` is about networks, and none is compared"):
            gather(fused=[], models=[], method_names=["average"], **asked)
    assert contestants.contestants(fused=[], models=["ufa"], method_names=["average"], **asked)


def test_two_contestants_of_one_name_are_refused(fake_fuser):
    with pytest.raises(InputError, match="two things to compare have the name ufa"):
        contestants.contestants(fused=[], models=["ufa", "ufa.onnx"], method_names=[])


def test_infrared_and_visible_frames_are_brought_to_one_shape():
    grey, colour = np.zeros((4, 5), np.uint8), np.zeros((4, 5, 4), np.uint8)
    assert [frame.shape for frame in alike(grey, colour)] == [(4, 5, 3)] * 2
    assert [frame.shape for frame in alike(grey, grey)] == [(4, 5)] * 2


def test_a_grey_and_a_colour_frame_are_evaluated_together(tmp_path, synthetic):
    near, far, _ = synthetic
    cv2.imwrite(str(tmp_path / "street_A.png"), near[..., 1])
    cv2.imwrite(str(tmp_path / "street_B.png"), far)
    evaluation = evaluate(chosen_pairs(tmp_path), [MethodContestant("lap")], jobs=1)
    assert set(evaluation.rows[0].metrics) == {*METRICS, *JUDGES}


@pytest.mark.parametrize(
    ("suffix", "stored", "told"),
    [
        ("png", lambda frame: np.rint(frame * (4095 / 255)).astype(np.uint16), "white is 4095 (12 bits: "),
        ("png", lambda frame: frame.astype(np.uint16), "white is 255 (8 bits: "),
        ("tif", lambda frame: frame.astype(np.float32), "white is 255 (float levels up to 255)"),
        ("png", lambda frame: frame.astype(np.uint16) * 257, ""),
        ("tif", lambda frame: frame.astype(np.float32) / 255, ""),
    ],
    ids=["12 in 16", "8 in 16", "float to 255", "16", "float to 1"],
)
def test_a_pair_is_scored_alike_however_its_levels_are_stored(run, tmp_path, pair_folder, suffix, stored, told):
    for folder, how, ending in ((tmp_path / "bytes", lambda frame: frame, "png"), (tmp_path / "other", stored, suffix)):
        folder.mkdir()
        for side in ("A", "B", "GT"):
            frame = cv2.imread(str(pair_folder / f"one_{side}.png"))
            frame[0, 0] = 255
            assert cv2.imwrite(str(folder / f"one_{side}.{ending}"), how(frame))
    plain, other = (
        json.loads(run("eval", "--pairs", folder, "--methods", "lap", "--methods", "gff", "--jobs", 1, "--json", *more).stdout)
        for folder, more in ((tmp_path / "bytes", ()), (tmp_path / "other", ("-o", tmp_path / "out")))
    )
    assert list(plain["mean"]) == ["lap", "gff"]
    for method, metrics in plain["mean"].items():
        assert other["mean"][method] == pytest.approx(metrics, rel=1e-3)
    assert [row.get("note", "")[: len(told)] for row in other["rows"]] == [told] * 2
    assert len(other.get("warnings", [])) == bool(told)
    for place in ("fused/lap", "sources/near", "sources/truth"):
        assert read_image(tmp_path / "out" / place / "one.png").max() == 255


def test_what_is_wrong_with_a_pairs_files_is_told(run, tmp_path, pair_folder):
    """What `ufa fuse` says of them, or refuses: a score of damaged pixels or of other colours is a figure of something else."""
    frames = [cv2.imread(str(pair_folder / f"one_{side}.png")) for side in ("A", "B")]
    data = bytearray(cv2.imencode(".jpg", frames[0])[1].tobytes())
    del data[len(data) // 2 : len(data) // 2 + 40]
    (tmp_path / "one_A.jpg").write_bytes(data)
    write_image(tmp_path / "one_B.png", frames[1], metadata=Metadata(icc=bytes(16) + b"RGB " + bytes(200)))
    told = json.loads(run("eval", "--pairs", tmp_path, "--methods", "average", "--jobs", 1, "--json").stdout)
    assert "one_A.jpg is damaged inside (" in told["rows"][0]["note"]
    assert "one_A.jpg has the colour profile 'none', one_B.png has 'unnamed" in told["warnings"][0]


def test_a_pattern_without_a_pair_is_refused(pair_folder):
    assert [pair.name for pair in chosen_pairs(pair_folder, "t*")] == ["two"]
    with pytest.raises(InputError, match="has a name like x"):
        chosen_pairs(pair_folder, "x")


def test_the_command_writes_a_page_with_every_picture_it_shows(run, pair_folder, tmp_path):
    out = tmp_path / "out"
    result = run("eval", "--pairs", pair_folder, "--methods", "average,lap", "-o", out, "--jobs", 1, "--table", "V")
    assert result.exit_code == 0, result.output
    html = (out / "index.html").read_text()
    assert "UFA-FUSE" in html
    assert "printed, other pairs" in html
    assert "Table V is of the 20 Lytro pairs and yours are other pairs" in html
    assert "Burt and Adelson" in html
    for picture in ("sources/near/one.png", "sources/truth/two.png", "fused/lap/one.png"):
        assert (out / picture).is_file()
        assert f'src="{picture}"' in html
    assert "| lap | run here |" in (out / "report.md").read_text().replace("**", "")
    assert read_image(out / "closeups" / "one.jpg").ndim == 3
    rows = list(csv.DictReader((out / "eval.csv").open()))
    assert [row["name"] for row in rows] == ["one", "two"] * 2 + ["mean"] * 2
    assert float(rows[2]["PSNR"]) > 25


def test_the_command_prints_one_json_object(run, pair_folder):
    (pair_folder / "alone.png").touch()
    result = run("eval", "--pairs", pair_folder, "--methods", "average", "--jobs", 1, "--json")
    answer = json.loads(result.stdout)
    assert answer["ok"] is True
    assert set(answer["rows"][0]) == {"name", "method", "metrics", "ms"}
    assert set(answer["rows"][0]["metrics"]) == ALL_METRICS
    assert set(answer["mean"]) == {"average"}
    assert answer["networks"] == {}
    assert answer["kinds"] == {"average": "measured"}
    assert "table" not in answer
    assert answer["passed_over"] == ["alone.png is no half of a pair"]
    assert "warning: passed over: alone.png" in result.stderr


def test_the_table_is_in_the_json_with_what_each_row_is(run, pair_folder, tmp_path):
    out = tmp_path / "out"
    command = ("eval", "--pairs", pair_folder, "--methods", "average", "--jobs", 1, "--table", "VI", "--json", "-o", out)
    answer = json.loads(run(*command, "--show", "x, t*").stdout)
    assert answer["table"]["number"] == "VI"
    assert answer["table"]["same_pairs"] is False
    assert [row["what"] for row in answer["table"]["rows"][:2]] == ["run here", "printed, other pairs"]
    assert (out / "closeups" / "two.jpg").is_file()
    assert not (out / "closeups" / "one.jpg").exists()


def test_an_earlier_run_joins_with_its_pictures(run, pair_folder, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert run("eval", "--pairs", pair_folder, "--methods", "average,sf", "--jobs", 1, "-o", first).exit_code == 0
    command = ("eval", "--pairs", pair_folder, "--methods", "average", "--join", first / "eval.json", "--jobs", 1)
    answer = json.loads(run(*command, "-o", second, "--json").stdout)
    assert list(answer["mean"]) == ["average", "sf"]
    assert answer["warnings"] == [f"sf: from {first / 'eval.json'}, an earlier evaluation of the same pairs."]
    assert 'src="fused/sf/one.png"' in (second / "index.html").read_text()
    assert (second / "fused" / "sf" / "one.png").is_file()


@pytest.mark.parametrize("broken", ["", "{}", "other pairs", "nothing shared"])
def test_an_earlier_run_that_cannot_join_is_refused_before_the_work(run, pair_folder, tmp_path, broken):
    earlier, out = tmp_path / "first" / "eval.json", tmp_path / "out"
    method = "sf" if broken == "nothing shared" else "average"
    assert run("eval", "--pairs", pair_folder, "--methods", method, "--jobs", 1, "-o", earlier.parent).exit_code == 0
    if broken != "nothing shared":
        earlier.write_text(earlier.read_text().replace('"one"', '"another"') if broken == "other pairs" else broken)
    result = run("eval", "--pairs", pair_folder, "--methods", "average", "--join", earlier, "--jobs", 1, "-o", out)
    assert result.exit_code == 2, result.stdout
    assert not out.exists()


def test_metrics_that_are_not_defined_are_null_in_json(run, tmp_path):
    for side in "AB":
        cv2.imwrite(str(tmp_path / f"small_{side}.png"), np.zeros((12, 12), np.uint8))
    answer = json.loads(run("eval", "--pairs", tmp_path, "--methods", "average", "--jobs", 1, "--json").stdout)
    assert answer["rows"][0]["metrics"]["VIFF"] is None
    assert "VIFF" not in answer["mean"]["average"]


def test_a_failed_pair_is_listed_and_the_command_ends_with_one(run, pair_folder, fused_folder):
    (fused_folder / "TWO.png").unlink()
    result = run("eval", "--pairs", pair_folder, "--fused", fused_folder, "--jobs", 1)
    assert result.exit_code == 1
    assert "theirs, two:" in result.stderr
    assert "theirs, given: a mean over only 1 of 2 pairs" in result.stderr.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "nothing"], "--methods nothing is not known"),
        (["--fused", "nowhere"], "--fused nowhere is not a folder"),
        (["--methods", "lap", "--table", "XX"], "--table XX is not one of the paper's"),
        (["--methods", "lap", "--only", "zzz"], "no pair in"),
        (["--methods", "lap", "--lpips", "resnet"], "--lpips resnet is not known: choose alex, vgg, squeeze"),
        (["--methods", "lap", "--show", "one"], "--show is about the page: add -o OUT"),
        (["--methods", "lap", "--show", "zzz", "-o", "new"], "no pair that is scored has a name like --show zzz"),
    ],
)
def test_bad_usage_ends_with_two_and_one_sentence(run, pair_folder, arguments, message):
    result = run("eval", "--pairs", pair_folder, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")
    assert "Traceback" not in result.output


def test_a_missing_extra_is_named_with_its_mend(run, pair_folder, monkeypatch):
    monkeypatch.setattr(commands, "find_spec", lambda name: None if name == "pywt" else object())
    result = run("eval", "--pairs", pair_folder, "--methods", "lap")
    assert result.exit_code == 2
    assert "ufa eval needs pywt: pip install 'ufafuse[bench]'" in result.stderr.replace("\n", " ")


def test_a_folder_that_is_not_empty_is_not_written_into(run, pair_folder):
    (pair_folder / "other").mkdir()
    (pair_folder / "other" / "notes.txt").write_text("mine")
    for out, told in ((pair_folder / "other", "is not empty"), (pair_folder, "belongs to what is read")):
        result = run("eval", "--pairs", pair_folder, "--methods", "average", "-o", out)
        assert result.exit_code == 2
        assert told in result.stderr.replace("\n", " ")


def test_the_close_up_lies_where_the_pictures_differ():
    flat = np.full((120, 100, 3), 90, np.uint8)
    other = flat.copy()
    other[80:90, 20:30] = 200
    region = page.telling_region(flat, flat, [flat, other, other])
    assert region.top <= 80 <= region.top + region.side
    assert region.left <= 20 <= region.left + region.side
    assert region.cut(flat).shape == (region.side, region.side, 3)


def test_the_original_pictures_score_as_their_table_through_the_command(run, reference_folder, lytro):
    fused = reference_folder / "fused" / "UFA"
    result = run("eval", "--pairs", lytro, "--fused", fused, "--only", "lytro_02", "--jobs", 1, "--json")
    with (reference_folder / "reference_metrics.csv").open() as stream:
        row = next(row for row in csv.DictReader(stream) if (row["image"], row["method"]) == ("lytro-02", "UFA"))
    found = json.loads(result.stdout)["mean"]["UFA"]
    for metric in ("AVG", "STD", "SEN", "VIFF", "Qabf", "Qm"):
        assert found[metric] == pytest.approx(float(row[metric]), abs=1e-8)
