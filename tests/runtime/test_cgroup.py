"""What control groups allow this process: of either version, in a container or not, wherever the limit stands."""

import pytest

from ufafuse.runtime import cgroup, cores
from ufafuse.runtime.backends import onnxruntime as ort_backend
from ufafuse.runtime.machine import machine
from ufafuse.runtime.memory import usage
from ufafuse.runtime.models import model_path
from ufafuse.runtime.session import SessionOptions, open_session

MIB = 1 << 20
V2 = "31 23 0:28 {root} {point} rw,relatime - cgroup2 cgroup2 rw"
V1 = "31 23 0:28 {root} {point} rw,relatime shared:7 - cgroup cgroup rw,{controllers}"


class Machine:
    """A /proc/self and the mounts that it names, under a temporary folder."""

    def __init__(self, folder):
        self.folder, self.groups, self.mounts = folder, [], ["22 1 254:0 / / rw - ext4 /dev/vda rw,errors=remount-ro"]
        self._write()

    def v2(self, path, root="/", name="unified"):
        self.groups.append(f"0::{path}")
        return self._mounted(V2.format(root=root, point="{point}"), name)

    def v1(self, controllers, path, root="/"):
        self.groups.append(f"{len(self.groups) + 1}:{controllers}:{path}")
        return self._mounted(V1.format(root=root, point="{point}", controllers=controllers), controllers)

    def _mounted(self, line, name):
        point = self.folder / "fs" / name
        point.mkdir(parents=True)
        self.mounts.append(line.replace("{point}", str(point).replace(" ", r"\040")))
        self._write()
        return point

    def _write(self):
        (self.folder / "cgroup").write_text("\n".join(self.groups) + "\n")
        (self.folder / "mountinfo").write_text("\n".join(self.mounts) + "\n")


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "_PROC", tmp_path)
    monkeypatch.setattr(cores, "allowed_cores", lambda: 8)
    return Machine(tmp_path)


