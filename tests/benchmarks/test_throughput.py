"""Pairs a second with several in flight; nothing here judges how many."""

import json
import threading
import time
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ufafuse.benchmarks.speed import bench as bench_module
from ufafuse.benchmarks.speed import peaks
from ufafuse.benchmarks.speed.report import _flight_cells
from ufafuse.benchmarks.speed.runners import RunnerSpec
from ufafuse.benchmarks.speed.throughput import in_flight, throughput
from ufafuse.commands import bench as commands
from ufafuse.runtime.callbacks import ignored


class Meeting:
    """A runner whose runs end only when ``count`` of them are under way."""

    def __init__(self, count):
        self.barrier = threading.Barrier(count, timeout=10)

    def inputs(self, size):
        return (size,)

    def run(self, size):
        assert size == (4, 6)
        self.barrier.wait()


def test_so_many_are_in_flight_at_once():
    times, wall = in_flight(Meeting(3), (4, 6), 3, 0.0)
    assert len(times) == 6  # two of each, however little time there is
    assert max(times) / 1e3 <= wall


def test_what_a_run_raises_is_told():
    runner = Meeting(1)
    runner.run = lambda size: 1 / 0
    with pytest.raises(ZeroDivisionError):
        in_flight(runner, (4, 6), 2, 0.01)


class Slow:
    """A runner whose runs take 20 ms."""

    backend, precision = "fake", "fp32"

    def inputs(self, size):
        return (size,)

    def run(self, _size):
        time.sleep(0.02)

    def close(self):
        pass


def test_pairs_are_counted_and_not_runs_of_several():
    specs = [RunnerSpec("session", "x.onnx", "fake", batch=batch) for batch in (1, 4)]
    single, four = throughput(specs, [(4, 6)], (1,), seconds=0.1, opened=lambda *_: Slow(), on_step=ignored)
    assert single["pairs_per_s"] <= 50
    assert four["pairs_per_s"] * four["p50_ms"] / 1e3 > 1.5  # 4, where nothing else runs
    assert ("batch" in single, four["batch"]) == (False, 4)
    assert [_flight_cells(row)[3] for row in (single, four)] == ["4x6", "4x6 x 4"]


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setattr(peaks, "_SIDE", 64)
    monkeypatch.setattr(peaks, "_COPY_MIB", 1)
    monkeypatch.setattr(peaks, "_REPEATS", 1)
    app = typer.Typer()
    commands.register(app)
    return lambda *arguments: CliRunner().invoke(app, ["bench", *map(str, arguments)])


QUICK = ["--size", "32x48", "--no-peers", "--methods", "none", "--seconds", 0.1, "--runs", 3, "--no-cold"]


def test_the_command_measures_one_and_several(run, tiny_onnx, tmp_path):
    answer = run(tiny_onnx, *QUICK, "--backend", "onnxruntime", "--streams", "2,3", "--json", "--report", tmp_path / "out")
    assert answer.exit_code == 0, answer.output
    found = json.loads(answer.stdout)
    schema = json.loads(Path(bench_module.__file__).with_name("schema.json").read_text())
    pytest.importorskip("jsonschema").validate(found, schema)
    assert [row["streams"] for row in found["throughput"]] == [1, 2, 3]
    assert found["throughput"][0]["vs_one"] == 1
    text = (tmp_path / "out" / "report.md").read_text()
    assert "## Several in flight" in text
    assert f"{found['throughput'][2]['pairs_per_s']:.1f}" in text


def test_the_table(run, tiny_onnx):
    answer = run(tiny_onnx, *QUICK, "--backend", "onnxruntime", "--streams", "2")
    assert "several in flight" in answer.stdout
    assert "pairs/s" in answer.stdout


@pytest.mark.parametrize("text", ["0", "many", "1000", "-2", "1.5", "²"])
def test_a_number_of_pairs_that_is_none(run, tiny_onnx, text):
    answer = run(tiny_onnx, *QUICK, "--streams", text)
    assert answer.exit_code == 2
    assert "is not a number of pairs: give 1 to 256" in answer.stderr.replace("\n", " ")
