"""`ufa fuse --pairs MANIFEST`, URLs and clusters, as commands."""

import contextlib
import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.commands.words import with_values

pytest.importorskip("openvino", reason="needs an engine")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NANO = ["--model", "ufa-nano", "--threads", "1"]


def ufa(*arguments):
    done = CliRunner().invoke(build_app(), ["fuse", *map(str, arguments), *NANO, "--json"])
    return done.exit_code, json.loads(done.stdout), done.stderr


@pytest.fixture
def folder(tmp_path):
    """Four pairs of a part of the sample each, and a manifest that lists them and one that is not there."""
    made = tmp_path / "in"
    made.mkdir()
    pair = [cv2.imread(str(EXAMPLES / f"sample_{side}.png")) for side in "AB"]
    for index in range(4):
        for side, frame in zip("AB", pair, strict=True):
            cv2.imwrite(str(made / f"p{index}_{side}.png"), frame[40 * index : 40 * index + 64, :80])
    rows = "".join(f"in/p{index}_A.png,in/p{index}_B.png,p{index}\n" for index in range(4))
    (tmp_path / "pairs.csv").write_text(f"near,far,out\n{rows}in/none_A.png,in/p0_B.png,none\n")
    return made


def same(one, other, count=4):
    return all((one / f"p{index}.png").read_bytes() == (other / f"p{index}.png").read_bytes() for index in range(count))


def test_a_manifest_gives_what_its_folder_gives_and_lists_what_failed(folder, tmp_path):
    code, told, _ = ufa("--pairs", folder, "-o", tmp_path / "plain")
    assert (code, told["failed"]) == (0, 0)
    code, told, said = ufa("--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "listed")
    assert (code, told["ok"], told["failed"], len(told["outputs"])) == (1, False, 1, 5)
    assert same(tmp_path / "plain", tmp_path / "listed")
    failed = tmp_path / "listed" / "failed.csv"
    assert str(failed) in said
    assert [row["near"] for row in csv.DictReader(failed.open())] == [str(folder / "none_A.png")]

    code, told, _ = ufa("--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "listed")
    assert (code, told["failed"]) == (1, 5), "what is there is not replaced unasked"
    shutil.copy(folder / "p0_A.png", folder / "none_A.png")
    code, told, _ = ufa("--pairs", tmp_path / "pairs.csv", "-o", tmp_path / "listed", "--skip-existing")
    assert (code, told["skipped"], [Path(one["fused"]).name for one in told["outputs"]]) == (0, 4, ["none.png"])
    assert not failed.exists(), "nothing has failed any longer"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--pairs", "missing.csv", "-o", "out"], "missing.csv does not exist"),
        (["--pairs", "missing", "-o", "out"], "or a manifest (.csv or .parquet)"),
        (["--stacks", "missing.csv", "-o", "out"], "is not a folder: give one that holds stacks."),
        (["--ray=local", "a.png", "b.png"], "give --pairs or --stacks"),
        (["--stacks", ".", "--watch", "--ray=local", "-o", "out"], "without --watch"),
    ],
)
def test_bad_usage_is_one_line(arguments, text):
    code, told, said = ufa(*arguments)
    assert code == 2
    assert text in told["error"]
    assert len(said.strip().splitlines()) == 1


def test_an_option_that_may_stand_alone():
    bare = {"--ray": "local"}
    assert with_values(["--pairs", "x", "--ray"], bare) == ["--pairs", "x", "--ray=local"]
    assert with_values(["--ray", "--pairs", "x"], bare) == ["--ray=local", "--pairs", "x"]
    assert with_values(["--ray", "auto", "-o", "y"], bare) == ["--ray", "auto", "-o", "y"]
    assert with_values(["--ray=auto", "--", "--ray"], bare) == ["--ray=auto", "--", "--ray"]


