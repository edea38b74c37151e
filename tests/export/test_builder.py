"""The builder against four releases of classic TensorRT, acted out by a strict fake."""

import re
import types

import pytest

from ufafuse.export.build_options import BuildOptions
from ufafuse.export.builder import BuildMonitor, TensorRt, choose_flavor
from ufafuse.export.profiles import Profile
from ufafuse.runtime.errors import BackendError, InputError, ModelError

RELEASES = ("10.3.0", "10.16.1", "11.1.0", "11.4.0")
PROFILES = (Profile((32, 32), (64, 64), (128, 128), (1, 1, 2)), Profile.static((256, 320)))
INPUTS = {"near": ["batch", 3, "height", "width"], "far": ["batch", 3, "height", "width"]}


@pytest.fixture
def onnx(tmp_path):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"the fake does not read it")
    return path


def build(vendor, onnx, progress=None, **options):
    return vendor.build(onnx, BuildOptions(PROFILES, **options), INPUTS, progress or BuildMonitor())


@pytest.mark.parametrize("release", RELEASES)
def test_a_plain_build_uses_only_names_that_the_release_has(release, fake, install, onnx):
    trt = install(fake.make_tensorrt(release, layers=[fake.conv("a"), fake.conv("b", "HALF")]))
    built = build(TensorRt("tensorrt"), onnx)
    assert built.plan == fake.PLAN
    assert trt.calls[0] == ("create_network", 1 << trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    profiles = [shapes for what, *rest in trt.calls if what == "profile" for shapes in rest]
    assert profiles[0]["near"] == ((1, 3, 32, 32), (1, 3, 64, 64), (2, 3, 128, 128))
    assert profiles[1]["far"] == ((1, 3, 256, 320),) * 3
    assert built.layers["share_half"] == 0.5
    assert ("clear", trt.BuilderFlag.TF32) in trt.calls  # or float32 would be computed with half's ten bits


@pytest.mark.parametrize("release", ["8.5.2.2", "8.6.1"])
def test_a_release_that_is_too_old_is_one_sentence(release, install):
    install(types.ModuleType("tensorrt")).__version__ = release
    with pytest.raises(BackendError, match=rf"tensorrt {release} is too old, 10 or newer is needed: its own trtexec"):
        TensorRt("tensorrt")


@pytest.mark.parametrize("release", RELEASES)
def test_every_option_reaches_the_release(release, fake, install, onnx, tmp_path):
    trt = install(fake.make_tensorrt(release))
    cache = tmp_path / "timings"
    cache.write_bytes(b"older")
    built = build(
        TensorRt("tensorrt"),
        onnx,
        workspace_mib=512,
        optimization_level=5,
        version_compatible=True,
        hardware="ampere+",
        timing_cache=cache,
    )
    assert ("pool", trt.MemoryPoolType.WORKSPACE, 512 << 20) in trt.calls
    assert ("flag", trt.BuilderFlag.VERSION_COMPATIBLE) in trt.calls
    assert ("cache", b"older") in trt.calls
    assert trt.config.builder_optimization_level == 5
    assert trt.config.hardware_compatibility_level == trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert built.timing_cache == b"timings"


def test_a_hardware_level_is_asked_for_only_where_the_release_has_it(fake, install, onnx):
    install(fake.make_tensorrt("10.3.0"))
    with pytest.raises(InputError, match="same-cc` is not known to this release"):
        build(TensorRt("tensorrt"), onnx, hardware="same-cc")
    trt = install(fake.make_tensorrt("10.16.1"))
    build(TensorRt("tensorrt"), onnx, hardware="same-cc")
    assert trt.config.hardware_compatibility_level == trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY


def test_the_fake_is_strict(fake):
    trt = fake.make_tensorrt("11.1.0")
    config = trt.Builder(trt.ILogger()).create_builder_config()
    with pytest.raises(AttributeError, match="FP16"):
        _ = trt.BuilderFlag.FP16
    with pytest.raises(AttributeError, match="int8_calibrator"):
        config.int8_calibrator = None
    with pytest.raises(NotImplementedError):
        _ = config.max_aux_streams
    assert fake.make_tensorrt("10.3.0").BuilderFlag.FP16 is not None


CLASSIC_ONLY = {"build_engine_with_config", "remote_auto_tuning_config"}
CLASSIC_ONLY |= {"PREFER_AOT_PYTHON_PLUGINS", "PREFER_JIT_PYTHON_PLUGINS", "has_implicit_batch_dimension"}
CLASSIC_ONLY |= {"add_plugin", "add_plugin_v2", "add_plugin_v3", "broadcast_across_batch", "location"}
BOUND_AS_INTERFACE = {"BuilderConfig", "OptimizationProfile", "Layer", "Tensor", "TimingCache", "NetworkDefinition"}


def test_the_fakes_newest_names_are_those_of_the_installed_sister(fake):
    rtx = pytest.importorskip("tensorrt_rtx", reason="its bindings are made from the same sources as TensorRT 11's")
    for name, members in fake.SURFACES["11.4.0"].items():
        real = getattr(rtx, f"I{name}" if name in BOUND_AS_INTERFACE else name)
        assert set(members) - CLASSIC_ONLY <= set(dir(real)), name


def test_the_real_builder_would_round_float32_products_unless_told_not_to(onnx):
    rtx = pytest.importorskip("tensorrt_rtx", reason="needs the wheels of TensorRT-RTX (x86-64)")
    builder = rtx.Builder(rtx.Logger(rtx.Logger.ERROR))
    assert builder.create_builder_config().get_flag(rtx.BuilderFlag.TF32)
    config = TensorRt("tensorrt-rtx")._config(builder, BuildOptions(PROFILES), INPUTS)
    assert not config.get_flag(rtx.BuilderFlag.TF32)


def test_classic_builds_for_the_gpu_it_is_on_and_for_no_other(fake, install, onnx):
    install(fake.make_tensorrt("11.1.0"))
    with pytest.raises(InputError, match=r"sm86` cannot be met.*tensorrt-rtx"):
        build(TensorRt("tensorrt"), onnx, targets=("sm86",))


def test_no_gpu_is_one_clear_error(fake, install, onnx):
    install(fake.make_tensorrt("11.1.0", gpu=False))
    with pytest.raises(BackendError, match=r"no usable GPU here.*CUDA initialization failure.*flavor=tensorrt-rtx"):
        build(TensorRt("tensorrt"), onnx)


def test_every_parser_error_is_shown_with_its_node(fake, install, onnx):
    install(fake.make_tensorrt("10.16.1", errors=[("conv_3", "Conv", "bad bias"), ("", "", "no opset")]))
    with pytest.raises(ModelError, match=r"conv_3 \(Conv\): bad bias; node 1: no opset"):
        build(TensorRt("tensorrt"), onnx)


def test_a_refusing_builder_is_quoted(fake, install, onnx):
    install(fake.make_tensorrt("11.1.0", refuses="no kernel\n  fits"))
    with pytest.raises(BackendError, match=r"refused the network: no kernel fits\.$"):
        build(TensorRt("tensorrt"), onnx, workspace_mib=64)


def test_a_layer_that_wants_more_scratch_says_which_option_gives_it(fake, install, onnx):
    install(fake.make_tensorrt("11.1.0", refuses="Error Code 2: OutOfMemory (Requested size was 538712296 bytes.)"))
    with pytest.raises(BackendError, match=r"allowed 512 MiB: give a greater `workspace_mib` or smaller frames"):
        build(TensorRt("tensorrt"), onnx, workspace_mib=512)


def test_a_stale_timing_cache_is_refused(fake, install, onnx, tmp_path):
    install(fake.make_tensorrt("10.3.0", stale_cache=True))
    with pytest.raises(InputError, match="timings of another GPU"):
        build(TensorRt("tensorrt"), onnx, timing_cache=tmp_path / "cache")


def test_progress_is_told_step_by_step(fake, install, onnx):
    install(fake.make_tensorrt("11.1.0", steps=2))
    heard = []
    build(TensorRt("tensorrt"), onnx, BuildMonitor(lambda *step: heard.append(step)))
    assert heard == [("building", 0, 2), ("building", 1, 2), ("building", 2, 2), ("building", 2, None)]


def test_a_cancelled_build_stops_at_the_next_step(fake, install, onnx):
    install(fake.make_tensorrt("11.1.0", steps=100))
    heard = []

    def on_phase(phase, step, total):
        heard.append(step)
        if step == 3:
            progress.cancelled.set()

    progress = BuildMonitor(on_phase)
    with pytest.raises(BackendError, match="cancelled"):
        build(TensorRt("tensorrt"), onnx, progress)
    assert max(heard) == 3


def test_the_census_tells_int8_half_and_float(fake, install, onnx):
    layers = [fake.dequantize("q"), fake.conv("a", source="q"), fake.conv("b", "HALF"), fake.conv("c")]
    install(fake.make_tensorrt("11.1.0", layers=layers))
    census = build(TensorRt("tensorrt"), onnx).layers
    assert (census["layers"], census["convolutions"], census["int8"], census["half"]) == (4, 3, 1, 1)
    assert census["float32"] == ["c"]
    assert census["share_int8"] == pytest.approx(1 / 3, abs=1e-4)


def test_a_flavour_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendError, match=r"ufafuse\[rtx\]"):
        choose_flavor("tensorrt-rtx")
    with pytest.raises(BackendError, match=r"^neither TensorRT nor TensorRT-RTX is installed") as told:
        choose_flavor(None)
    assert re.findall("`(.*?)`", str(told.value)) == [f"pip install 'ufafuse[{extra}]'" for extra in ("gpu", "rtx")]


def test_the_classic_flavour_comes_first(fake, install):
    install(fake.make_tensorrt("11.1.0"))
    assert choose_flavor(None) == "tensorrt"
