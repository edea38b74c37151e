"""`ufa eval --stacks`: folders, contestants, rows, files."""

import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import rich.console
import tifffile
import typer
from typer.testing import CliRunner

from tests.benchmarks.stacks import steps, textured, write_stack
from tests.networks import TINY_STACKS
from ufafuse.benchmarks.metrics.white import White
from ufafuse.benchmarks.published import TableRow
from ufafuse.benchmarks.stacks.closeups import chosen_regions, strip
from ufafuse.benchmarks.stacks.contestants import stack_contestants
from ufafuse.benchmarks.stacks.evaluate import evaluate_stacks
from ufafuse.benchmarks.stacks.folders import find_stacks, read_depth
from ufafuse.benchmarks.stacks.registered import BESTS, placed
from ufafuse.benchmarks.tables import BOUND, terminal_table
from ufafuse.commands import bench as commands
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.models import DEFAULT
from ufafuse.runtime.registration.covering import Crop
from ufafuse.runtime.stacks.height import Height
from ufafuse.runtime.stacks.options import Stacked

SIZE = (96, 160)
BYTES = White(np.dtype(np.uint8), 255.0)


@pytest.fixture(scope="module")
def truth():
    return textured(*SIZE, seed=3)


@pytest.fixture(scope="module")
def frames(truth):
    return steps(truth, 4, noise=1)


@pytest.fixture
def folder(tmp_path, truth, frames):
    """Two stacks: one with a truth, one without."""
    write_stack(tmp_path / "stacks" / "known", frames, truth)
    write_stack(tmp_path / "stacks" / "unknown", frames)
    return tmp_path / "stacks"


@pytest.fixture
def run():
    """`ufa ARGUMENTS` with this folder's commands only."""
    app = typer.Typer()
    commands.register(app)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def gathering(tmp_path_factory):
    """Weights of a small network that gathers."""
    pytest.importorskip("torch")
    from ufafuse.network.weights import build_model, save_weights

    path = tmp_path_factory.mktemp("gathering") / "gathering.safetensors"
    save_weights(build_model(TINY_STACKS["two scales"], seed=0), path)
    return path


def compared(**named):
    return stack_contestants(**({"fused": [], "models": [], "method_names": []} | named))


def on_one_line(text):
    return re.sub(r"\s+", " ", text)


# Folders


def test_frames_come_in_the_order_of_their_numbers(tmp_path, truth):
    write_stack(tmp_path / "s", steps(truth, 11), truth)
    tifffile.imwrite(tmp_path / "s" / "depth.tif", np.zeros(SIZE, np.float32))
    (tmp_path / "s" / "notes.txt").write_text("no frame")
    (stack,) = find_stacks(tmp_path)
    assert [path.stem for path in stack.frames] == [f"f{number}" for number in range(1, 12)]
    assert (stack.name, stack.truth.name, stack.depth.name) == ("s", "truth.png", "depth.tif")


def test_another_programs_result_is_no_frame_and_that_is_told(tmp_path, frames, truth):
    write_stack(tmp_path / "s", frames, truth)
    assert cv2.imwrite(str(tmp_path / "s" / "focus-stack.png"), np.zeros((*truth.shape[:2], 3), np.uint8))
    (stack,) = find_stacks(tmp_path)
    assert len(stack.frames) == len(frames)
    told: list[list[str]] = []
    evaluate_stacks([stack], compared(method_names=["average"]), on_stack=lambda _, seen, __: told.append(seen.notes))
    assert told == [["focus-stack.png was taken for a result, not for a frame."]]


def test_a_folder_of_frames_is_a_stack_itself(folder):
    assert [stack.name for stack in find_stacks(folder)] == ["known", "unknown"]
    assert [stack.name for stack in find_stacks(folder / "known")] == ["known"]
    assert [stack.name for stack in find_stacks(folder.parent)] == ["stacks/known", "stacks/unknown"]
    assert [stack.name for stack in find_stacks(folder, "un*")] == ["unknown"]
    write_stack(folder / "known" / "aligned", [np.zeros((9, 9), np.uint8)] * 2)
    assert [stack.name for stack in find_stacks(folder)] == ["known", "unknown"]


