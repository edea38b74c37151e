"""Tasks: fused as `ufa fuse` does it, wherever frames and results are."""

import cv2
import numpy as np
import pytest

from ufafuse.runtime.batches.manifest import read_manifest
from ufafuse.runtime.batches.storage import joined, mirrored, present, shown, url_of
from ufafuse.runtime.batches.task import BatchPlan, Task, check_tasks, fuse_task, fuse_tasks, sort_out, task_of
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.files import FileOptions
from ufafuse.runtime.folders import fuse_folder
from ufafuse.runtime.pairs import find_pairs
from ufafuse.runtime.pictures.write import WriteOptions


@pytest.fixture
def bucket():
    """A folder in memory behind a URL."""
    fsspec = pytest.importorskip("fsspec", reason="needs the extra remote")
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


def test_a_list_gives_the_files_that_a_folder_gives(fuser, folder, tmp_path):
    fuse_folder(fuser, find_pairs(folder), tmp_path / "plain")
    tasks = [task_of(pair, tmp_path / "listed") for pair in find_pairs(folder)]
    told = []
    outcomes = fuse_tasks(fuser, tasks, BatchPlan(), done=told.append)
    assert told == outcomes
    assert not any(outcome.error for outcome in outcomes)
    for index in range(3):
        assert (tmp_path / "listed" / f"p{index}.png").read_bytes() == (tmp_path / "plain" / f"p{index}.png").read_bytes()


def test_behind_urls_the_files_are_the_same(fuser, folder, tmp_path, bucket):
    for path in folder.iterdir():
        bucket.put_file(str(path), f"/bucket/{path.name}")
    local = fuse_task(fuser, task_of(find_pairs(folder)[0], tmp_path), BatchPlan())
    task = Task("p0", ("memory://bucket/p0_A.png", "memory://bucket/p0_B.png"), "memory://bucket/out/p0.png")
    outcome = fuse_task(fuser, task, BatchPlan())
    assert not outcome.error
    assert bucket.cat_file("/bucket/out/p0.png") == (tmp_path / "p0.png").read_bytes()
    told = outcome.to_json()
    assert (told["near"], told["fused"]) == (task.files[0], task.out)
    assert told["size"] == local.to_json()["size"]


def test_files_of_this_machine_may_be_named_by_urls(fuser, folder, tmp_path):
    """As other programs write them into tables."""
    pytest.importorskip("fsspec", reason="needs the extra remote")
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "pairs.csv").write_text(f"near,far,out\nfile://{folder}/p0_A.png,file://{folder}/p0_B.png,x\n")
    (task,) = read_manifest(f"file://{tmp_path}/t/pairs.csv", f"file://{tmp_path}/deep/out")
    assert not fuse_task(fuser, task, BatchPlan()).error
    assert (tmp_path / "deep" / "out" / "x.png").is_file()
    task = Task("y", task.files, joined(f"file://{folder}", "p0_A.png"))
    with pytest.raises(OutputError, match=r"p0_A\.png is one of the frames that are read"):
        check_tasks([task], BatchPlan(force=True))


def test_what_is_wrong_behind_a_url_is_told_by_that_name(fuser, folder, bucket):
    bucket.pipe_file("/bucket/bad.png", b"no picture")
    bucket.put_file(str(folder / "p0_A.png"), "/bucket/a.png")
    good, result = "memory://bucket/a.png", "memory://bucket/x.png"
    missing = fuse_task(fuser, Task("x", (good, "memory://bucket/none.png"), result), BatchPlan())
    assert missing.error == "memory://bucket/none.png cannot be read: there is no such file."
    bad = fuse_task(fuser, Task("x", ("memory://bucket/bad.png", good), result), BatchPlan())
    assert bad.error.startswith("memory://bucket/bad.png is no image")
    unknown = fuse_task(fuser, Task("x", ("nowhere://a.png", good), result), BatchPlan())
    assert unknown.error.startswith("nowhere://a.png cannot be read")
    assert not bucket.exists("/bucket/x.png")


def test_results_that_are_there(fuser, folder, tmp_path, bucket):
    tasks = [
        Task("a", ("near.png", "far.png"), "memory://bucket/a.png"),
        Task("b", ("near.png", "far.png"), str(tmp_path / "b.png")),
    ]
    bucket.pipe_file("/bucket/a.png", b"x")
    assert present(task.out for task in tasks) == {"memory://bucket/a.png"}
    skipped = sort_out(tasks, BatchPlan(), skip_existing=True)
    assert ([task.name for task in skipped.due], skipped.there, skipped.refused) == (["b"], 1, [])
    refused = sort_out(tasks, BatchPlan(), skip_existing=False)
    assert [outcome.error[:45] for outcome in refused.refused] == ["memory://bucket/a.png exists already: choose "]
    assert len(sort_out(tasks, BatchPlan(force=True), skip_existing=False).due) == 2


