"""`ufa fuse` and `ufa info` as people and programs call them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from ufafuse.commands import fuse, info
from ufafuse.commands.cli import build_app
from ufafuse.runtime import precision
from ufafuse.runtime.images import read_image, write_image
from ufafuse.runtime.models import bundled

UFA = Path(sys.executable).with_name("ufa")
KEYS = {"ok", "backend", "precision", "model", "outputs", "failed"}


@pytest.fixture
def ufa(small_engine, write_model):
    """Runs a command in this process, on the small network."""
    app = typer.Typer()
    fuse.register(app)
    info.register(app)
    model = str(write_model())

    def run(*arguments, bare=False):
        options = [] if bare else ["--model", model, "--backend", "onnxruntime"]
        return CliRunner().invoke(app, [*map(str, arguments), *options], catch_exceptions=False)

    return run


@pytest.fixture
def pair(tmp_path, rng):
    paths = tmp_path / "x_A.png", tmp_path / "x_B.png"
    for path in paths:
        write_image(path, rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
    return paths


class TestFuse:
    def test_for_people(self, ufa, pair, tmp_path):
        done = ufa("fuse", *pair, "-o", tmp_path / "f.png")
        assert done.exit_code == 0
        assert f"wrote {tmp_path / 'f.png'}" in done.stdout
        assert "small.onnx in fp32 on onnxruntime (asked for)" in done.stdout
        assert read_image(tmp_path / "f.png").shape == (40, 50, 3)

    def test_for_programs(self, ufa, pair, tmp_path):
        done = ufa("fuse", *pair, "-o", tmp_path / "f.png", "--json")
        result = json.loads(done.stdout)
        assert done.exit_code == 0
        assert result.keys() >= KEYS
        assert (result["ok"], result["failed"], result["backend"], result["precision"]) == (True, 0, "onnxruntime", "fp32")
        assert result["outputs"][0].keys() >= {"near", "far", "fused", "size", "ms"}
        assert result["outputs"][0]["size"] == [40, 50]
        assert "wrote" in done.stderr

    @pytest.mark.parametrize("prefer", ["quality", "speed"])
    @pytest.mark.parametrize("frames", [2, 3])
    def test_int8_is_taken_for_speed_alone_pair_or_stack(self, frames, prefer, ufa, pair, tmp_path, monkeypatch):
        pytest.importorskip("openvino")
        monkeypatch.setattr(precision, "multiplies_bytes", lambda: True)
        images = (*pair, pair[0])[:frames]
        options = ["--prefer", prefer, "--backend", "openvino", "--model", "ufa-edge"]  # one with an int8 file, for stacks too
        done = ufa("fuse", *images, "-o", tmp_path / "f.png", *options, "--json", bare=True)
        assert done.exit_code == 0, done.stderr
        result = json.loads(done.stdout)
        assert ("int8" in result["precision"]) == (prefer == "speed")
        assert ("speed preferred" in result["why"]) == (prefer == "speed")
        told = ufa("fuse", *images, "-o", tmp_path / "g.png", *options, bare=True).stdout
        assert ("faster here, in int8: --prefer speed" in told) == (prefer == "quality")

    def test_every_option(self, ufa, pair, tmp_path):
        options = [
            "--align",
            "affine",
            "--crop",
            "--match-gain",
            "--map",
            tmp_path / "m.png",
            "--confidence",
            tmp_path / "c.png",
        ]
        options += ["--tile", "16", "--white", "255", "--threads", "1"]
        done = ufa("fuse", *pair, pair[0], "-o", tmp_path / "f.png", *options, "--json")
        assert done.exit_code == 0, done.stderr
        output = json.loads(done.stdout)["outputs"][0]
        assert output.keys() >= {"more", "map", "confidence", "alignment", "crop", "gain", "tiles"}
        assert "warning:" in done.stderr  # noise cannot be registered
        assert (tmp_path / "m.png").is_file()

    def test_raw_images(self, ufa, tmp_path, rng):
        for side in "AB":
            write_image(tmp_path / f"{side}.png", rng.integers(0, 4096, (20, 30), dtype=np.uint16))
        out = tmp_path / "f.png"
        done = ufa("fuse", tmp_path / "A.png", tmp_path / "B.png", "-o", out, "--bayer", "rggb", "--white", "4095")
        assert done.exit_code == 0
        assert read_image(out).shape == (20, 30, 3)

    def test_a_folder(self, ufa, pair, tmp_path):
        (tmp_path / "bad_A.png").write_text("no")
        shutil.copy(pair[0], tmp_path / "bad_B.png")
        done = ufa("fuse", "--pairs", tmp_path, "-o", tmp_path / "out", "--map", tmp_path / "maps", "--json")
        result = json.loads(done.stdout)
        assert done.exit_code == 1
        assert (result["ok"], result["failed"], len(result["outputs"])) == (False, 1, 2)
        assert "bad_A.png is no image" in result["outputs"][0]["error"]
        assert (tmp_path / "out" / "x.png").is_file()
        assert (tmp_path / "maps" / "x.png").is_file()
        told = ufa("fuse", "--pairs", tmp_path, "-o", tmp_path / "out", "--skip-existing")
        assert told.exit_code == 1
        assert "failed" in told.stdout
        assert "0 of 2 fused, 1 were there already, 1 failed" in told.stdout

    def test_a_folder_whose_results_are_there_says_so_once_and_offers_to_go_on(self, ufa, pair, tmp_path):
        for side, path in zip("AB", pair, strict=True):
            for name in "yz":
                shutil.copy(path, tmp_path / f"{name}_{side}.png")
        assert ufa("fuse", "--pairs", tmp_path, "-o", tmp_path / "out").exit_code == 0
        again = ufa("fuse", "--pairs", tmp_path, "-o", tmp_path / "out")
        assert again.exit_code == 1
        assert again.stderr.startswith("error: 3 results exist already (x.png, y.png, z.png): add --skip-existing")
        assert len(again.stderr.splitlines()) == 1
        rest = ufa("fuse", "--pairs", tmp_path, "-o", tmp_path / "out", "--skip-existing", "--json")
        assert rest.exit_code == 0
        assert json.loads(rest.stdout)["skipped"] == 3

    def test_the_text_names_what_was_done(self, ufa, pair, tmp_path):
        options = ["--align", "affine", "--match-gain", "--tile", "16"]
        done = ufa("fuse", *pair, pair[0], "-o", tmp_path / "f.png", *options)
        first, second, *_ = done.stdout.splitlines()
        assert first == f"wrote {tmp_path / 'f.png'}"
        for word in ("3 frames", "reference x_", "not moved", "levels times", "tiles"):
            assert word in second

    def test_a_folder_of_pairs_needs_a_folder_for_its_results(self, ufa, pair, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        done = ufa("fuse", "--pairs", tmp_path)
        assert done.exit_code == 2
        assert "name a folder for them with -o OUTDIR" in done.stderr
        assert not Path("fused.png").exists()

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["{a}"], "x_A.png holds one frame: fusing takes two or more"),
            (["{moving}"], "moving.png holds one frame (of an animation the first picture is read): fusing takes two or more"),
            ([], "no images were given: give two or more"),
            (["{a}", "{b}", "--pairs", "."], "both images and --pairs were given"),
            (["{a}", "no.png"], "no.png does not exist"),
            (["{a}", "{empty}"], "empty.png is empty"),
            (["{a}", "{text}"], "text.png is no image"),
            (["{a}", "{cut}"], "cut.png is damaged"),
            (["{a}", "{other}"], "it is not the same view"),
            (["{a}", "{b}", "-o", "{a}"], "x_A.png is one of the frames that are read"),
            (["{a}", "{b}", "-o", "{a}/f.png"], "x_A.png is not a folder"),
            (["{a}", "{b}", "-o", "f.gif"], "suffix '.gif'"),
            (["{a}", "{b}", "--tile", "many"], "--tile many is not known"),
            (["{a}", "{b}", "--max-memory", "1"], "a memory of 1 MB is too little"),
            (["{a}", "{b}", "--crop"], "add --align"),
            (["{a}", "{b}", "--self-test"], "no reference result is packed"),
            (["--pairs", "{a}"], "x_A.png is not a folder"),
        ],
    )
    def test_one_clear_line_and_two(self, ufa, pair, tmp_path, arguments, told):
        names = {"a": pair[0], "b": pair[1]}
        for name, data in {"empty": b"", "text": b"no picture", "cut": pair[0].read_bytes()[:500]}.items():
            names[name] = tmp_path / f"{name}.png"
            names[name].write_bytes(data)
        names["other"] = tmp_path / "other.png"
        write_image(names["other"], np.zeros((1, 1, 3), np.uint8))
        names["moving"] = tmp_path / "moving.png"
        black, white = (Image.new("RGB", (8, 8), colour) for colour in ("black", "white"))
        black.save(names["moving"], save_all=True, append_images=[white])
        out = [] if "-o" in arguments else ["-o", tmp_path / "f.png"]
        given = [argument.format(**names) for argument in arguments]
        done = ufa("fuse", *given, *out)
        assert done.exit_code == 2
        assert told in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
        assert not (tmp_path / "f.png").exists()
        as_json = ufa("fuse", *given, *out, "--json")
        assert as_json.exit_code == 2
        assert json.loads(as_json.stdout) == {"ok": False, "error": as_json.stderr.removeprefix("error: ").strip()}

    @pytest.mark.parametrize("option", [["--backend", "abacus"], ["--align", "up"], ["--bayer", "x"], ["--threads", "0"]])
    def test_bad_usage(self, ufa, pair, option):
        assert ufa("fuse", *pair, *option, bare=True).exit_code == 2


class TestInfo:
    def test_for_programs(self, ufa):
        done = ufa("info", "--json", bare=True)
        result = json.loads(done.stdout)
        assert done.exit_code == 0
        assert result.keys() >= {"ok", "version", "machine", "backends"}
        assert result["backends"].keys() >= {"openvino", "onnxruntime", "tensorrt"}
        for state in result["backends"].values():
            assert "version" in state if state["available"] else "why_not" in state

    def test_for_people(self, ufa):
        assert "features" in ufa("info", bare=True).stdout

    def test_an_artefact(self, ufa, write_model, tmp_path):
        done = ufa("info", write_model(), "--json", bare=True)
        artefact = json.loads(done.stdout)["artefact"]
        assert (artefact["variant"], artefact["runs_here"], artefact["why_not"]) == ("small", True, None)
        told = ufa("info", write_model(), bare=True).stdout
        assert "runs here" in told
        assert "small" in told
        assert "{" not in told
        assert write_model().name in told.partition("kind")[0]  # where it lies
        assert ufa("info", tmp_path / "no.onnx", bare=True).exit_code == 2

    def test_the_sizes_that_an_engine_serves_are_whole(self, ufa, write_model, tmp_path):
        about = json.loads(ufa("info", write_model(), "--json", bare=True).stdout)["artefact"]
        about = {key: about[key] for key in ("variant", "io", "created", "tools", "spec", "weights_sha256")}
        sizes = {"min": [256, 256], "opt": [1080, 1920], "max": [2160, 3840], "batch": [1, 2, 8]}
        extra = {"flavor": "tensorrt", "profiles": [sizes], "workspace_mib": None, "layers": {"float32": [], "half": 34}}
        (tmp_path / "x.engine").write_bytes(b"a plan")
        manifest = {**about, "schema": 1, "kind": "engine", "precision": "fp16", "extra": extra}
        (tmp_path / "x.engine.json").write_text(json.dumps(manifest))
        told = ufa("info", tmp_path / "x.engine", bare=True).stdout
        assert "256x256 to 2160x3840, best 1080x1920, 1 to 8 pairs" in told
        assert "half 34" in told
        assert "float32" not in told  # none: nothing to say
        assert "None" not in told

    @pytest.mark.parametrize(("levels", "code", "verdict"), [(0.0, 0, "passed"), (3.0, 1, "failed")])
    def test_the_self_test(self, ufa, write_model, small, tmp_path, rng, levels, code, verdict):
        from ufafuse.runtime.checks.cases import Case, save_reference
        from ufafuse.runtime.frames import check_pair
        from ufafuse.runtime.packing import to_planes

        near, far = rng.integers(0, 256, (2, 16, 24, 3), dtype=np.uint8)
        planes = [to_planes(frame, check_pair(near, far)) for frame in (near, far)]
        fused = small.Net().fuse(*planes, *map(small.Net().means, planes))[0][0, ::-1].transpose(1, 2, 0) * 255 + levels
        case = Case("pair", near, far, fused.astype(np.float32))
        save_reference(tmp_path / "small.reference.npz", [case], variant="small", weights_sha256="0" * 64)
        model = write_model()
        done = ufa("info", model, "--self-test", "--backend", "onnxruntime", "--json", bare=True)
        assert done.exit_code == code
        result = json.loads(done.stdout)
        assert result["ok"] is result["self_test"]["ok"] is (code == 0)
        told = ufa("info", model, "--self-test", "--backend", "onnxruntime", bare=True)
        assert told.exit_code == code
        assert f"self-test {verdict}" in told.stdout


class TestModels:
    def test_for_programs(self, ufa):
        found = json.loads(ufa("models", "--json", bare=True).stdout)["models"]
        assert {network["name"] for network in found} == set(bundled())
        assert [network["default"] for network in found] == [True] + [False] * (len(found) - 1)
        for network in found:
            assert network["purpose"]
            assert all(size > 0 for size in network["bytes"].values())

    def test_for_people(self, ufa):
        told = ufa("models", bare=True).stdout
        for name in bundled():
            assert name in told


class TestTheRealCommand:
    """In a process of its own, as a user starts it."""

    @staticmethod
    def run(*arguments, **options):
        return subprocess.run([UFA, *map(str, arguments)], capture_output=True, text=True, check=False, **options)

    @pytest.mark.skipif("ufa" not in bundled(), reason="no network is bundled")
    def test_fusing_with_the_bundled_network(self, pair, tmp_path):
        done = self.run("fuse", *pair, "-o", tmp_path / "f.png", "--json", "--threads", "1")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["ok"]
        again = self.run("fuse", *pair, "-o", tmp_path / "f.png")
        assert again.returncode == 2
        assert again.stderr.startswith("error: ")
        assert len(again.stderr.splitlines()) == 1
        assert "Traceback" not in again.stderr

    def test_nothing_is_half_written_to_a_folder_that_takes_nothing(self, pair):
        """/proc cannot be written to, even by root."""
        if "ufa" not in bundled() or not Path("/proc/self").is_dir():
            pytest.skip("needs a bundled network and /proc")
        done = self.run("fuse", *pair, "-o", "/proc/f.png", "--threads", "1")
        assert done.returncode == 2
        assert "/proc/f.png cannot be written" in done.stderr

    def test_decoders_stay_silent(self, pair, tmp_path):
        (tmp_path / "cut.tif").write_bytes(b"II*\0\xff\xff\xff\x7f")
        done = self.run("fuse", pair[0], tmp_path / "cut.tif", "-o", tmp_path / "f.png")
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1

    def test_help(self):
        done = self.run("--help", env={**os.environ, "COLUMNS": "200"})
        assert done.returncode == 0
        for name in ("fuse", "stream", "info", "train", "export", "eval", "bench"):
            assert name in done.stdout
        assert "Exit codes: 0 done; 1" in done.stdout


def test_all_folders_register_their_commands():
    names = set(typer.main.get_command(build_app()).commands)
    assert names >= {"fuse", "info", "stream", "train", "dataset", "export", "calibrate", "build", "verify", "bench", "eval"}