def put(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(f"{text}\n")


def test_no_groups_no_limits(host):
    assert cgroup.cpu_quota() is None
    assert cgroup.memory_limit() is None
    assert cgroup.memory_left() is None
    assert cores.usable_cores() == 8


def test_a_system_without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(cgroup, "_PROC", tmp_path / "nowhere")
    assert cgroup.cpu_quota() is None
    assert cgroup.memory_left() is None


# Where the process is, what its mount shows, and the folder below the mount point that holds its own limits.
PLACES = {
    "a service": ("/system.slice/line.service", "/", "system.slice/line.service"),
    "a container with a namespace": ("/", "/", ""),
    "a container without one": ("/docker/ab12", "/docker/ab12", ""),
    "a group inside a container without one": ("/docker/ab12/job", "/docker/ab12", "job"),
    "outside of its namespace": ("/../other", "/", ""),
    "a root that is not on the way": ("/elsewhere", "/docker/ab12", ""),
}


@pytest.mark.parametrize(("path", "root", "below"), PLACES.values(), ids=PLACES)
def test_the_processs_own_group_in_version_2(host, path, root, below):
    own = host.v2(path, root) / below
    put(own, cpu__max="150000 100000", memory__max=300 * MIB, memory__current=100 * MIB, memory__stat="file 7\ninactive_file 0")
    assert cgroup.cpu_quota() == 1.5
    assert cgroup.memory_limit() == 300 * MIB
    assert cgroup.memory_left() == 200 * MIB
    assert cores.usable_cores() == 2


@pytest.mark.parametrize(("path", "root", "below"), PLACES.values(), ids=PLACES)
def test_the_processs_own_group_in_version_1(host, path, root, below):
    put(host.v1("cpu,cpuacct", path, root) / below, cpu__cfs_quota_us=50_000, cpu__cfs_period_us=100_000)
    own = host.v1("memory", path, root) / below
    put(own, memory__limit_in_bytes=300 * MIB, memory__usage_in_bytes=290 * MIB, memory__stat=f"total_inactive_file {90 * MIB}")
    assert cgroup.cpu_quota() == 0.5
    assert cgroup.memory_limit() == 300 * MIB
    assert cgroup.memory_left() == 100 * MIB
    assert cores.usable_cores() == 1


def test_the_least_of_all_groups_above_holds_and_no_others(host):
    top = host.v2("/a/b/c")
    put(top / "a/b/c", cpu__max="max 100000", memory__max="max", memory__current=10 * MIB, memory__high=900 * MIB)
    put(top / "a/b", cpu__max="300000 100000", memory__max=800 * MIB, memory__current=700 * MIB, memory__stat="inactive_file 0")
    put(top / "a", cpu__max="50000 10000", memory__max=2000 * MIB, memory__current=1950 * MIB)
    put(top / "a/b/sibling", cpu__max="1000 100000", memory__max=MIB, memory__current=MIB)
    assert cgroup.cpu_quota() == 3
    assert cgroup.memory_limit() == 800 * MIB
    assert cgroup.memory_left() == 50 * MIB


def test_both_versions_beside_each_other(host):
    host.v2("/")
    put(host.v1("cpu", "/pod/x") / "pod/x", cpu__cfs_quota_us=250_000, cpu__cfs_period_us=100_000)
    put(host.v1("memory", "/pod/y") / "pod", memory__limit_in_bytes=64 * MIB, memory__usage_in_bytes=MIB)
    assert cgroup.cpu_quota() == 2.5
    assert cgroup.memory_limit() == 64 * MIB


@pytest.mark.parametrize(
    "files",
    [
        {"cpu__cfs_quota_us": -1, "cpu__cfs_period_us": 100_000, "memory__limit_in_bytes": 9223372036854771712},
        {"cpu__cfs_quota_us": "", "cpu__cfs_period_us": 0, "memory__limit_in_bytes": "unlimited"},
        {},
    ],
)
def test_no_limit_in_version_1(host, files):
    for controller in ("cpu", "memory"):
        put(host.v1(controller, "/"), **files)
    assert cgroup.cpu_quota() is None
    assert cgroup.memory_limit() is None
    assert cgroup.memory_left() is None


def test_a_mount_point_with_a_blank_and_lines_of_nonsense(host):
    put(host.v2("/", name="with a blank"), cpu__max="100000 100000")
    host.mounts += ["", "nonsense", "1 2 3 - cgroup2", "31 23 0:28 / /x - cgroup"]
    host.groups += ["", "nonsense", "7:"]
    host._write()
    assert cgroup.cpu_quota() == 1


def test_what_is_held_beyond_the_limit_leaves_nothing(host):
    put(host.v2("/"), memory__max=10 * MIB, memory__current=12 * MIB)
    assert cgroup.memory_left() == 0


@pytest.mark.parametrize(("quota", "threads"), [(0.1, 1), (0.5, 1), (1, 1), (1.5, 2), (2, 2), (7.2, 8), (8, 8), (64, 8)])
def test_as_many_threads_as_make_use_of_the_quota(host, quota, threads):
    put(host.v2("/"), cpu__max=f"{int(quota * 100_000)} 100000")
    assert cores.usable_cores() == threads
    assert (cores.quota_bound() is None) == (quota >= 8)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_engines_take_the_quotas_threads_and_say_so(host, backend, monkeypatch):
    model = model_path("ufa-nano")
    pytest.importorskip(backend)
    put(host.v2("/"), cpu__max="150000 100000")
    taken = []
    if backend == "onnxruntime":
        settings = ort_backend._settings
        monkeypatch.setattr(ort_backend, "_settings", lambda options: taken.append(settings(options)) or taken[-1])
    with open_session(model, backend=backend) as session:
        assert "; 2 threads for a CPU quota of 1.5 cores" in session.why
        if backend == "openvino":
            assert session._settings["INFERENCE_NUM_THREADS"] == 2
    if taken:
        assert taken[0].intra_op_num_threads == 2
        assert taken[0].get_session_config_entry("session.intra_op.allow_spinning") == "0"
    with open_session(model, backend=backend, options=SessionOptions(threads=5)) as session:
        assert "quota" not in session.why


def test_onnx_runtime_takes_the_cores_that_it_may_run_on(monkeypatch):
    monkeypatch.setattr(ort_backend.os, "cpu_count", lambda: 8)
    monkeypatch.setattr(ort_backend, "allowed_cores", lambda: 3)
    assert ort_backend._settings(SessionOptions()).intra_op_num_threads == 3
    monkeypatch.setattr(ort_backend, "allowed_cores", lambda: 8)
    assert ort_backend._settings(SessionOptions()).intra_op_num_threads == 0  # its own choice: the physical cores


def test_the_budgets_memory_is_the_groups(host, monkeypatch):
    put(host.v2("/job") / "job", memory__max=32 * MIB, memory__current=12 * MIB)
    assert usage.available_bytes() == 20 * MIB
    assert usage.total_bytes() == 32 * MIB


def test_the_machines_report(host):
    put(host.v2("/job") / "job", cpu__max="150000 100000", memory__max=32 * MIB)
    found = machine()
    assert (found["usable_cores"], found["cpu_quota"], found["memory_limit_mib"]) == (2, 1.5, 32)