def test_without_ray_it_is_said_what_to_install(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    code, told, _ = ufa("--pairs", folder, "-o", tmp_path / "out", "--ray")
    assert code == 2
    assert "pip install 'ufafuse[ray]'" in told["error"]
    assert not (tmp_path / "out").exists()


@pytest.fixture
def s3(monkeypatch):
    """A bucket of a server that speaks S3 on loopback."""
    moto = pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
    pytest.importorskip("s3fs", reason="needs s3fs")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
                        "AWS_DEFAULT_REGION": "us-east-1"}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("bucket")
    yield system
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_everything_behind_s3(folder, tmp_path, s3):
    ufa("--pairs", folder, "-o", tmp_path / "plain")
    for path in folder.iterdir():
        s3.put_file(str(path), f"bucket/in/{path.name}")
    s3.put_file(str(tmp_path / "pairs.csv"), "bucket/pairs.csv")
    code, told, _ = ufa("--pairs", "s3://bucket/pairs.csv", "-o", "s3://bucket/out")
    assert (code, told["failed"]) == (1, 1)
    assert told["outputs"][0]["fused"] == "s3://bucket/out/p0.png"
    for index in range(4):
        assert s3.cat_file(f"bucket/out/p{index}.png") == (tmp_path / "plain" / f"p{index}.png").read_bytes()
    assert b"s3://bucket/in/none_A.png" in s3.cat_file("bucket/out/failed.csv")
    code, told, _ = ufa("--pairs", "s3://bucket/pairs.csv", "-o", "s3://bucket/out", "--skip-existing")
    assert (code, told["skipped"], told["failed"]) == (1, 4, 1)
    code, told, _ = ufa("--pairs", "s3://none/pairs.csv", "-o", "s3://bucket/out")
    assert code == 2
    assert "s3://none/pairs.csv cannot be read" in told["error"]


def processes_called(name):
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                text = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if name in text:
                found.append(int(entry.name))
    return found


@pytest.mark.slow
def test_a_cluster_gives_the_same_files_though_a_worker_is_killed(folder, tmp_path):
    """On a cluster of this machine's own; from the first result on a worker is killed now and then."""
    pytest.importorskip("ray", reason="needs the extra ray")
    rows = "".join(f"in/p{index % 4}_A.png,in/p{index % 4}_B.png,q{index}\n" for index in range(60))
    (tmp_path / "many.csv").write_text(f"near,far,out\n{rows}in/none_A.png,in/p0_B.png,none\n")
    ufa("--pairs", tmp_path / "many.csv", "-o", tmp_path / "plain")
    command = [sys.executable, "-m", "ufafuse", "fuse", "--pairs", "many.csv", "-o", "ray", *NANO, "--ray", "--json"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            until = time.monotonic() + 300
            killed = set()
            while len(killed) < 4 and process.poll() is None and time.monotonic() < until:
                workers = processes_called("ray::Worker") if any((tmp_path / "ray").glob("q*.png")) else []
                if worker := next((worker for worker in workers if worker not in killed), None):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(worker, signal.SIGKILL)
                        killed.add(worker)
                    time.sleep(0.1 * len(killed))
                time.sleep(0.005)
            output, _ = process.communicate(timeout=300)
        finally:
            process.kill()
    assert killed, "no worker was there to be killed"
    told = json.loads(output)
    assert (process.returncode, told["failed"], len(told["outputs"])) == (1, 1, 61)
    assert len({one["fused"] for one in told["outputs"]}) == 61
    for index in range(60):
        one, other = (cv2.imread(str(tmp_path / name / f"q{index}.png")) for name in ("plain", "ray"))
        np.testing.assert_array_equal(one, other)
    assert [row["near"] for row in csv.DictReader((tmp_path / "ray" / "failed.csv").open())] == [str(folder / "none_A.png")]


KILLER = """
import os, signal, sys
from dataclasses import replace
from ufafuse.runtime.batches import on_ray
from ufafuse.runtime.batches.task import BatchPlan, Task
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.fuser import Fuser


class Killer(on_ray.Worker):
    def fuse(self, task):
        if task.name == "bad":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fuse(task)


pair = tuple(sys.argv[1:3])
tasks = [Task(name, pair, f"out/{name}.png") for name in ("one", "bad", "two")]
with Fuser("ufa-nano", threads=1) as fuser:
    setup = on_ray.Setup.like(fuser, BatchPlan(force=True), threads=1)
    own = on_ray.Worker
    on_ray.Worker = Killer
    outcomes, count = on_ray.fuse_on_ray(tasks, setup)
    print([outcome.error for outcome in outcomes], count)
    on_ray.Worker = own
    try:
        on_ray.fuse_on_ray(tasks, replace(setup, arithmetic="fp17"))
    except BackendError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_pair_that_kills_its_workers_is_listed_and_workers_that_differ_are_refused(folder, tmp_path):
    pytest.importorskip("ray", reason="needs the extra ray")
    (tmp_path / "killer.py").write_text(KILLER)
    command = [sys.executable, "killer.py", "in/p0_A.png", "in/p0_B.png"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = done.stdout.strip().splitlines()
    assert first.startswith("['', 'in/p0_A.png: its worker was killed 4 times: ")
    assert first.endswith((", ''] 2", ", ''] 1"))
    assert "computes in" in second
    assert "the machine that began in fp17" in second
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.png", "two.png"]


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("127.0.0.1:1", "no Ray cluster answers at --ray 127.0.0.1:1"),
        ("ray://127.0.0.1:1", "no Ray cluster answers at --ray ray://127.0.0.1:1"),
        ("[::1]:1", "no Ray cluster answers at --ray [::1]:1"),
        ("127.0.0.1:99999", "no Ray cluster answers"),
        ("somewhere", "--ray somewhere is no address"),
        ("http://x/y", "is no address"),
    ],
)
def test_a_cluster_that_does_not_answer_is_one_sentence(folder, tmp_path, monkeypatch, address, text):
    """Whatever Ray would make of it: it is not asked."""
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    begun = time.monotonic()
    code, told, _ = ufa("--pairs", folder, "-o", tmp_path / "out", "--ray", address)
    assert time.monotonic() - begun < 15
    assert code == 2
    assert text in told["error"]
    assert not (tmp_path / "out").exists()


def test_a_port_that_does_not_exist_is_no_other_one(folder, tmp_path, monkeypatch):
    """The system's own lookup takes 65,536 off, and somebody may listen there."""
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))
    with contextlib.ExitStack() as opened:
        for port in range(20_000, 34_000, 7):  # one of which is free, as a rule the first
            with contextlib.suppress(OSError):
                opened.enter_context(socket.create_server(("127.0.0.1", port)))
                break
        address = f"127.0.0.1:{port + 65_536}"
        code, told, _ = ufa("--pairs", folder, "-o", tmp_path / "out", "--ray", address)
    assert code == 2
    assert f"no Ray cluster answers at --ray {address} (ports end at 65535)" in told["error"]