def test_done_is_what_has_all_its_results(fuser, folder, tmp_path):
    plan = BatchPlan(beside=(tmp_path / "maps", None, None), files=FileOptions(report=tmp_path / "pages"))
    tasks = [task_of(pair, tmp_path / "out") for pair in find_pairs(folder)]
    assert not any(outcome.error for outcome in fuse_tasks(fuser, tasks, plan))
    (tmp_path / "maps" / "p0.png").unlink()
    (tmp_path / "pages" / "p1.html").unlink()
    found = sort_out(tasks, plan, skip_existing=True)
    assert ([task.name for task in found.due], found.there) == (["p0", "p1"], len(tasks) - 2)
    assert not any(outcome.error for outcome in fuse_tasks(fuser, found.due, plan))
    assert (tmp_path / "maps" / "p0.png").exists()
    assert sort_out(tasks, plan, skip_existing=True).due == []


def test_storage_that_takes_nothing_leaves_no_map(fuser, folder, tmp_path, bucket, monkeypatch):
    def full(*_given):
        raise OSError(28, "no space")

    monkeypatch.setattr(bucket, "put_file", full)
    plan = BatchPlan(beside=(tmp_path / "maps", None, None))
    outcome = fuse_task(fuser, Task("p0", (str(folder / "p0_A.png"), str(folder / "p0_B.png")), "memory://b/p0.png"), plan)
    assert "cannot be written" in outcome.error
    assert list((tmp_path / "maps").iterdir()) == []


def test_a_result_never_replaces_a_frame(folder):
    tasks = [Task("a", (str(folder / "p0_A.png"), "s3://b/far.png"), str(folder / ".." / "in" / "p1_A.png"))]
    tasks.append(Task("b", (str(folder / "p1_A.png"), str(folder / "p1_B.png")), "s3://b/x.png"))
    for force in (False, True):
        with pytest.raises(OutputError, match="is one of the frames"):
            sort_out(tasks, BatchPlan(force=force), skip_existing=False)
    with pytest.raises(OutputError, match="is one of the frames"):
        frame = Task("c", ("s3://b/near.png", "s3://b/far.png"), "s3://b/far.png")
        sort_out([frame], BatchPlan(force=True), skip_existing=True)


def test_what_goes_beside_the_pictures_and_how_they_are_stored(fuser, folder, tmp_path):
    plan = BatchPlan(
        files=FileOptions(store=WriteOptions(quality=50), report=tmp_path / "pages"), beside=(tmp_path / "maps", None, None)
    )
    task = task_of(find_pairs(folder)[0], tmp_path / "out", suffix=".jpg")
    assert not fuse_task(fuser, task, plan).error
    assert cv2.imread(str(tmp_path / "maps" / "p0.jpg"), cv2.IMREAD_UNCHANGED).shape == (20, 24)
    assert (tmp_path / "pages" / "p0.html").is_file()
    assert np.asarray(cv2.imread(task.out)).shape == (20, 24, 3)


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("s3://bucket/key.png", "s3://bucket/key.png"),
        ("s3:/bucket/key.png", "s3://bucket/key.png"),  # what a Path makes of it
        ("https://host/a b.png", "https://host/a b.png"),
        ("file:///a/b.png", "file:///a/b.png"),
        ("file:/a/b.png", "file:///a/b.png"),
        ("a.png", None),
        ("/a/b.png", None),
        ("C:/x.png", None),
        ("a/b:/c.png", None),
    ],
)
def test_what_is_a_url(place, url):
    assert url_of(place) == url
    assert shown(place) == (url or place)


def test_a_folder_that_is_called_like_a_url_is_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s3:").mkdir()
    (tmp_path / "s3:" / "x").write_text("")
    assert url_of("s3:/x") is None


def test_names_below_folders_and_urls():
    assert joined("out", "a/b.png") == "out/a/b.png"
    assert joined("s3:/bucket/x/", "b.png") == "s3://bucket/x/b.png"


def test_keys_that_no_files_can_have_are_told(bucket, monkeypatch):
    with pytest.raises(InputError, match="holds no files"), mirrored("memory://bucket/nothing"):
        pass
    monkeypatch.setattr(bucket, "find", lambda path: ["/bucket/in/x_A.png", "/bucket/in/x_A.png/below.png"])
    with pytest.raises(InputError, match="which cannot be a file here"), mirrored("memory://bucket/in"):
        pass