def test_the_pages_of_a_tiff_are_frames(tmp_path, frames):
    (tmp_path / "s").mkdir()
    tifffile.imwrite(tmp_path / "s" / "stack.tif", np.stack([frame[..., ::-1] for frame in frames]), photometric="rgb")
    evaluation = evaluate_stacks(find_stacks(tmp_path), compared(method_names=["pyramid"]), align="off")
    assert evaluation.rows[0].metrics["detail_sharp"] > 0.97


def test_folders_that_hold_no_stack_are_refused(tmp_path, folder):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no stack"):
        find_stacks(tmp_path / "empty")
    with pytest.raises(InputError, match="is not a folder"):
        find_stacks(tmp_path / "nowhere")
    with pytest.raises(InputError, match="has a name like x"):
        find_stacks(folder, "x")
    cv2.imwrite(str(tmp_path / "empty" / "one.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(InputError, match=r"a single frame, one\.png"):
        find_stacks(tmp_path / "empty")
    (folder / "known" / "truth.jpg").write_bytes((folder / "known" / "truth.png").read_bytes())
    with pytest.raises(InputError, match=r"truth\.jpg and truth\.png: keep one truth"):
        find_stacks(folder)


@pytest.mark.parametrize("wrong", [np.zeros((5, 5), np.float32), np.zeros(SIZE, np.uint16)])
def test_a_depth_that_is_none_is_refused(tmp_path, wrong):
    tifffile.imwrite(tmp_path / "depth.tif", wrong)
    with pytest.raises(InputError, match=r"depth\.tif is .*: heights are 96 x 160 of float32"):
        read_depth(tmp_path / "depth.tif", SIZE)


# Rows


def test_every_contestant_has_a_row_for_every_stack(folder):
    evaluation = evaluate_stacks(find_stacks(folder), compared(method_names=["pyramid", "average"]))
    assert [(row.method, row.name) for row in evaluation.rows] == [
        ("pyramid", "known"),
        ("pyramid", "unknown"),
        ("average", "known"),
        ("average", "unknown"),
        *((bound, "known") for bound in BESTS),
    ]
    assert not evaluation.failed
    known, unknown, average, _, best, window = (row.metrics for row in evaluation.rows)
    assert set(known) == {"PSNR", "SSIM", "detail_sharp", "detail_low", "detail_added"}
    assert set(unknown) == {"detail_sharp", "detail_low", "detail_added"}
    assert known["detail_sharp"] > 0.97
    assert average["detail_sharp"] < 0.1
    assert best["PSNR"] > window["PSNR"] > known["PSNR"] > average["PSNR"]
    assert evaluation.rows[0].ms > 0
    assert evaluation.rows[-1].ms is None


class GatheringFuser:
    """Stands for the runtime with a network that gathers."""

    backend, precision, gathers = "fake", "fp32", True

    def __init__(self, model, **_):
        self.model = Path(model)

    def close(self):
        pass


def test_a_network_that_gathers_gets_the_frames_as_they_are_and_gives_heights(folder, monkeypatch):
    from ufafuse.benchmarks.stacks import contestants as module

    asked = []

    def fused(_fuser, sources, options):
        asked.append((len(sources), options.align, options.want_height))
        height = Height(np.full(SIZE, 1.5, np.float32), np.ones(SIZE, np.float32)) if options.want_height else None
        return Stacked(sources[1].read(), Crop(0, SIZE[0], 0, SIZE[1]), ms=7.0, height=height)

    monkeypatch.setattr(module, "Fuser", GatheringFuser)
    monkeypatch.setattr(module, "fuse_sources", fused)
    tifffile.imwrite(folder / "known" / "depth.tif", np.full(SIZE, 1, np.float32))
    evaluation = evaluate_stacks(find_stacks(folder), compared(models=["mine.onnx"]))
    assert asked == [(4, "off", True), (4, "affine", False)]
    known, unknown, *_ = evaluation.rows
    assert (known.method, known.ms) == ("mine", 7.0)
    assert (known.metrics["depth_error"], known.metrics["depth_known"]) == (0.5, 1.0)
    assert "depth_error" not in unknown.metrics
    assert evaluation.to_json()["networks"] == {"mine": {"backend": "fake", "precision": "fp32"}}


def test_a_network_for_pairs_folds(folder):
    (contestant,) = compared(method_names=["ufa-nano"], threads=1)
    evaluation = evaluate_stacks(find_stacks(folder, "known"), [contestant])
    contestant.close()
    assert evaluation.rows[0].metrics["detail_sharp"] > 0.9
    assert "depth_error" not in evaluation.rows[0].metrics


@pytest.mark.slow
def test_weights_that_gather_are_exported_to_a_folder_that_goes_again(folder, gathering):
    tifffile.imwrite(folder / "known" / "depth.tif", np.broadcast_to(np.arange(160) * 4 // 160, SIZE).astype(np.float32))
    (contestant,) = compared(models=[str(gathering)], threads=1)
    made = Path(contestant._folder.name)
    assert made.is_dir()
    evaluation = evaluate_stacks(find_stacks(folder, "known"), [contestant])
    contestant.close()
    assert not made.exists()
    assert not evaluation.failed
    assert evaluation.rows[0].method == "gathering"
    assert 0 <= evaluation.rows[0].metrics["depth_known"] <= 1


@pytest.mark.parametrize("with_truth", [True, False])
def test_the_depth_lies_as_the_truth_does(tmp_path, with_truth):
    """Both are of the geometry before the registration: the truth was moved into the frames', and the depth stayed."""
    from ufafuse.benchmarks.stacks import evaluate as scoring
    from ufafuse.benchmarks.stacks.registered import registered
    from ufafuse.runtime.pictures.source import of_arrays

    down, right = 6, 9
    scene = textured(SIZE[0] + down, SIZE[1] + right, seed=3)
    frames = [frame[down:, right:] for frame in steps(scene, 4, noise=1)]
    depth = np.broadcast_to(np.arange(scene.shape[1]) * 4 // scene.shape[1], scene.shape[:2]).astype(np.float32)
    tifffile.imwrite(tmp_path / "depth.tif", depth[: SIZE[0], : SIZE[1]])
    truth = np.rint(scene[: SIZE[0], : SIZE[1]]).astype(np.uint8) if with_truth else None
    told = {}
    stack = registered("known", of_arrays(frames), align="affine", truth=truth)
    moved = scoring._depth_of(tmp_path / "depth.tif", stack, told)
    expected = depth[down:, right:] if with_truth else depth[: SIZE[0], : SIZE[1]]
    inner = np.s_[: -down - 2, : -right - 2]
    assert (moved[inner] != expected[inner]).mean() < 0.01
    assert np.isnan(moved[-down + 2 :, 20:-20]).all() == with_truth
    assert not told  # the frames lie alike


def test_a_depth_that_may_lie_elsewhere_than_the_frames_is_told(tmp_path, frames):
    from ufafuse.benchmarks.stacks import evaluate as scoring
    from ufafuse.benchmarks.stacks.registered import registered
    from ufafuse.runtime.pictures.source import of_arrays

    tifffile.imwrite(tmp_path / "depth.tif", np.zeros(SIZE, np.float32))
    shaken = [np.roll(frame, (2 * index, -3 * index), (0, 1)) for index, frame in enumerate(frames)]
    told = {}
    scoring._depth_of(tmp_path / "depth.tif", registered("s", of_arrays(shaken), align="translation"), told)
    assert ["depth.tif is taken to lie as" in text for text in told] == [True]


def test_heights_are_measured_where_there_is_detail_and_the_method_is_sure(folder, frames, monkeypatch):
    from ufafuse.benchmarks.stacks import contestants as module
    from ufafuse.benchmarks.stacks import evaluate as scoring
    from ufafuse.benchmarks.stacks.registered import registered
    from ufafuse.runtime.pictures.source import of_arrays

    true = np.broadcast_to(np.arange(160) * 4 // 160, SIZE).astype(np.float32).copy()
    stack = registered("known", of_arrays(frames), align="off")
    sure = np.ones(SIZE, np.float32)
    sure[:48] = 0
    found = np.where(sure > 0, true + 0.25, 9).astype(np.float32)
    true[:, :20] = np.nan
    result = module.FusedStack(placed(frames[0], frames[0], "it", white=BYTES, move=False), 1.0, Height(found, sure))
    metrics = scoring._Scoring(stack, true).row("it", result).metrics
    assert metrics["depth_error"] == pytest.approx(0.25)
    assert metrics["depth_known"] == pytest.approx(0.5, abs=0.02)
    assert 0.2 < metrics["depth_filled"] < 0.5  # what is not sure was 5 to 9 frames off
    shuffled = result._replace(order=[1, 0, 2, 3])
    row = scoring._Scoring(stack, true).row("it", shuffled)
    assert "depth_error" not in row.metrics
    assert "another order" in row.note


def test_pictures_of_any_program_are_taken_from_either_layout(folder, tmp_path, truth):
    for program in ("theirs", "others"):
        (tmp_path / "fused" / program).mkdir(parents=True)
        for name in ("known", "unknown"):
            cv2.imwrite(str(tmp_path / "fused" / program / f"{name}.png"), truth.astype(np.uint8))
    several = evaluate_stacks(find_stacks(folder), compared(fused=[tmp_path / "fused"]))
    one = evaluate_stacks(find_stacks(folder), compared(fused=[tmp_path / "fused" / "theirs"]))
    assert several.methods == ["others", "theirs", *BESTS]
    assert [row.metrics for row in one.rows if row.method == "theirs"] == [
        row.metrics for row in several.rows if row.method == "theirs"
    ]
    assert one.rows[0].metrics["detail_low"] > 0.99
    assert one.rows[0].ms is None


def test_a_picture_of_another_size_is_refused_and_the_others_go_on(folder, tmp_path, truth):
    (tmp_path / "theirs").mkdir()
    cv2.imwrite(str(tmp_path / "theirs" / "known.png"), truth[:90].astype(np.uint8))
    cv2.imwrite(str(tmp_path / "theirs" / "unknown.png"), truth.astype(np.uint8))
    evaluation = evaluate_stacks(find_stacks(folder), compared(fused=[tmp_path / "theirs"]))
    assert [bool(row.error) for row in evaluation.rows] == [True, False, *(False for _ in BESTS)]
    assert "known.png is 90 x 160, the frames are 96 x 160: have it written whole" in evaluation.rows[0].error


def test_a_picture_in_another_geometry_is_registered_first_and_it_is_said():
    scene = cv2.GaussianBlur(textured(320, 400, seed=5, contrast=80), (0, 0), 1).astype(np.uint8)
    matrix = np.array([[1.01, 0, 5.0], [0, 1.01, -4.0]])
    elsewhere = cv2.warpAffine(scene, matrix, (400, 320), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    found = placed(elsewhere, scene, "theirs.png", white=BYTES)
    assert re.match(r"registered to the frames first, by up to \d\.\d pixels", found.note)
    inner = np.s_[20:300, 20:380]
    before, after = (np.abs(picture[inner].astype(float) - scene[inner]).mean() for picture in (elsewhere, found.levels))
    assert after < 0.3 * before
    assert found.crop.top > 0 or found.crop.bottom < 320
    assert placed(scene, scene, "ours.png", white=BYTES).note == ""


def test_frames_that_breathe_are_registered_unless_there_is_a_truth(tmp_path):
    scene = cv2.GaussianBlur(textured(240, 320, seed=5, contrast=80), (0, 0), 1)
    still = steps(scene, 3)
    moving = [
        cv2.warpAffine(frame, np.array([[1 + 0.01 * k, 0, -1.6 * k], [0, 1 + 0.01 * k, -1.2 * k]]), (320, 240))
        for k, frame in enumerate(still)
    ]
    write_stack(tmp_path / "s", moving)
    seen = []

    def on_stack(_stack, frames, _made):
        seen.append(frames)

    def score(**options):
        return evaluate_stacks(find_stacks(tmp_path), compared(method_names=["pyramid"]), on_stack=on_stack, **options)

    affine, off = score(), score(align="off")
    assert [frames.align for frames in seen] == ["affine", "off"]
    assert max(move.moved for move in seen[0].pyramid.alignments) > 1.5
    assert affine.rows[0].metrics["detail_sharp"] > 0.97
    assert any("pixels apart" in note for note in seen[1].notes)
    assert not off.failed
    cv2.imwrite(str(tmp_path / "s" / "truth.png"), scene.astype(np.uint8))
    score()
    assert seen[2].align == "off"


def test_twelve_bits_in_sixteen_score_as_eight_do(tmp_path, truth, frames):
    """The level of white is found, as the fusion finds it; a picture of another program may have 8 bits."""
    write_stack(tmp_path / "eight" / "s", frames, truth)
    write_stack(tmp_path / "twelve" / "s", [np.rint(frame * (4095 / 255)).astype(np.uint16) for frame in frames])
    cv2.imwrite(str(tmp_path / "twelve" / "s" / "truth.png"), np.rint(truth * (4095 / 255)).astype(np.uint16))
    (tmp_path / "theirs").mkdir()
    cv2.imwrite(str(tmp_path / "theirs" / "s.png"), truth.astype(np.uint8))
    eight, twelve = (
        evaluate_stacks(find_stacks(tmp_path / bits), compared(method_names=["pyramid", "lap"], fused=[tmp_path / "theirs"]))
        for bits in ("eight", "twelve")
    )
    for expected, found in zip(eight.rows, twelve.rows, strict=True):
        assert found.metrics["PSNR"] == pytest.approx(expected.metrics["PSNR"], abs=0.3)
        assert found.metrics["detail_low"] == pytest.approx(expected.metrics["detail_low"], abs=0.02)


def test_a_damaged_frame_fails_its_stack_alone(folder):
    (folder / "known" / "f2.png").write_bytes(b"no picture")
    evaluation = evaluate_stacks(find_stacks(folder), compared(method_names=["pyramid", "average"]))
    assert [row.name for row in evaluation.failed] == ["known", "known"]
    assert "f2.png" in evaluation.failed[0].error
    assert len(evaluation.rows) == 4
    (told,) = evaluation.failures()
    assert told.startswith("known: ")


# Contestants


def test_the_bundled_network_is_taken_when_nothing_is_named(monkeypatch):
    from ufafuse.benchmarks.stacks import contestants as module

    loaded = []

    class Loaded:
        folds = True

        def __init__(self, model, **_):
            self.name = model
            loaded.append(model)

    monkeypatch.setattr(module, "NetworkContestant", Loaded)
    monkeypatch.setattr(module, "bundled", lambda: ["ufa", "ufa-stack"])
    compared()
    monkeypatch.setattr(module, "bundled", lambda: ["ufa", DEFAULT])
    compared()
    assert loaded == ["ufa-stack", DEFAULT]


def test_all_means_the_pyramid_and_every_classical_method():
    names = [contestant.name for contestant in compared(method_names=["all"])]
    assert names[0] == "pyramid"
    assert {"average", "lap", "dsift"} <= set(names)
    assert [contestant.name for contestant in compared(method_names=["all", "pyramid", "lap"])] == names


# The page


def test_the_parts_lie_where_pictures_differ_and_in_the_corners():
    flat = np.full((300, 400, 3), 90, np.uint8)
    other = flat.copy()
    other[140:150, 250:260] = 200
    regions = chosen_regions([flat, other, other], flat, Crop(10, 290, 20, 380))
    assert list(regions) == ["difference 1", "top left", "top right", "middle", "bottom left", "bottom right"]
    first, corner = regions["difference 1"], regions["bottom right"]
    assert first.top <= 140 and first.top + first.side >= 150
    assert first.left <= 250 and first.left + first.side >= 260
    assert (corner.top + corner.side, corner.left + corner.side) == (290, 380)
    assert (regions["top left"].top, regions["top left"].left) == (10, 20)
    sheet = strip({"a": flat, "grey": other[..., 0]}, regions)
    assert sheet.shape[2] == 3


def test_pictures_smaller_than_a_part_are_shown_whole():
    tiny = np.zeros((12, 9, 3), np.uint8)
    for region in chosen_regions([tiny], tiny, Crop(0, 12, 0, 9)).values():
        assert region.cut(tiny).shape == (9, 9, 3)


def test_the_table_fits_a_narrow_terminal():
    metrics = {"PSNR": 31.3, "SSIM": 0.9, "detail_sharp": 1.0, "detail_low": 0.98, "detail_added": 0.0}
    row = TableRow("best frame", BOUND, metrics | {"depth_error": 0.1, "depth_known": 1.0, "depth_filled": 0.3})
    narrow = rich.console.Console(width=80)
    with narrow.capture() as shown:
        narrow.print(terminal_table([row], "stacks", narrow))
    assert max(map(len, shown.get().splitlines())) <= 80
    assert "98.0 %" in shown.get()


# The command


def test_the_command_writes_one_page_that_needs_nothing_beside_it(run, folder, tmp_path):
    out = tmp_path / "out"
    result = run("eval", "--stacks", folder, "--methods", "pyramid,average", "-o", out)
    assert result.exit_code == 0, result.output
    html = (out / "index.html").read_text()
    assert set(re.findall(r'src="([^"]{0,15})', html)) == {"data:image/jpeg"}
    for word in ("near", "far", "sharpest", "pyramid", "truth", "difference 1", "bottom right"):
        assert f">{word}<" in html or f" {word}<br>" in html
    assert "| pyramid | run here |" in (out / "report.md").read_text().replace("**", "")
    assert "| best frame | upper bound |" in (out / "report.md").read_text()
    assert cv2.imread(str(out / "closeups" / "known.jpg")).ndim == 3
    assert cv2.imread(str(out / "fused" / "average" / "unknown.png")).shape == (*SIZE, 3)
    rows = list(csv.DictReader((out / "eval.csv").open()))
    assert [row["name"] for row in rows] == ["known", "unknown"] * 2 + ["known"] * 2 + ["mean"] * 4
    assert json.loads((out / "eval.json").read_text())["rows"][0]["metrics"]["detail_sharp"] > 0.9


def test_the_command_prints_one_json_object(run, folder):
    answer = json.loads(run("eval", "--stacks", folder, "--methods", "pyramid", "--json").stdout)
    assert answer["ok"] is True
    assert set(answer["rows"][0]) == {"name", "method", "metrics", "ms"}
    assert set(answer["mean"]) == {"pyramid", *BESTS}
    assert answer["stacks"][0] == {
        "name": "known",
        "frames": 4,
        "size": list(SIZE),
        "align": "off",
        "reference": str(folder / "known" / "f1.png"),
    }


def test_what_was_done_to_a_picture_is_said(run, tmp_path):
    scene = cv2.GaussianBlur(textured(240, 320, seed=5, contrast=80), (0, 0), 1)
    write_stack(tmp_path / "stacks" / "s", steps(scene, 3))
    (tmp_path / "theirs").mkdir()
    moved = cv2.warpAffine(scene, np.array([[1, 0, 6.0], [0, 1, 3.0]]), (320, 240), borderMode=cv2.BORDER_REFLECT)
    cv2.imwrite(str(tmp_path / "theirs" / "s.png"), moved.astype(np.uint8))
    result = run("eval", "--stacks", tmp_path / "stacks", "--fused", tmp_path / "theirs", "--json")
    assert result.exit_code == 0, result.output
    assert "registered to the frames first" in json.loads(result.stdout)["rows"][0]["note"]
    assert "s, theirs: registered to the frames first" in on_one_line(result.stderr)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--pairs is missing: see `ufa eval --help`. For focus stacks: --stacks DIR"),
        (["--pairs", ".", "--stacks", "."], "both --pairs and --stacks were given"),
        (["--pairs", ".", "--align", "affine"], "--align is for stacks"),
        (["--stacks", "{}", "--jobs", "2"], "--jobs is for pairs"),
        (["--stacks", "{}", "--table", "V"], "--table is for pairs"),
        (["--stacks", "{}", "--align", "sideways"], "--align sideways is not known"),
        (["--stacks", "{}", "--methods", "nothing"], "--methods nothing is not known: choose from pyramid"),
        (["--stacks", "{}", "--only", "zzz"], "no stack in"),
        (["--stacks", "{}", "--fused", "nowhere"], "--fused nowhere is not a folder"),
        (["--stacks", "nowhere"], "--stacks nowhere is not a folder"),
    ],
)
def test_bad_usage_ends_with_two_and_one_sentence(run, folder, arguments, message):
    result = run("eval", *(argument.replace("{}", str(folder)) for argument in arguments))
    assert result.exit_code == 2
    assert message in on_one_line(result.stderr)
    assert "Traceback" not in result.output


def test_a_failed_stack_is_told_and_the_command_ends_with_one(run, folder):
    Path(folder / "known" / "f2.png").write_bytes(b"no picture")
    result = run("eval", "--stacks", folder, "--methods", "pyramid")
    assert result.exit_code == 1
    assert "pyramid, known:" in on_one_line(result.stderr)
    assert "a mean over only 1 of 2 stacks" in on_one_line(result.stderr)
