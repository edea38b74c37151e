"""Two results in one file, a result in a frame's: refused before anything runs, and by name."""

from pathlib import Path

import pytest

from ufafuse.runtime.batches import clash
from ufafuse.runtime.batches.clash import Wanted
from ufafuse.runtime.batches.manifest import read_manifest
from ufafuse.runtime.batches.task import BatchPlan, Task, sort_out
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.files import FileOptions
from ufafuse.runtime.folders import fuse_folder
from ufafuse.runtime.pairs import PairPaths
from ufafuse.runtime.pictures.inputs import StackPaths, find_stacks

PLAN = BatchPlan(beside=(Path("maps"), None, None), files=FileOptions(report=Path("pages")))


def check_results(many):
    clash.check_results(many, lambda wanted: wanted)


def pair(name, *results):
    return Wanted(name, (f"{name}_A.png", f"{name}_B.png"), results)


@pytest.mark.parametrize(
    "results",
    [
        (["o/a.png"], ["o/a.png"]),
        (["o/a.png"], ["o/./a.png"]),
        (["o/a.png", "m/a.png"], ["m/a.png"]),  # one's map, the other's picture
        (["s3:/b/a.png"], ["s3://b/a.png"]),
    ],
)
def test_one_file_for_two(results):
    with pytest.raises(InputError, match=r"x_A.png and y_A.png would both be fused into .*a.png: rename one of them"):
        check_results([pair("x", *results[0]), pair("y", *results[1])])
    check_results([pair("x", "o/a.png"), pair("y", "o/b.png")])


def test_through_a_link(tmp_path):
    (tmp_path / "o").mkdir()
    (tmp_path / "link").symlink_to("o")
    with pytest.raises(InputError, match="would both"):
        check_results([pair("x", str(tmp_path / "o" / "a.png")), pair("y", str(tmp_path / "link" / "a.png"))])


def test_two_results_of_one():
    with pytest.raises(InputError, match=r"two results of x_A.png would be written to o/a.png: give each a folder"):
        check_results([pair("x", "o/a.png", "o/a.png")])


@pytest.mark.parametrize("ignores", [True, False])
def test_names_in_capitals(monkeypatch, ignores):
    monkeypatch.setattr(clash, "ignores_case", lambda _: ignores)
    check_results([pair("x", "s3://b/Bolt.png"), pair("y", "s3://b/bolt.png")])  # storage tells them apart
    accents = [pair("x", "o/Gew\u00e4nde.png"), pair("y", "o/Gewa\u0308nde.png")]
    both = [pair("x", "o/Bolt.png"), pair("y", "o/bolt.png")]
    if not ignores:
        check_results([*both, *accents])
        return
    with pytest.raises(InputError, match="would both be fused into"):
        check_results(accents)
    with pytest.raises(InputError, match=r"would both be fused into .*o/bolt\.png"):
        check_results(both)


def test_asking_the_file_system_leaves_nothing(tmp_path):
    assert clash.ignores_case(tmp_path / "not" / "there") in (True, False)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_and_a_file_of_one_name(tmp_path):
    (tmp_path / "st" / "b").mkdir(parents=True)
    for number in range(3):
        (tmp_path / "st" / "b" / f"{number}.png").write_bytes(b"x")
    (tmp_path / "st" / "b.avi").write_bytes(b"x")
    stacks = find_stacks(tmp_path / "st")
    assert [stack.name for stack in stacks] == ["b", "b"]
    with pytest.raises(InputError, match=r"st/b and .*st/b.avi would both be fused into .*o/b.png"):
        fuse_folder(None, stacks, tmp_path / "o", force=True, skip_existing=True)
    assert not (tmp_path / "o").exists()


def test_pages_and_maps_count(tmp_path):
    tasks = [Task("a", ("1", "2"), "o/a.png"), Task("a", ("3", "4"), "o/a.jpg")]
    assert len(sort_out(tasks, BatchPlan(), skip_existing=False).due) == 2
    with pytest.raises(InputError, match=r"1 and 3 would both be fused into pages/a.html"):
        sort_out(tasks, PLAN, skip_existing=False)
    pairs = [PairPaths("a", tmp_path / "1", tmp_path / "2")]
    with pytest.raises(InputError, match=r"two results of .* would be written"):
        fuse_folder(None, pairs, tmp_path, maps=tmp_path)


def test_rows_in_folders_keep_them_for_what_goes_beside(tmp_path):
    (tmp_path / "m.csv").write_text("near,far,out\n1,2,line1/0001\n3,4,line2/0001\n")
    tasks = read_manifest(tmp_path / "m.csv", tmp_path / "o")
    assert [task.name for task in tasks] == ["line1/0001", "line2/0001"]
    assert len(sort_out(tasks, PLAN, skip_existing=False).due) == 2
    (tmp_path / "n.csv").write_text(f"near,far,out\n1,2,{tmp_path}/o/line1/0001.png\n3,4,/else/0001.png\n")
    assert [task.name for task in read_manifest(tmp_path / "n.csv", tmp_path / "o")] == ["line1/0001", "0001"]


def test_a_frame_of_any_of_them_is_not_replaced(tmp_path):
    frame = tmp_path / "x.png"
    frame.write_bytes(b"x")
    (tmp_path / "link.png").symlink_to(frame)
    one = StackPaths("one", (frame, tmp_path / "y.png"))
    with pytest.raises(OutputError, match="is one of the frames"):
        fuse_folder(None, [one, StackPaths("link", (frame,))], tmp_path)
