"""An engine's manifest is held against the file, the release and the GPU before anything is deserialised."""

import types

import pytest

from ufafuse.runtime.artefact import Manifest, manifest_path
from ufafuse.runtime.backends.tensorrt.facts import EngineFacts
from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.session import open_session

CLASSIC = types.SimpleNamespace(flavor="tensorrt", version="10.3.0.26")
RTX = types.SimpleNamespace(flavor="tensorrt-rtx", version="1.7.1.116")


def facts(engine_file, release=CLASSIC, **extra):
    from ufafuse.runtime.artefact import read_manifest

    path = engine_file(release, extra=extra)
    return EngineFacts.from_manifest(path, read_manifest(path))


def test_the_command_repeats_the_profiles(engine_file, tmp_path):
    found = facts(
        engine_file,
        profiles=[
            {"min": [256, 256], "opt": [520, 520], "max": [1080, 1920], "batch": [1, 1, 1]},
            {"min": [520, 520], "opt": [520, 520], "max": [520, 520], "batch": [1, 1, 1]},
        ],
    )
    assert found.command == (
        f"ufa build ufa.onnx -o {tmp_path}/ufa.engine --force --flavor tensorrt "
        "--min 256x256 --opt 520x520 --max 1080x1920 --static 520x520"
    )
    assert found.command_for((700, 800)).endswith("--flavor tensorrt --static 700x800")


@pytest.mark.parametrize(
    ("built", "here", "compatible", "fits"),
    [
        ("10.3.0.26", "10.3.0.26", False, True),
        ("10.3.0.26", "10.3.0.30", False, False),
        ("10.3.0.26", "10.16.0.1", True, True),
        ("10.16.0.1", "10.3.0.26", True, False),
        ("10.16.0.1", "11.4.0.106", True, True),
        ("10.16.0.1", "11.4.0.106", False, False),
    ],
)
def test_versions(engine_file, built, here, compatible, fits):
    found = facts(engine_file, version=built, version_compatible=compatible)
    if fits:
        found.check_version(here)
    else:
        with pytest.raises(ModelError, match=f"built by tensorrt {built}, here is {here}: run `ufa build"):
            found.check_version(here)


@pytest.mark.parametrize(
    ("built", "hardware", "here", "fits"),
    [
        (["sm86"], "none", (8, 6), True),
        (["sm86"], "none", (8, 9), False),
        (["sm75", "sm89"], "none", (8, 9), True),
        (["ampere+"], "none", (12, 0), True),
        (["ampere+"], "none", (7, 5), False),
        (["sm80"], "ampere+", (8, 9), True),
        (["sm80"], "same-cc", (8, 9), False),
        (["this machine's"], "none", (6, 1), True),
    ],
)
@pytest.mark.parametrize("release", [CLASSIC, RTX])
def test_gpus(engine_file, release, built, hardware, here, fits):
    found = facts(engine_file, release, compute_capability=built, hardware=hardware)
    if fits:
        found.check_gpu("Some GPU", here)
        return
    with pytest.raises(ModelError) as caught:
        found.check_gpu("Some GPU", here)
    number = f"sm{here[0]}{here[1]}"
    assert f"here is a Some GPU, which is {number}" in str(caught.value)
    assert (f"--target {number}" in str(caught.value)) == (release is RTX)


@pytest.mark.parametrize("missing", ["version", "compute_capability", "plan_sha256"])
def test_a_missing_fact_is_named(tmp_path, missing):
    extra = {"flavor": "tensorrt", "version": "1", "compute_capability": [], "plan_sha256": "", "onnx": "a.onnx"}
    del extra[missing]
    manifest = Manifest(kind="engine", variant="ufa", precision="fp32", extra=extra)
    with pytest.raises(ModelError, match=f"without '{missing}'.*ufa build a.onnx"):
        EngineFacts.from_manifest(tmp_path / "x.engine", manifest)


@pytest.mark.parametrize(("kind", "flavor"), [("onnx", "tensorrt"), ("engine", "other"), ("engine", None)])
def test_a_manifest_of_something_else(tmp_path, kind, flavor):
    manifest = Manifest(kind=kind, variant="ufa", precision="fp32", extra={"flavor": flavor})
    with pytest.raises(ModelError, match="no engine's"):
        EngineFacts.from_manifest(tmp_path / "x.engine", manifest)


@pytest.mark.parametrize(
    "extra", [{"version": "9.9.9.9"}, {"compute_capability": ["sm75"]}, {"plan_sha256": "0" * 64}, {"flavor": "other"}]
)
def test_nothing_is_deserialised_that_does_not_fit(release, engine_file, world, extra):
    with pytest.raises(ModelError, match="ufa build"):
        open_session(engine_file(release, extra=extra))
    assert "Runtime" not in world.calls
    assert "mem_alloc" not in world.calls


def test_a_truncated_engine(release, engine_file, world):
    path = engine_file(release)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(ModelError, match="is not the engine that its manifest describes"):
        open_session(path)
    path.write_bytes(b"")
    with pytest.raises(ModelError, match="empty"):
        open_session(path)


def test_a_missing_or_broken_manifest(release, engine_file, world):
    path = engine_file(release)
    manifest_path(path).write_text("{")
    with pytest.raises(ModelError, match="cannot be read"):
        open_session(path)
    manifest_path(path).unlink()
    with pytest.raises(ModelError, match="no manifest"):
        open_session(path)
    path.unlink()
    with pytest.raises(InputError):
        open_session(path)
