"""The gate on the device: packed results, the verdict, the picture of the worst pair."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.checks.cases import (
    Case,
    describe_profiles,
    load_reference,
    save_reference,
    serves,
    verify_cases,
)
from ufafuse.runtime.checks.heatmap import heat_map
from ufafuse.runtime.errors import CheckFailed, InputError, ModelError, OutputError
from ufafuse.runtime.session import Fused, Session


class Average(Session):
    """Gives the mean of its frames, and an error where it is told to."""

    backend, why = "pretended", "a test"

    def __init__(self, *, io="float", precision="fp32", stored=None, error=0.0):
        self.manifest = Manifest("onnx", "mean", stored or precision, io)
        self.precision, self._error = precision, error

    def run_with_map(self, near, far):
        mean = (near.astype(np.float32) + far) / 2 + self._error
        return Fused(np.rint(mean).astype(np.uint8) if self.manifest.io == "uint8" else mean, None)

    def infer(self, inputs):
        return self.run_with_map(inputs["near"], inputs["far"])._asdict()


def case(name="one", size=(20, 30), seed=0, noise=0.0):
    near, far = np.random.default_rng(seed).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    return Case(name, near, far, (near.astype(np.float32) + far) / 2, noise)


def verify(session, cases, tmp_path):
    return verify_cases(session, cases, artefact=tmp_path / "x.onnx", reference=tmp_path / "x.npz")


@pytest.mark.parametrize("io", ["float", "uint8"])
def test_a_right_result_passes(io, tmp_path):
    told = []
    findings = verify_cases(
        Average(io=io), [case(), case("two", (5, 7))], artefact=tmp_path / "x.onnx", reference=tmp_path / "r", done=told.append
    )
    findings.require()
    assert findings.report["pairs"] == told
    assert [row["size"] for row in told] == [[20, 30], [5, 7]]


@pytest.mark.parametrize(
    ("stored", "precision", "passes"),
    [("fp32", "fp32", False), ("fp16", "fp32", True), ("fp32", "bf16", True), ("int8", "int8+fp32", True)],
)
def test_the_coarser_of_file_and_arithmetic_sets_the_tolerance(stored, precision, passes, tmp_path):
    half_a_level = Average(stored=stored, precision=precision, error=0.5 / 255)
    assert verify(half_a_level, [case()], tmp_path).report["ok"] is passes


def test_the_worst_pair_is_named_and_pictured(tmp_path):
    findings = verify(Average(error=0.1), [case(), case("two", (8, 9))], tmp_path)
    with pytest.raises(CheckFailed, match="2 of 2 pairs miss the tolerance"):
        findings.require()
    report, picture = findings.write(tmp_path)
    assert findings.report["worst"]["name"] in report.read_text()
    assert cv2.imread(str(picture)) is not None


def test_a_result_that_is_wrong_only_as_bytes_is_said_to_be(tmp_path):
    findings = verify(Average(), [case()], tmp_path)
    as_frames = {"layout": "levels", "max_abs": 3.0, "psnr": 40.0, "finite": True, "ok": False}
    row = {**findings.report["worst"], "ok": False, "as_frames": as_frames}
    told = replace(findings, report={**findings.report, "ok": False, "pairs": [row], "worst": row}).verdict
    assert "40.0 dB, 3 levels at most as bytes" in told


def test_packages_hold_maps_and_are_read_without(tmp_path):
    weight = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
    with_map = replace(case(), weight=weight, weight_noise=0.125)
    save_reference(tmp_path / "p.npz", [with_map, case("two")], variant="mean", weights_sha256="ab")
    one, two = load_reference(tmp_path / "p.npz")[1]
    assert np.array_equal(one.weight, weight)
    assert (one.weight_noise, two.weight) == (0.125, None)
    save_reference(tmp_path / "q.npz", [replace(with_map, weight=weight[1:])], variant="mean", weights_sha256="ab")
    with pytest.raises(ModelError, match="the map of one is not finite float32 of its size"):
        load_reference(tmp_path / "q.npz")


def test_nan_is_said_to_be_nan(tmp_path):
    findings = verify(Average(error=np.nan), [case()], tmp_path)
    assert "NaN or infinity" in findings.verdict
    findings.write(tmp_path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reference_that_is_no_number_passes_nowhere(value, tmp_path):
    """What `ufa verify` and the self-test both ask: the same number on either side is no agreement."""
    reference = case()
    reference.reference[3, 3, 1] = value
    for error in (0.0, value):
        findings = verify(Average(error=error), [reference], tmp_path)
        assert not findings.report["ok"]
        with pytest.raises(CheckFailed):
            findings.require()


def test_no_pair_is_an_error(tmp_path):
    with pytest.raises(InputError, match="no pair"):
        verify(Average(), [], tmp_path)


def test_findings_that_cannot_be_written_are_an_error(tmp_path):
    with pytest.raises(OutputError):
        verify(Average(), [case()], tmp_path).write(tmp_path / "none")


def test_packages_are_read_back_as_written(tmp_path):
    path = tmp_path / "p.npz"
    save_reference(path, [case(noise=0.25), case("two", (3, 4), 1)], variant="mean", weights_sha256="ab")
    about, cases = load_reference(path)
    assert (about["variant"], about["weights_sha256"]) == ("mean", "ab")
    assert [(each.name, each.noise) for each in cases] == [("one", 0.25), ("two", 0.0)]
    assert np.array_equal(cases[1].reference, case("two", (3, 4), 1).reference)
    with pytest.raises(OutputError, match="force=True"):
        save_reference(path, cases, variant="mean", weights_sha256="ab")


def test_broken_packages_are_refused(tmp_path):
    path = tmp_path / "p.npz"
    with pytest.raises(InputError, match="not a file"):
        load_reference(path)
    save_reference(path, [case()], variant="mean", weights_sha256="ab")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match="no reference pairs"):
        load_reference(path)
    np.savez(path, something=np.zeros(3))
    with pytest.raises(ModelError, match="no reference pairs"):
        load_reference(path)


def test_engines_serve_what_their_profiles_hold():
    profiles = [
        {"min": [10, 10], "opt": [20, 20], "max": [30, 40], "batch": [1, 1, 1]},
        {"min": [64, 64], "opt": [64, 64], "max": [64, 64], "batch": [1, 1, 1]},
    ]
    engine = Manifest("engine", "mean", "fp32", extra={"profiles": profiles})
    assert serves(engine, (10, 40))
    assert serves(engine, (64, 64))
    assert not serves(engine, (31, 40))
    assert serves(Manifest("onnx", "mean", "fp32"), (1, 1))
    assert describe_profiles(engine) == "10x10 to 30x40 and 64x64"
    assert describe_profiles(Manifest("onnx", "mean", "fp32")) == "any size"


def test_a_heat_map_shows_where_the_error_is():
    expected = np.full((40, 50, 3), 100, np.float32)
    result = expected.copy()
    result[10, 20] += 5
    picture = heat_map(result, expected)
    assert picture.shape[1:] == (150, 3)
    heat = picture[-40:, 100:].sum(axis=2)
    assert np.unravel_index(heat.argmax(), heat.shape) == (10, 20)
    assert heat_map(expected, expected).shape == picture.shape
