"""Manifests: what they may say, and what is told where they do not."""

import csv

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ufafuse.runtime.batches.manifest import is_manifest, read_manifest, write_failed
from ufafuse.runtime.batches.task import Task
from ufafuse.runtime.errors import InputError


def written(tmp_path, text, name="pairs.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_names_are_taken_from_the_manifests_folder_and_results_from_the_other(tmp_path):
    text = "id,near,far,out\n1,a.png,sub/b.png,r/one\n2,/x/a.tif,s3://bucket/b.tif,two.tif\n3,c.png,d.png,/else/three.jpg\n"
    found = read_manifest(written(tmp_path, "\ufeff" + text), "out", suffix=".png")
    home = str(tmp_path)
    assert found == [
        Task("r/one", (f"{home}/a.png", f"{home}/sub/b.png"), "out/r/one.png"),
        Task("two", ("/x/a.tif", "s3://bucket/b.tif"), "out/two.tif"),
        Task("three", (f"{home}/c.png", f"{home}/d.png"), "/else/three.jpg"),
    ]


def test_without_names_for_results_the_near_frame_gives_them(tmp_path):
    found = read_manifest(written(tmp_path, "near,far\na.jpg,b.jpg\n\nc.jpg,d.jpg\n"), "s3://bucket/out/", suffix=".tif")
    assert [task.out for task in found] == ["s3://bucket/out/a.tif", "s3://bucket/out/c.tif"]


def test_a_number_or_a_version_behind_a_point_is_no_format(tmp_path):
    """As microscopes and film tools count: ``frame.0001.png``."""
    text = "near,far,out\nframe.0001.png,b.png,\nx.v2.tif,b.png,\nc.png,d.png,board.002\ne.png,f.png,line.1/g.jpg\n"
    found = read_manifest(written(tmp_path, text), "out")
    assert [task.out for task in found] == ["out/frame.0001.png", "out/x.v2.png", "out/board.002.png", "out/line.1/g.jpg"]
    assert [task.name for task in found] == ["frame.0001", "x.v2", "board.002", "line.1/g"]


def test_parquet_is_read_alike(tmp_path):
    pa = pytest.importorskip("pyarrow", reason="needs the extra remote")
    import pyarrow.parquet as pq

    columns = {"near": ["a.png", "c.png"], "far": ["b.png", "d.png"], "out": ["one", None], "score": [1.0, 2.0]}
    pq.write_table(pa.table(columns), tmp_path / "pairs.parquet")
    text = "near,far,out\na.png,b.png,one\nc.png,d.png,\n"
    assert read_manifest(tmp_path / "pairs.parquet", "out") == read_manifest(written(tmp_path, text), "out")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no one column 'near'"),
        ("left,right\na,b\n", "no one column 'near' but 'left,right': begin it with near,far,out.$"),
        ("near;far\na.png;b.png\n", "no one column 'near' but 'near;far': begin it with near,far,out, separated by commas"),
        ("near\tfar\na.png\tb.png\n", "separated by commas"),
        ("near,far\nä.png,b.png\n".encode("latin-1"), "no CSV in UTF-8 that can be read .*: save it as one"),
        ("near,far\na.png,b.png\n".encode("utf-16"), "save it as one"),
        ("near,near,far\na,b,c\n", "no one column 'near'"),
        ("near,far\n", "holds no pairs"),
        ("near,far\na.png\n", "row 1: 1 cells under 2 columns"),
        ("near,far\na.png,b.png\nc.png, \n", "pairs.csv, row 2: far is empty"),
        ("near,far,out\na,b,x\nc,d,x.png\n", "pairs.csv, row 2: the result out/x.png is that of row 1 too"),
        ("near,far,out\na,b,../../etc/x.png\n", "leaves the folder"),
        ("near,far,out\na,b,q/../../x.png\n", "leaves the folder"),
        ('near,far\n"a,b\n', "no CSV"),
        (b"near,far\n\xff\xfe,b\n", "no CSV"),
        (b"near,far\na\0,b\n", "no name|no CSV"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_row(tmp_path, text, told):
    with pytest.raises(InputError, match=told):
        read_manifest(written(tmp_path, text), "out")


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_manifest(tmp_path / "missing.csv", "out")
    pytest.importorskip("pyarrow", reason="needs the extra remote")
    with pytest.raises(InputError, match="no Parquet file"):
        read_manifest(written(tmp_path, "near,far\n", "x.parquet"), "out")


def test_those_that_failed_are_a_manifest_that_does_them_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tasks = [Task("one", ("a.png", "s3://bucket/b.png"), "out/one.png")]
    path = tmp_path / "elsewhere.csv"
    write_failed(path, [(tasks[0], "a.png is\ndamaged, again")])
    again = read_manifest(path, "another")
    assert again == [Task("one", (f"{tmp_path}/a.png", "s3://bucket/b.png"), f"{tmp_path}/out/one.png")]
    assert next(csv.DictReader(path.open()))["error"] == "a.png is damaged, again"


def test_what_is_a_manifest():
    assert is_manifest("s3://bucket/a.parquet")
    assert is_manifest("x.CSV")
    assert not is_manifest("x.png")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_pairs_or_a_sentence(tmp_path_factory, data):
    path = written(tmp_path_factory.getbasetemp(), b"near,far,out\n" + data, "any.csv")
    try:
        assert read_manifest(path, "out")
    except InputError as error:
        assert "\n" not in str(error)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_parquet_file_of_any_damage_is_pairs_or_a_sentence(tmp_path_factory, data):
    pa = pytest.importorskip("pyarrow", reason="needs the extra remote")
    import pyarrow.parquet as pq

    path = tmp_path_factory.getbasetemp() / "any.parquet"
    pq.write_table(pa.table({"near": ["a.png", "c.png"], "far": ["b.png", "d.png"]}), path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content)
    try:
        assert read_manifest(path, "out")
    except InputError as error:
        assert "\n" not in str(error)
