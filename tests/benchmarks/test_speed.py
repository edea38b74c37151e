"""Timing, floors, cold starts, the report and `ufa bench`; nothing here judges how long something takes."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import onnx
import pytest
import typer
from typer.testing import CliRunner

from ufafuse.benchmarks.speed import bench as bench_module
from ufafuse.benchmarks.speed import fresh, opening, peaks, report, runners, trtexec, work
from ufafuse.benchmarks.speed.bench import bench
from ufafuse.benchmarks.speed.floor import floor_entry
from ufafuse.benchmarks.speed.inputs import batch
from ufafuse.benchmarks.speed.opening import open_runner
from ufafuse.benchmarks.speed.plan import DEFAULT_SIZES, Plan, sizes_for
from ufafuse.benchmarks.speed.runners import RunnerSpec
from ufafuse.benchmarks.speed.work import Work, count_work
from ufafuse.commands import bench as commands
from ufafuse.export import timing
from ufafuse.runtime import machine
from ufafuse.runtime.artefact import METADATA_KEY
from ufafuse.runtime.errors import BackendError, InputError
from ufafuse.runtime.images import read_image
from ufafuse.runtime.models import model_path
from ufafuse.runtime.session import open_session

SIZE = (32, 48)
GEMM = {"fp32": {"gops": 100.0, "by": "x"}, "int8": {"gops": 400.0, "by": "x"}, "bf16": {"why_not": "none here"}}
PEAKS = {"gemm": GEMM, "copy_gbs": 10.0}


@pytest.fixture
def quick_peaks(monkeypatch):
    monkeypatch.setattr(peaks, "_SIDE", 64)
    monkeypatch.setattr(peaks, "_COPY_MIB", 1)
    monkeypatch.setattr(peaks, "_REPEATS", 1)


@pytest.fixture(scope="module")
def schema():
    return json.loads(Path(bench_module.__file__).with_name("schema.json").read_text())


@pytest.fixture
def result(tiny_onnx, quick_peaks):
    plan = Plan([tiny_onnx], sizes=[SIZE, (24, 24)], peers=False, methods=("lap",), seconds=0.01, most_runs=4, cold=False)
    return bench(plan)


@pytest.fixture
def run(quick_peaks):
    app = typer.Typer()
    commands.register(app)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_contenders_take_turns_and_leave_when_their_time_is_used():
    order = []
    clock = {"fast": 0.0, "slow": 0.05}

    def call(name):
        import time

        return lambda: (order.append(name), time.sleep(clock[name]))

    samples = timing.interleaved({name: call(name) for name in clock}, seconds=0.08, most=5, fewest=2, warm_up=1)
    assert order[:2] == ["fast", "slow"]  # warm-up
    assert order[2:6] == ["fast", "slow", "fast", "slow"]
    assert len(samples["fast"].times_ms) == 5
    assert len(samples["slow"].times_ms) == 2


def test_statistics_of_known_times():
    found = timing.Samples([float(value) for value in range(1, 102)]).statistics()
    assert (found["p50_ms"], found["p90_ms"], found["p99_ms"], found["min_ms"], found["runs"]) == (51, 91, 100, 1, 101)
    assert found["fps"] == pytest.approx(1000 / 51, abs=1e-3)
    assert found["spread"] == pytest.approx(80 / 51, abs=1e-4)


def test_frames_come_in_each_layout_and_are_the_same_every_time():
    near, far = batch("float", *SIZE)
    assert near.shape == far.shape == (1, 3, *SIZE)
    assert near.dtype == np.float32
    assert 0 <= near.min() < near.max() <= 1
    assert batch("uint8", *SIZE)[0].shape == (1, *SIZE, 3)
    picture = batch("picture", *SIZE)[0]
    assert (near[0, 0] == picture[..., 2].astype(np.float32) / 255).all()
    assert (batch("picture", *SIZE)[0] == picture).all()


def test_the_work_of_a_network_is_counted_by_hand(tiny_onnx):
    found = count_work(tiny_onnx, SIZE)
    pixels = SIZE[0] * SIZE[1]
    assert found.flop == 2 * pixels * 9 * (6 * 8 + 8 * 4)
    assert found.int8_op == 0
    assert found.elements == pixels * (6 + 8 + 8 + 4)
    assert found.io_bytes == pixels * 9 * 4
    assert found.least_bytes("fp32") == found.io_bytes + 4 * (8 * 6 * 9 + 4 * 8 * 9 + 2)
    assert found.parameters == 8 * 6 * 9 + 4 * 8 * 9


def test_quantised_layers_are_counted_apart(tiny_int8_onnx):
    found = count_work(tiny_int8_onnx, SIZE)
    pixels = SIZE[0] * SIZE[1]
    assert found.int8_op == 2 * pixels * 9 * 6 * 8
    assert found.flop == 2 * pixels * 9 * 8 * 4
    assert found.parameters == 8 * 6 * 9 + 4 * 8 * 9  # without the scales and zero points


def test_the_papers_network_has_the_papers_number_of_parameters():
    assert count_work(model_path("ufa"), (16, 16)).parameters == 344_229


@pytest.mark.parametrize(
    ("operator", "attributes", "weight", "reach"),
    [
        ("MatMul", {}, (5, 7), 5),
        ("Gemm", {}, (5, 7), 5),
        ("Gemm", {"transB": 1}, (7, 5), 5),
        ("Conv", {"group": 2}, (8, 3, 3, 3), 27),
        ("ConvTranspose", {"strides": [2, 2]}, (8, 4, 2, 2), 8),
    ],
)
def test_the_reach_of_each_counted_layer(operator, attributes, weight, reach):
    onnx = pytest.importorskip("onnx")
    assert work._reach(onnx.helper.make_node(operator, ["x", "w"], ["y"], **attributes), weight) == reach


def test_the_floor_adds_float_and_int8_work_and_takes_the_larger_bound():
    load = Work(flop=2e9, int8_op=4e9, elements=1e6, weights=1e6, io_bytes=1e6, parameters=9)
    entry = floor_entry(load, PEAKS, "int8+fp32")
    assert entry["compute_ms"] == pytest.approx(20 + 10)
    assert entry["memory_ms"] == pytest.approx(0.2)
    assert entry["layers_ms"] == pytest.approx(0.3)
    assert (entry["floor_ms"], entry["bound"]) == (30, "compute")
    light = Work(flop=1e3, int8_op=0, elements=0, weights=0, io_bytes=1e9, parameters=0)
    assert floor_entry(light, PEAKS, "fp32")["bound"] == "memory"


def test_there_is_no_floor_without_a_peak():
    load = Work(flop=2e9, int8_op=0, elements=1e6, weights=1e6, io_bytes=1e6, parameters=9)
    entry = floor_entry(load, PEAKS, "bf16")
    assert entry["floor_ms"] is None
    assert entry["why_not"] == "no bf16 peak: none here"


@pytest.mark.parametrize(("features", "native"), [({"BF16": False, "AMX": False}, False), ({"BF16": True}, True)])
def test_bf16_is_measured_only_where_it_is_native(quick_peaks, monkeypatch, features, native):
    monkeypatch.setattr(peaks, "machine", lambda: {"features": features})
    monkeypatch.setattr(peaks, "_bf16_products", lambda threads: iter([("torch", lambda: None)]))
    found = peaks.measure_peaks()
    assert ("gops" in found["gemm"]["bf16"]) == native
    assert found["gemm"]["fp32"]["gops"] > 0
    assert found["copy_gbs"] > 0


def test_peaks_are_those_of_the_threads_that_the_networks_take(tiny_onnx, quick_peaks, monkeypatch):
    torch, ort = pytest.importorskip("torch"), pytest.importorskip("onnxruntime")
    seen: dict[str, set[int]] = {"torch": set(), "onnxruntime": set(), "copy": set()}
    made, copied, before = ort.InferenceSession, peaks._copy_gbs, torch.get_num_threads()
    matmul = torch.Tensor.__matmul__

    def session(model, options=None, **more):
        seen["onnxruntime"].add(options.intra_op_num_threads)
        return made(model, options, **more)

    def copy(count):
        seen["copy"].add(count)
        return copied(count)

    def product(left, right):
        seen["torch"].add(torch.get_num_threads())
        return matmul(left, right)

    monkeypatch.setattr(peaks, "_copy_gbs", copy)
    monkeypatch.setattr(torch.Tensor, "__matmul__", product)
    with monkeypatch.context() as there:
        there.setattr(ort, "InferenceSession", session)
        found = peaks.measure_peaks(3)
    assert seen == {"torch": {3}, "onnxruntime": {3}, "copy": {3}}
    assert found["gemm"]["fp32"]["by"] != "numpy"  # whose threads cannot be set
    assert torch.get_num_threads() == before
    plan = Plan([tiny_onnx], sizes=[SIZE], peers=False, methods=(), seconds=0.01, most_runs=2, cold=False, threads=1)
    assert "Limits of 1 thread of this CPU" in report.markdown(bench(plan), [])
    assert seen["copy"] == {1, 3}


def test_the_better_of_two_peaks_is_kept():
    worse = {"gemm": {"fp32": {"gops": 1.0, "by": "a"}, "bf16": {"why_not": "x"}}, "copy_gbs": 3.0, "gpu": None}
    other = {"gemm": {"fp32": {"gops": 2.0, "by": "b"}, "bf16": {"why_not": "x"}}, "copy_gbs": 1.0, "gpu": None}
    found = peaks.better(worse, other)
    assert found["gemm"]["fp32"]["by"] == "b"
    assert found["copy_gbs"] == 3.0


def test_a_fresh_process_tells_its_cold_start_and_memory(tiny_onnx):
    found = fresh.in_fresh_process(RunnerSpec("session", str(tiny_onnx), "onnxruntime", "fp32"), SIZE)
    assert found["cold_ms"] > found["load_ms"] > 0
    assert 10 < found["rss_mib"] < 4000


def test_a_fresh_process_that_fails_says_why(tmp_path):
    with pytest.raises(BackendError, match="is not a file"):
        fresh.in_fresh_process(RunnerSpec("session", str(tmp_path / "none.onnx"), "onnxruntime"), SIZE)


def test_the_memory_of_a_process_on_the_gpu_is_asked_of_its_tool(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fresh._device_mib() is None
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho '1, 900'\necho '{os.getpid()}, 512'\necho '{os.getpid()}, [N/A]'\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    assert fresh._device_mib() == 512
    monkeypatch.setattr(machine, "_ANSWER_SECONDS", 0.2)
    tool.write_text("#!/bin/sh\nexec /bin/sleep 20\n")
    assert fresh._device_mib() is None


@pytest.mark.parametrize("kind", ["onnxruntime default", "openvino default"])
def test_the_engines_default_settings_run(tiny_onnx, kind):
    pytest.importorskip(kind.split()[0])
    runner = open_runner(RunnerSpec(kind, str(tiny_onnx), threads=1))
    runner.run(*batch(runner.layout, *SIZE))
    assert runner.spec.group == "peer"
    runner.close()


def test_pytorch_runs_the_weights_beside_the_onnx(tmp_path):
    pytest.importorskip("torch")
    from ufafuse.network.weights import build_model, save_weights

    save_weights(build_model("ufa-nano", seed=0), tmp_path / "net.safetensors")
    runner = open_runner(RunnerSpec("torch", str(tmp_path / "net.onnx"), threads=1))
    runner.run(*batch(runner.layout, *SIZE))
    with pytest.raises(InputError, match="needs the weights"):
        open_runner(RunnerSpec("torch", str(tmp_path / "other.onnx")))


def test_a_sessions_own_split_of_the_time_is_taken_over(monkeypatch):
    class Session:
        backend, precision = "tensorrt", "fp16"
        manifest = type("Manifest", (), {"io": "float", "role": "whole"})
        takes_byte_planes = False

        def __init__(self):
            self.last_timing = {"copy_in_ms": 0.1, "compute_ms": 2.0, "copy_out_ms": 0.2}

    monkeypatch.setattr("ufafuse.runtime.session.open_session", lambda *_, **__: Session())
    runner = runners.SessionRunner(RunnerSpec("session", "x.engine", "tensorrt"))
    assert runner.device_times() == {"copy_in_ms": 0.1, "compute_ms": 2.0, "copy_out_ms": 0.2}


def test_a_measurement_fits_its_schema(result, schema):
    pytest.importorskip("jsonschema").validate(result, schema)
    assert {row["group"] for row in result["rows"]} == {"ours", "classical"}
    assert [row["size"] for row in result["rows"] if row["group"] == "classical"] == [list(SIZE)]
    ours = [row for row in result["rows"] if row["group"] == "ours"]
    assert {tuple(row["size"]) for row in ours} == {SIZE, (24, 24)}
    for row in ours:
        entry = next(
            entry
            for entry in result["floor"]["networks"]
            if (entry["artefact"], entry["size"], entry["precision"]) == (row["artefact"], row["size"], row["precision"])
        )
        assert row["of_floor"] == pytest.approx(entry["floor_ms"] / row["p50_ms"], abs=1e-3)
        pixels = row["size"][0] * row["size"][1]
        assert row["vs_paper"] == pytest.approx(260 * pixels / 520**2 / row["p50_ms"], rel=0.01, abs=1e-3)


def test_engines_are_given_one_by_one_by_comma_or_as_auto(tiny_onnx):
    def engines(*backends):
        return [spec.backend for spec in Plan([tiny_onnx], backends=backends).session_specs(tiny_onnx)]

    assert engines("onnxruntime") == ["onnxruntime"]
    assert engines("onnxruntime", "openvino") == ["onnxruntime", "openvino", "openvino"]  # bf16 too, where there is one
    assert engines("auto", "onnxruntime") == engines("auto") == ["openvino", "onnxruntime", "openvino"]
    assert commands.listed(["openvino", "onnxruntime, openvino"]) == ("openvino", "onnxruntime")


def test_a_peer_that_is_missing_or_breaks_is_a_note(tiny_onnx, quick_peaks, monkeypatch):
    def broken(spec):
        raise RuntimeError("no such layer\nin this engine")

    monkeypatch.setattr(runners.importlib.util, "find_spec", lambda name: None if name == "torch" else object())
    monkeypatch.setitem(opening.CLASSES, "onnxruntime default", broken)
    found = bench(Plan([tiny_onnx], [SIZE], ("onnxruntime",), ("fp32",), seconds=0.01, most_runs=3, cold=False))
    reasons = {entry["backend"]: entry["reason"] for entry in found["skipped"]}
    assert reasons["torch"] == "torch is not installed."
    assert reasons["onnxruntime default"] == "onnxruntime default failed: no such layer in this engine"
    assert {row["backend"] for row in found["rows"]} >= {"onnxruntime", "openvino default"}


def test_one_arithmetic_under_two_names_is_measured_once(tiny_int8_onnx, quick_peaks):
    pytest.importorskip("openvino")
    how = {"peers": False, "methods": (), "seconds": 0.01, "most_runs": 3, "cold": False}
    with open_session(tiny_int8_onnx, backend="openvino") as session:
        rest = session.precision.removeprefix("int8+")  # bf16 where the CPU has it
    plan = Plan([tiny_int8_onnx], sizes=[SIZE], backends=("openvino",), precisions=("int8", rest), **how)
    assert [row["precision"] for row in bench(plan)["rows"]] == [f"int8+{rest}"]


def test_a_provider_is_onnx_runtimes_and_its_absence_an_error(tiny_onnx, quick_peaks):
    specs = Plan([tiny_onnx], provider="cuda").session_specs(tiny_onnx)
    assert {(spec.backend, spec.provider) for spec in specs} == {("onnxruntime", "cuda"), ("openvino", "cpu")}
    if "CUDAExecutionProvider" in pytest.importorskip("onnxruntime").get_available_providers():
        pytest.skip("there is a provider for GPUs here")
    how = {"peers": False, "seconds": 0.01, "most_runs": 3, "cold": False, "provider": "cuda"}
    with pytest.raises(BackendError, match=r"nothing of `provider=cuda` can be measured here: .*the installed onnxruntime has"):
        bench(Plan([tiny_onnx], [SIZE], ("onnxruntime", "openvino"), ("fp32",), **how))


def test_a_row_names_the_provider_and_is_held_against_the_gpu(tiny_onnx, monkeypatch):
    opened = []

    def open_session(*_, options, **__):
        opened.append(options)
        manifest = type("Manifest", (), {"io": "float", "role": "whole"})
        return type(
            "Session", (), {"backend": "onnxruntime", "precision": "fp32", "manifest": manifest, "takes_byte_planes": False}
        )()

    monkeypatch.setattr("ufafuse.runtime.session.open_session", open_session)
    runner = runners.SessionRunner(RunnerSpec("session", str(tiny_onnx), "onnxruntime", "fp32", provider="cuda"))
    assert opened[0].provider == "cuda"
    assert runner.backend == "onnxruntime cuda"
    row = {
        "artefact": "tiny.onnx",
        "path": str(tiny_onnx),
        "backend": runner.backend,
        "precision": "fp32",
        "size": list(SIZE),
    }
    entry = bench_module._floor(bench_module._Run(Plan([]), [0.0]), row, PEAKS | {"gpu": None})
    assert entry == {"floor_ms": None, "why_not": "the GPU's peaks need torch with CUDA"}


def test_two_files_of_one_name_are_refused(tiny_onnx):
    with pytest.raises(InputError, match=r"two files to time are called tiny\.onnx"):
        bench(Plan([tiny_onnx, tiny_onnx]))


def test_what_cannot_run_is_named_with_its_reason(tiny_onnx, quick_peaks):
    plan = Plan([tiny_onnx], [SIZE], ("onnxruntime",), ("fp32", "bf16"), peers=False, seconds=0.01, most_runs=3, cold=False)
    found = bench(plan)
    assert [row["precision"] for row in found["rows"]] == ["fp32"]
    assert [(entry["precision"], entry["backend"]) for entry in found["skipped"]] == [("bf16", "onnxruntime")]
    assert "bf16" in found["skipped"][0]["reason"]


def test_a_file_that_nothing_could_time_is_told_first_and_by_the_exit_code(run, tiny_onnx, tiny_int8_onnx, tmp_path):
    how = ["--size", "32x40,40x32", "--backend", "openvino", "--no-cold", "--no-peers", "--methods", "lap", "--seconds", 0.1]
    done = run("bench", tiny_onnx, tiny_int8_onnx, "--precision", "int8", *how, "--report", tmp_path / "report")
    assert done.exit_code == 1, done.stderr
    first, last = (text + "measured: tiny.onnx on openvino int8: " for text in ("will not be ", "not "))
    assert done.stderr.startswith(first)
    assert done.stderr.count(last) == 1  # and not once for each size
    saved = json.loads((tmp_path / "report" / "bench.json").read_text())
    assert {row["backend"] for row in saved["rows"]} == {"openvino", "numpy"}
    assert saved["ok"] is False
    assert run("bench", tiny_onnx, "--precision", "fp32", *how).exit_code == 0


@pytest.fixture
def fixed_onnx(tiny_onnx, tmp_path):
    """The small network, whose manifest says that it takes two pairs of one size."""
    model = onnx.load(tiny_onnx)
    (entry,) = (entry for entry in model.metadata_props if entry.key == METADATA_KEY)
    told = json.loads(entry.value)
    entry.value = json.dumps(told | {"extra": told["extra"] | {"static": list(SIZE), "batch": 2}})
    onnx.save(model, tmp_path / "fixed.onnx")
    return tmp_path / "fixed.onnx"


def test_a_file_of_one_size_and_batch_is_measured_at_its_own(fixed_onnx, tiny_onnx, run):
    assert sizes_for([fixed_onnx]) == [SIZE]
    assert sizes_for([fixed_onnx, tiny_onnx]) == list(DEFAULT_SIZES)
    words = ["--backend", "onnxruntime", "--no-peers", "--methods", "none", "--no-cold", "--seconds", "0.1", "--runs", "3"]
    done = run("bench", fixed_onnx, *words, "--json")
    assert done.exit_code == 0, done.output
    assert [(row["size"], row["batch"]) for row in json.loads(done.stdout)["rows"]] == [(list(SIZE), 2)]
    other = run("bench", fixed_onnx, *words, "--size", "24x24")
    assert (other.exit_code, "takes frames of 32x48 only, these are 24x24" in " ".join(other.output.split())) == (2, True)
    alone = run("bench", fixed_onnx, *words, "--batch", "1")
    assert (alone.exit_code, "takes 2 pairs at once, not 1: give --batch 2" in " ".join(alone.output.split())) == (2, True)


def test_nothing_at_all_to_measure_is_an_error(tiny_onnx, quick_peaks):
    plan = Plan([tiny_onnx], [SIZE], ("onnxruntime",), ("bf16",), peers=False, cold=False)
    with pytest.raises(BackendError, match="nothing of `precision=bf16` can be measured here"):
        bench(plan)


def test_a_wide_spread_is_a_warning(tiny_onnx, quick_peaks, monkeypatch):
    monkeypatch.setattr(bench_module, "WIDE_SPREAD", -1.0)
    plan = Plan([tiny_onnx], [SIZE], ("onnxruntime",), peers=False, seconds=0.01, most_runs=3, cold=False)
    assert any("so small differences mean nothing" in warning for warning in bench(plan)["warnings"])


def test_a_busy_machine_is_a_warning(tiny_onnx, quick_peaks, monkeypatch):
    monkeypatch.setattr(bench_module, "_load", lambda: [99.0, 1.0, 1.0])
    plan = Plan([tiny_onnx], [SIZE], ("onnxruntime",), peers=False, seconds=0.01, most_runs=3, cold=False)
    assert "was busy before the measurement began: load 99.0" in bench(plan)["warnings"][0]


def test_the_report_shows_every_row_and_its_plots(result, tmp_path):
    files = report.write_report(tmp_path / "out", result)
    assert [path.name for path in files] == ["report.md", "bench.json", "latency.png"]
    text = files[0].read_text()
    assert "times the speed of the paper's GPU" in text
    assert "## 24x24" in text
    for row in result["rows"]:
        assert f"{row['p50_ms']:.1f}" in text
    assert min(read_image(files[2]).shape[:2]) > 100
    assert json.loads(files[1].read_text())["rows"] == result["rows"]


def test_a_row_above_its_limit_is_marked_and_explained(result):
    run = bench_module._Run(Plan([]), [0.0, 0.0, 0.0], rows=[row for row in result["rows"] if row["group"] == "ours"])
    slow = {"gops": 1e-3, "by": "x"}
    bench_module._floors(run, {"gemm": {"fp32": slow, "bf16": slow}, "copy_gbs": 1e-3, "gpu": None})
    assert all(row["of_floor"] > 1 for row in run.rows)
    warnings = bench_module._warnings(run)
    assert any("of the limit. Either the peak was measured too low" in text for text in warnings)
    shown = report.markdown(result | {"rows": run.rows, "warnings": warnings}, [])
    assert f"{run.rows[0]['of_floor']:.0%}* |" in shown
    assert "that limit was measured too low" in report.headline(result | {"rows": run.rows})


def test_no_row_below_its_limit_is_marked(result):
    rows = [row | {"of_floor": 1.0} for row in result["rows"]]
    assert "100%*" not in report.markdown(result | {"rows": rows}, [])


TRTEXEC = """\
[11/22/2026-12:00:00] [I] Latency: min = 2.10 ms, max = 3.0 ms, mean = 2.2 ms, median = 2.15 ms, percentile(90%) = 2.4 ms, \
percentile(99%) = 2.9 ms
[11/22/2026-12:00:00] [I] GPU Compute Time: min = 1.9 ms, max = 2.5 ms, mean = 2.0 ms, median = 1.95 ms
"""


def test_trtexecs_summary_is_read():
    assert trtexec.parsed(TRTEXEC) == {"p50_ms": 2.15, "min_ms": 2.1, "p90_ms": 2.4, "p99_ms": 2.9, "compute_ms": 1.95}
    with pytest.raises(BackendError, match="no latency summary"):
        trtexec.parsed("hello")


def test_trtexec_runs_beside_ours_with_its_flags_in_the_row(tmp_path, monkeypatch):
    tool = tmp_path / "trtexec"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{TRTEXEC}END\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    monkeypatch.setattr(trtexec, "read_manifest", lambda _: type("Manifest", (), {"io": "float"}))
    row = trtexec.trtexec_row(tmp_path / "x.engine", SIZE)
    assert row["p50_ms"] == 2.15
    assert "--shapes=near:1x3x32x48,far:1x3x32x48" in row["flags"]


def test_trtexec_that_is_missing_or_fails_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendError, match="trtexec is not installed"):
        trtexec.trtexec_row(tmp_path / "x.engine", SIZE)
    tool = tmp_path / "trtexec"
    tool.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(trtexec, "read_manifest", lambda _: type("Manifest", (), {"io": "uint8"}))
    with pytest.raises(BackendError, match="trtexec failed: broken"):
        trtexec.trtexec_row(tmp_path / "x.engine", SIZE)


def test_the_command_prints_one_json_object_that_fits_the_schema(run, tiny_onnx, schema, tmp_path):
    options = ["--size", "32x48", "--no-peers", "--methods", "none", "--seconds", 0.1, "--runs", 3, "--no-cold"]
    answer = run("bench", tiny_onnx, *options, "--json", "--report", tmp_path / "out")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    pytest.importorskip("jsonschema").validate(found, schema)
    assert all(Path(path).is_file() for path in found["files"])


def test_the_command_prints_a_table_and_a_headline(run, tiny_onnx):
    options = ["--size", "32x48", "--no-peers", "--methods", "lap", "--seconds", 0.1, "--runs", 3, "--no-cold"]
    answer = run("bench", tiny_onnx, *options)
    assert "one 32x48 pair" in answer.stdout
    assert "tiny.onnx" in answer.stdout
    assert "Limits of this CPU" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "big"], "--size big is no size of frames"),
        (["--methods", "nothing"], "--methods nothing is not known"),
        (["--precision", "fp64"], "--precision fp64 is not known"),
        (["--backend", "openvino", "--backend", "tpu"], "--backend tpu is not known"),
        (["--quality", "none.json"], "is not an eval.json"),
        (["--from", "none.json"], "--from measures nothing"),
        (["--report", __file__], "is a file, and several are written: give a folder"),
    ],
)
def test_bad_usage_ends_with_two_and_one_sentence(run, tiny_onnx, arguments, message):
    answer = run("bench", tiny_onnx, *arguments)
    assert answer.exit_code == 2
    assert message in answer.stderr.replace("\n", " ")
    assert "Traceback" not in answer.output
