"""`ufa fuse` of a stack with the network that ships: what it writes, what it tells."""

import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.commands.fuse import FuseRequest
from ufafuse.runtime.images import read_image, write_image
from ufafuse.runtime.models import STACKS, bundled, default_for
from ufafuse.runtime.stacks.options import StackOptions

COUNT, HEIGHT, WIDTH = 5, 96, 128


@pytest.fixture
def run():
    app = build_app()

    def run(*arguments):
        return CliRunner().invoke(app, ["fuse", *map(str, arguments)], catch_exceptions=False)

    return run


@pytest.fixture
def folder(tmp_path):
    """Five frames, numbered as a camera numbers them, each sharp in another part."""
    rng = np.random.default_rng(3)
    truth = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 1)
    truth = np.clip(128 + 60 * truth / truth.std(), 0, 255)
    depth = np.linspace(-0.5, COUNT - 0.5, WIDTH)
    (tmp_path / "stack").mkdir()
    for index in range(COUNT):
        frame = np.empty_like(truth)
        for column, away in enumerate(np.abs(depth - index)):
            window = truth[:, max(0, column - 12) : column + 13]
            frame[:, column] = cv2.GaussianBlur(window, (0, 0), 0.01 + 1.2 * away)[:, min(column, 12)]
        write_image(tmp_path / "stack" / f"img_{index + 8}.png", np.rint(frame).astype(np.uint8))
    write_image(tmp_path / "truth.png", np.rint(truth).astype(np.uint8))
    return tmp_path / "stack"


def psnr(a, b):
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


def test_the_network_for_stacks_is_bundled_and_taken():
    assert STACKS in bundled()
    assert (default_for(2), default_for(3), default_for(2, of_stack=True)) == ("ufa-edge", STACKS, STACKS)


def faint(frame):
    return 128 + 0.1 * (frame.astype(np.float32) - 128)


def test_noise_is_averaged_away_and_told(run, folder, tmp_path):
    rng = np.random.default_rng(9)
    for path in folder.iterdir():
        noisy = faint(read_image(path)) + 9 * rng.normal(size=(HEIGHT, WIDTH, 3))
        write_image(path, np.rint(np.clip(noisy, 0, 255)).astype(np.uint8), force=True)
    told = run(folder, "-o", tmp_path / "f.png").output
    assert "smoothing 10, for noise of 8." in told
    entry = json.loads(run(folder, "-o", tmp_path / "g.png", "--json").stdout)["outputs"][0]
    assert (entry["smoothing"], entry["noise"]) == (10, pytest.approx(9, abs=1))
    plain = json.loads(run(folder, "-o", tmp_path / "h.png", "--smoothing", "1", "--json").stdout)["outputs"][0]
    assert not {"smoothing", "noise"} & plain.keys()
    truth = faint(read_image(tmp_path / "truth.png"))
    assert psnr(read_image(tmp_path / "g.png"), truth) > psnr(read_image(tmp_path / "h.png"), truth) + 2