@pytest.fixture
def memory():
    fsspec = pytest.importorskip("fsspec", reason="needs the extra remote")
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_a_folder_behind_a_url_is_read_by_the_same_rules(folder, tmp_path, memory):
    for path in folder.iterdir():
        memory.put_file(str(path), f"/in/deep/{path.name}")
    memory.pipe_file("/in/deep/half_A.png", b"x")
    memory.pipe_file("/in/readme.txt", b"x")
    code, told, _ = ufa("--pairs", "memory://in", "-o", tmp_path / "out")
    assert code == 1
    assert {one["fused"] for one in told["outputs"]} == {
        str(tmp_path / "out" / "deep" / f"{name}.png") for name in ("p0", "p1", "p2", "p3", "half")
    }
    half = next(one for one in told["outputs"] if "error" in one)
    assert half["error"] == "memory://in/deep/half_B.png cannot be read: there is no such file."
    ufa("--pairs", folder, "-o", tmp_path / "plain")
    assert same(tmp_path / "plain", tmp_path / "out" / "deep")


def test_stacks_behind_a_url(tmp_path, memory):
    pair = [cv2.imread(str(EXAMPLES / f"sample_{side}.png"))[:64, :80] for side in "AB"]
    for index, frame in enumerate([*pair, pair[0]]):
        memory.pipe_file(f"/in/one/{index}.png", cv2.imencode(".png", frame)[1].tobytes())
    code, told, _ = ufa("--stacks", "memory://in", "-o", tmp_path / "out")
    assert (code, [one["fused"] for one in told["outputs"]]) == (0, [str(tmp_path / "out" / "one.png")])
    code, told, _ = ufa("--stacks", "memory://in", "-o", tmp_path / "out", "--gap", "3s")
    assert code == 2
    assert "--gap and --watch look at files of this machine" in told["error"]
    code, told, _ = ufa("--pairs", "memory://nothing", "-o", tmp_path / "out")
    assert code == 2
    assert "memory://nothing" in told["error"]
    code, told, _ = ufa("--pairs", "memory://in", "-o", tmp_path / "out")
    assert code == 2
    assert told["error"].startswith("memory://in")


def test_stacks_with_results_behind_a_url_are_those_of_a_folder(tmp_path, memory):
    pair = [cv2.imread(str(EXAMPLES / f"sample_{side}.png"))[:64, :80] for side in "AB"]
    for stack in ("one", "two"):
        (tmp_path / "in" / stack).mkdir(parents=True)
        for index, frame in enumerate([*pair, pair[0]]):
            cv2.imwrite(str(tmp_path / "in" / stack / f"{index}.png"), frame)
    code, _, _ = ufa("--stacks", tmp_path / "in", "-o", tmp_path / "out")
    assert code == 0
    code, told, _ = ufa("--stacks", tmp_path / "in", "-o", "memory://stacks/*.png")
    assert (code, [one["fused"] for one in told["outputs"]]) == (0, ["memory://stacks/one.png", "memory://stacks/two.png"])
    for stack in ("one", "two"):
        assert memory.cat_file(f"/stacks/{stack}.png") == (tmp_path / "out" / f"{stack}.png").read_bytes()
