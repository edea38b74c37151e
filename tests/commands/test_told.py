"""What reading a file gives to tell is told by every command that reads one: in its output, its JSON and its report."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tifffile

from tests.pictures import damaged_jpeg, label, photograph
from ufafuse.commands.cli import main

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

DAMAGED = "is damaged inside"


@pytest.fixture
def data(tmp_path):
    """Pairs, stacks, photographs and fused pictures, one file of each damaged inside."""
    for name in ("pairs", "stacks/one", "image", "mask", "theirs", "whole"):
        (tmp_path / name).mkdir(parents=True)
    for number in range(2):
        picture = photograph(64, 64, number)
        blurred = cv2.GaussianBlur(picture, (0, 0), 2)
        cv2.imwrite(str(tmp_path / "whole" / f"{number}_A.png"), picture)
        cv2.imwrite(str(tmp_path / "whole" / f"{number}_B.png"), blurred)
        damaged_jpeg(tmp_path / "pairs" / f"{number}_A.jpg", picture)
        for path in (f"pairs/{number}_B.png", f"pairs/{number}_GT.png", f"stacks/one/{number}.png", f"image/good{number}.png"):
            cv2.imwrite(str(tmp_path / path), blurred)
        damaged_jpeg(tmp_path / "image" / f"{number}.jpg", picture)
        damaged_jpeg(tmp_path / "theirs" / f"{number}.jpg", picture)
        for stem in (f"{number}", f"good{number}"):
            cv2.imwrite(str(tmp_path / "mask" / f"{stem}.png"), label(64, 64))
    damaged_jpeg(tmp_path / "stacks" / "one" / "2.jpg", photograph(64, 64, 0))
    damaged_jpeg(tmp_path / "stacks" / "one" / "truth.jpg", photograph(64, 64, 0))
    return tmp_path


READERS = {
    "eval --pairs pairs --methods average -o out": ("out/eval.json", ["0_A.jpg", "1_A.jpg"]),
    "eval --pairs whole --fused theirs -o out": ("out/eval.json", ["0.jpg", "1.jpg"]),
    "eval --stacks stacks --methods pyramid -o out": ("out/eval.json", ["2.jpg", "truth.jpg"]),
    "dataset --images image --masks mask -o out": ("out/dataset.json", ["0.jpg", "1.jpg"]),
    "dataset --images image --masks mask --lens --size 32 -o out": ("out/dataset.json", ["0.jpg", "1.jpg"]),
    "dataset --images image --stacks --count 1 --size 32 --frames 2 -o out": ("out/dataset.json", ["0.jpg", "1.jpg"]),
    "train --images image --masks mask --variant ufa-nano --crop 32 --batch 1 --steps 1 --val-pairs pairs --out out": (
        "out/report.json",
        ["0.jpg", "1.jpg", "0_A.jpg", "1_A.jpg"],
    ),
    "train loader --images image --masks mask --variant ufa-nano --crop 32 --batch 1 --seconds 0.1": ("", ["0.jpg", "1.jpg"]),
    "verify ufa-nano --against ufa-nano --backend onnxruntime --pairs pairs -o out": (
        "out/ufa-nano.onnx.verify.json",
        ["0_A.jpg", "1_A.jpg"],
    ),
    "calibrate ufa-nano --crops 1 --judge 1 --hard 0 --crop 32 --min-psnr 1 --pairs pairs -o out.onnx": (
        "out.onnx.json",
        ["0_A.jpg", "1_A.jpg"],
    ),
}


@pytest.mark.parametrize(("command", "found"), READERS.items(), ids=lambda value: value if isinstance(value, str) else "")
def test_damage_is_told_by_every_command_that_reads_pictures(command, found, data, monkeypatch, capsys):
    report, files = found
    monkeypatch.chdir(data)
    out, err = ufa(command, capsys)
    for name in files:
        assert f"{name} {DAMAGED}" in out
        assert not report or f"{name} {DAMAGED}" in (data / report).read_text()
    assert DAMAGED in err
    assert any(DAMAGED in text for text in warnings_of(json.loads(out)))


def ufa(command, capsys):
    """What a command that works writes on standard output and standard error."""
    words = [*command.split(), "--json"]
    if words[0] == "train":  # in a process of its own, as all tests that train
        done = subprocess.run([sys.executable, "-m", "ufafuse", *words], check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr
    with pytest.raises(SystemExit) as ended:
        main(words)
    said = capsys.readouterr()
    assert ended.value.code == 0, said.err
    return said.out, said.err


def warnings_of(result):
    """Those of a command, and of each stack."""
    texts = list(result.get("warnings", []))
    for entry in result["stacks"] if isinstance(result.get("stacks"), list) else []:
        texts += entry.get("warnings", [])
    return texts


def test_frames_of_several_kinds_are_scored_as_they_are_fused(data, monkeypatch, capsys):
    """Grey among colour and 8 bits among 16, which `ufa fuse` brings to one kind and tells."""
    near, far, truth = photograph(64, 64, 0), cv2.GaussianBlur(photograph(64, 64, 0), (0, 0), 2), photograph(64, 64, 0)
    for name, frames in {"deep": (near, far.astype(np.uint16) * 16), "grey": (near, cv2.cvtColor(far, 6))}.items():
        (data / "kinds" / name).mkdir(parents=True)
        for number, frame in enumerate(frames):
            cv2.imwrite(str(data / "kinds" / name / f"{number}.png"), frame)
        cv2.imwrite(str(data / "kinds" / name / "truth.png"), truth)
    tifffile.imwrite(data / "whole" / "0_B.tif", far[..., ::-1].astype(np.uint16) * 16, photometric="rgb")
    (data / "whole" / "0_B.png").unlink()
    cv2.imwrite(str(data / "whole" / "0_GT.png"), truth)
    monkeypatch.chdir(data)
    for command in ("eval --stacks kinds --methods pyramid,average", "eval --pairs whole --methods average --only 0"):
        result = json.loads(ufa(command, capsys)[0])
        assert min(row["metrics"]["PSNR"] for row in result["rows"]) > 20  # 12 dB where 12 bits are taken for near black
        texts = " ".join(warnings_of(result))
        assert "8 bits among 16, scaled to white 4095" in texts
        assert "stacks" not in result or "grey among colour" in texts