def test_everything_that_a_stack_gives(run, folder, tmp_path):
    out = {name: tmp_path / name for name in ("f.png", "map.png", "sure.png", "h.tif", "v.png", "m.ply", "aligned")}
    done = run(
        folder, "-o", out["f.png"], "--map", out["map.png"], "--confidence", out["sure.png"], "--depth", out["h.tif"],
        "--depth-view", out["v.png"], "--mesh", out["m.ply"], "--save-aligned", out["aligned"], "--z-step", "0.1",
        "--z-unit", "mm", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    output = json.loads(done.stdout)["outputs"][0]
    assert output["method"] == "network"
    assert output["heights"]["unit"] == "mm"
    assert output["heights"]["last"] == pytest.approx(0.4)
    truth, fused = read_image(tmp_path / "truth.png"), read_image(out["f.png"])
    frames = [read_image(path) for path in sorted(folder.iterdir())]
    assert psnr(fused, truth) > max(psnr(frame, truth) for frame in frames) + 3
    heights = cv2.imread(str(out["h.tif"]), cv2.IMREAD_UNCHANGED)
    assert heights.dtype == np.float32
    expected = np.clip(np.linspace(-0.5, COUNT - 0.5, WIDTH), 0, COUNT - 1) * 0.1
    assert np.nanmedian(np.abs(heights - expected)) < 0.05
    assert out["m.ply"].read_bytes().startswith(b"ply\n")
    assert len(list(out["aligned"].iterdir())) == COUNT
    assert read_image(out["aligned"] / "001.png").shape == (HEIGHT, WIDTH, 4)
    assert "ufa-stack" in json.loads(done.stdout)["model"]


def test_registered_frames_of_another_run_are_told(run, folder, tmp_path):
    """With --force they stayed among those of a shorter stack, whose own they looked like."""
    frames, aligned = sorted(folder.iterdir()), tmp_path / "aligned"
    more = ["--save-aligned", aligned, "--force", "--json"]
    told = []
    for given in (frames, frames, frames[:4], frames[:3]):
        entry = json.loads(run(*given, "-o", tmp_path / "f.png", *more).stdout)["outputs"][0]
        told.append([warning for warning in entry.get("warnings", []) if "also holds" in warning])
    assert told[:2] == [[], []]
    assert [len(lines) for lines in told[2:]] == [1, 1]
    assert "also holds 005.png, which was there before" in told[2][0]
    assert "also holds 004.png, 005.png, which were there before" in told[3][0]
    assert len(list(aligned.iterdir())) == COUNT


def test_the_numbers_in_the_names_are_the_order(run, folder, tmp_path):
    by_letters = sorted(folder.iterdir())  # 10, 11, 12, 8, 9
    done = run(*by_letters, "-o", tmp_path / "f.png", "--json")
    output = json.loads(done.stdout)["outputs"][0]
    assert done.exit_code == 0
    assert "order" in output


def test_the_command_line_begins_with_the_librarys_factor():
    assert FuseRequest.restore == StackOptions().restore  # written out there, for --help to answer at once


def test_what_was_raised_between_the_planes_is_said(run, tmp_path, make_board):
    folder = make_board(tmp_path / "board")
    said = run(folder, "-o", tmp_path / "f.png", "--json")
    share, most = json.loads(said.stdout)["outputs"][0]["restored"]
    assert 0 < share <= 1
    assert 1.05 <= most <= 2.2
    assert "detail between planes of focus raised in" in run(folder, "-o", tmp_path / "g.png").output.replace("\n", " ")
    little = json.loads(run(folder, "-o", tmp_path / "h.png", "--restore", "1.1", "--json").stdout)["outputs"][0]
    assert 1.02 < little["restored"][1] <= 1.1
    without = json.loads(run(folder, "-o", tmp_path / "i.png", "--restore", "1", "--json").stdout)["outputs"][0]
    assert "restored" not in without
    pictures = [read_image(tmp_path / name) for name in ("f.png", "h.png", "i.png")]
    assert (pictures[0] != pictures[2]).any()
    assert (pictures[1] != pictures[2]).any()


@pytest.fixture
def make_board():
    """Frames of an even plane that lies half way between two planes of focus."""

    def make(folder):
        folder.mkdir()
        rng = np.random.default_rng(4)
        board = np.full((160, 200), 90, np.uint8)
        for _ in range(60):
            top, left = rng.integers(0, 150), rng.integers(0, 190)
            board[top : top + rng.integers(2, 9), left : left + rng.integers(2, 30)] = rng.integers(40, 220)
        for number in range(6):
            radius = 2.6 * abs(number - 2.5)
            y, x = np.mgrid[-9:10, -9:10]
            kernel = np.clip(radius - np.hypot(y, x) + 0.5, 0, 1)
            frame = cv2.filter2D(board.astype(np.float64), -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT)
            write_image(folder / f"{number}.png", (frame + rng.normal(0, 1, frame.shape)).clip(0, 255).round().astype(np.uint8))
        return folder

    return make


def test_the_strongest_contrast_there_is(run, tmp_path):
    stripes = np.zeros((256, 256, 3), np.uint8)
    stripes[::2] = 255
    dots = np.zeros_like(stripes)
    dots[::5, ::3] = 255
    fused = {}
    for dtype, white in ((np.uint8, 255), (np.uint16, 65535)):
        folder = tmp_path / str(white)
        folder.mkdir()
        for number, frame in enumerate((np.zeros_like(stripes), stripes, dots, 255 - stripes)):
            write_image(folder / f"{number}.png", frame.astype(dtype) * (white // 255))
        done = run(folder, "-o", folder / "f.png", "--json")
        assert done.exit_code == 0, done.output
        fused[white] = read_image(folder / "f.png").astype(float) / white
    np.testing.assert_allclose(fused[255], fused[65535], atol=1.5 / 255)
    assert fused[255].std() > 0.2


def test_the_pyramid(run, folder, tmp_path):
    done = run(folder, "-o", tmp_path / "f.png", "--method", "pyramid", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["outputs"][0]["method"] == "pyramid"


@pytest.mark.parametrize(
    "beside",
    [
        ("--map", "m.png"),
        ("--confidence", "c.tif"),
        ("--conflicts", "x.png"),
        ("--depth", "h.png"),
        ("--depth-view", "v.png"),
        ("--mesh", "m.ply"),
        ("--save-aligned", "aligned"),
        ("--report", "r.html"),
    ],
    ids=lambda beside: beside[0],
)
@pytest.mark.parametrize("method", ["network", "pyramid"])
@pytest.mark.parametrize("frames", [2, 4])
def test_what_is_asked_for_is_there_or_refused(run, folder, tmp_path, beside, method, frames):
    made = tmp_path / "made"
    made.mkdir()
    done = run(*sorted(folder.glob("*.png"))[:frames], "-o", made / "f.png", "--method", method, beside[0], made / beside[1])
    there = {path.name for path in made.iterdir()}
    if done.exit_code:
        assert (done.exit_code, method, there) == (2, "pyramid", set())
        assert "the pyramid gives no" in done.stderr
    else:
        assert there == {"f.png", beside[1]}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--depth", "h.jpg"], ".png (16 bit) or .tif"),
        (["--mesh", "m.obj"], ".ply"),
        (["--depth", "h.png", "--method", "pyramid"], "--method network"),
        (["--depth", "h.png", "--model", "ufa-edge"], "--model ufa-stack"),
        (["--reference", "9", "--align", "affine"], "--reference"),
        (["--z-step", "0", "--depth", "h.png"], "--z-step"),
        (["--smoothing", "30"], "--smoothing 30 is not possible: give 1 (none) to 10"),
        (["--smoothing", "2", "--method", "pyramid"], "has no --smoothing"),
        (["--restore", "3"], "--restore 3 is not possible: give 1 (nothing is raised) to 2.2"),
        (["--restore", "1.5", "--method", "pyramid"], "--restore is for a network that sees the whole stack"),
        (["--restore", "1.5", "--model", "ufa-edge"], "take --model ufa-stack"),
        # What would do nothing.
        (["--z-step", "0.05"], "--z-step is about heights: add --depth"),
        (["--z-step", "0.05", "--depth-view", "v.png"], "--z-step is about heights: add --depth, or --mesh"),
        (
            ["--z-step", "0.05", "--mesh", "m.ply"],
            "--z-step gives a mesh no scale without the side of a pixel",
        ),
        (["--depth-fill"], "--depth-fill is about --depth: add that"),
        (["--depth-fill", "--depth-view", "v.png", "--mesh", "m.ply"], "--depth-fill is about --depth: add that"),
        (["--z-unit", "mm", "--depth", "h.png"], "--z-unit names the unit of --z-step"),
        (["--pixel-size", "0.1", "--z-step", "1", "--depth", "h.png"], "--pixel-size is about meshes"),
        (["--pixel-size", "0.1", "--mesh", "m.ply"], "--pixel-size is in the unit of --z-step"),
        (["--keep-unregistered"], "--keep-unregistered is about registered frames: add --align"),
        (["--reference", "2"], "--reference is what others are registered to: add --align"),
        (["--quiet", "3s"], "--quiet is for a folder that is watched: add --watch"),
        (["--skip-existing"], "--skip-existing goes on with many: add --pairs or --stacks"),
    ],
)
def test_what_cannot_be_given_is_one_sentence(run, folder, tmp_path, arguments, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = run(folder, "-o", tmp_path / "f.png", *arguments)
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
    assert not (tmp_path / "f.png").exists()


def test_little_memory_is_enough_or_refused(run, folder, tmp_path):
    done = run(folder, "-o", tmp_path / "f.png", "--max-memory", "30MB")
    assert done.exit_code == 2
    assert "memory" in done.output


@pytest.fixture
def lit_pair(tmp_path):
    """Dark texture, sharp in the near frame, with lamps that are discs in it and points in the far one; and the truth."""
    rng = np.random.default_rng(2)
    texture = cv2.GaussianBlur(rng.normal(size=(200, 260, 3)).astype(np.float32), (0, 0), 1)
    texture = np.clip(70 + 45 * texture / texture.std(), 5, 150)
    lamps = np.zeros(texture.shape[:2], np.float32)
    for centre in ((60, 70), (140, 120), (210, 60)):
        cv2.circle(lamps, centre, 2, 30_000, -1)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (25, 25)).astype(np.float32)
    bloomed = cv2.filter2D(lamps, -1, disc / disc.sum())
    views = {
        "near": texture + bloomed[..., None],
        "far": cv2.GaussianBlur(texture, (0, 0), 5) + lamps[..., None],
        "truth": texture + lamps[..., None],
    }
    for name, view in views.items():
        write_image(tmp_path / f"{name}.png", np.clip(view, 0, 255).astype(np.uint8))
    return tmp_path


def test_a_pair_whose_lights_bloom_is_fused_by_the_network_for_stacks(run, lit_pair):
    arguments = (lit_pair / "near.png", lit_pair / "far.png", "--json", "-o")
    chosen = run(*arguments, lit_pair / "f.png")
    assert chosen.exit_code == 0, chosen.output
    result = json.loads(chosen.stdout)
    assert f"{STACKS}.onnx" in result["model"]
    assert result["outputs"][0]["lights"] > 0.005
    named = run(*arguments, lit_pair / "g.png", "--model", "ufa-edge")
    output = json.loads(named.stdout)["outputs"][0]
    assert "lights" not in output
    assert any("clipped lights bloom" in warning and "--model ufa-stack" in warning for warning in output["warnings"])
    truth = read_image(lit_pair / "truth.png")
    assert psnr(read_image(lit_pair / "f.png"), truth) > psnr(read_image(lit_pair / "g.png"), truth) + 3


def test_people_are_told_why(run, lit_pair):
    told = run(lit_pair / "near.png", lit_pair / "far.png", "-o", lit_pair / "f.png")
    assert "by ufa-stack, for clipped lights bloom" in " ".join(told.output.split())


def test_a_stark_pair_is_fused_by_the_network_for_stacks(run, tmp_path):
    truth = np.tile(np.where(np.arange(256) // 16 % 2, 255, 0).astype(np.uint8), (192, 1))
    soft, left = cv2.GaussianBlur(truth, (0, 0), 6), np.arange(256) < 128
    cv2.imwrite(str(tmp_path / "near.png"), np.where(left, truth, soft))
    cv2.imwrite(str(tmp_path / "far.png"), np.where(left, soft, truth))
    pair = tmp_path / "near.png", tmp_path / "far.png"
    told = run(*pair, "-o", tmp_path / "out.png")
    assert "by ufa-stack, for black and white of one frame are grey in the other" in " ".join(told.output.split())
    result = json.loads(run(*pair, "-o", tmp_path / "two.png", "--json").stdout)
    assert result["outputs"][0]["stark"] > 0.05
    assert "lights" not in result["outputs"][0]
    result = json.loads(run(*pair, "-o", tmp_path / "edge.png", "--model", "ufa-edge", "--json").stdout)
    assert any(
        "grey in the other" in warning and "--model ufa-stack" in warning for warning in result["outputs"][0]["warnings"]
    )
