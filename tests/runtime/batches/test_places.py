"""What could not be written of many results is refused before the first of them is fused."""

import os
from pathlib import Path

import pytest

from ufafuse.runtime.batches.manifest import read_manifest
from ufafuse.runtime.batches.task import BatchPlan, sort_out
from ufafuse.runtime.errors import InputError, OutputError
from ufafuse.runtime.files import FileOptions
from ufafuse.runtime.folders import fuse_folder
from ufafuse.runtime.pairs import PairPaths
from ufafuse.runtime.pictures.write import WriteOptions


def paths_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("y.xyz", r"o/y\.xyz has the suffix '\.xyz': end it in"),
        ("s3://bucket/y.xyz", r"y\.xyz has the suffix '\.xyz': end it in"),
        ("7" * 300, r"the name 7+\.\.\. has 304 bytes"),
        ("taken", r"o/taken\.png is a folder: name an image file in it"),
        ("file.png/y", r"o/file\.png is no folder, and results are to lie in it"),
        ("closed/deeper/y", r"o/closed may not be written to: name another folder"),
        ("x.png/y", r"1.png and .*3.png would be fused into .*x\.png and .*x\.png/y\.png, a file in a file"),
        ("y.tif", r"o/y\.tif has no quality to choose"),
    ],
)
@pytest.mark.parametrize("again", [{"skip_existing": True}, {"skip_existing": False}])
def test_a_row_that_could_not_be_written_is_told_before_any_is_fused(tmp_path, monkeypatch, out, said, again):
    (tmp_path / "o" / "taken.png").mkdir(parents=True)
    (tmp_path / "o" / "closed").mkdir()
    (tmp_path / "o" / "file.png").write_bytes(b"x")
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != "closed" and may(path, mode))  # root may anything
    (tmp_path / "m.csv").write_text(f"near,far,out\n1.png,2.png,x{'.jpg' if 'quality' in said else ''}\n3.png,4.png,{out}\n")
    before = paths_in(tmp_path)
    store = WriteOptions(quality=90 if "quality" in said else None)
    for force in (True, False):
        with pytest.raises((InputError, OutputError), match=said):
            sort_out(
                read_manifest(tmp_path / "m.csv", tmp_path / "o"),
                BatchPlan(files=FileOptions(store=store), force=force),
                **again,
            )
    assert paths_in(tmp_path) == before


@pytest.mark.parametrize("arriving", [False, True])
@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"suffix": ".xyz"}, "has the suffix '.xyz'"),
        ({"suffix": ""}, "has no suffix"),
        ({"files": FileOptions(store=WriteOptions(quality=80))}, "has no quality to choose"),
        ({"folder": Path("file")}, "file is no folder"),
        ({"maps": Path("file")}, "file is no folder"),
        ({"confidences": Path("file/deeper")}, "file is no folder"),
        ({"conflicts": Path("link")}, "link is no folder"),
        ({"files": FileOptions(report=Path("file"))}, "file is no folder"),
    ],
)
def test_a_folder_of_many_is_refused_as_one(tmp_path, monkeypatch, arriving, more, said):
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"x")
    Path("link").symlink_to("nowhere")
    pairs = [PairPaths("x", Path("1.png"), Path("2.png"))]
    with pytest.raises(OutputError, match=said):
        fuse_folder(None, iter(pairs) if arriving else pairs, **{"folder": Path("o")} | more)
    assert paths_in(tmp_path) == ["file", "link"]
