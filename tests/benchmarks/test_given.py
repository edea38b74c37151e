"""Fused pictures that are given: which pair or stack each is taken for, and what its row is called."""

import json

import cv2
import pytest

from tests.pictures import photograph
from ufafuse.benchmarks.contestants import FolderContestant, contestants
from ufafuse.benchmarks.stacks.contestants import stack_contestants
from ufafuse.commands.cli import main
from ufafuse.runtime.errors import InputError


def pictures(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{name}.png"), photograph(64, 64, 0))
    return folder


@pytest.mark.parametrize("gather", [contestants, stack_contestants])
def test_the_folders_that_pairs_lie_in_are_no_programs(tmp_path, gather):
    """`ufa fuse --pairs` writes ``line1/0001`` and ``line2/0001`` as it read them: neither is the other's."""
    names = ["line1/0001", "line2/0001"]
    folder = pictures(tmp_path / "fused", *names)
    [found] = gather(fused=[folder], models=[], method_names=[], names=names)
    assert found.name == "fused"
    [one] = contestants(fused=[folder], models=[], method_names=[], names=names)
    assert [one.find(name, "pair") for name in names] == [folder / f"{name}.png" for name in names]
    programs = [pictures(tmp_path / "several" / program, *names) for program in ("one", "other")]
    several = gather(fused=[tmp_path / "several"], models=[], method_names=[], names=names)
    assert [entry.name for entry in several] == [program.name for program in programs]


def test_a_picture_is_nobodys_where_it_could_be_of_two(tmp_path):
    alone = FolderContestant("theirs", pictures(tmp_path / "a", "0001"), ("line1/0001", "line2/0001"))
    with pytest.raises(InputError, match=r"holds no picture of pair line1/0001: name it line1/0001\.png"):
        alone.find("line1/0001", "pair")
    flat = FolderContestant("theirs", pictures(tmp_path / "b", "line1_0001", "Line2-0001_fused"), ("line1/0001", "line2/0001"))
    assert [flat.find(name, "pair").stem for name in flat.names] == ["line1_0001", "Line2-0001_fused"]


def test_a_name_as_it_stands_goes_before_one_that_is_like_it(tmp_path):
    alike = FolderContestant("theirs", pictures(tmp_path, "1_12", "11_2", "old/1_12"), ("1_12", "11_2", "112"))
    assert [alike.find(name, "pair") for name in alike.names[:2]] == [tmp_path / "1_12.png", tmp_path / "11_2.png"]
    with pytest.raises(InputError, match="holds no picture of pair 112"):
        alike.find("112", "pair")


@pytest.mark.parametrize("gather", [contestants, stack_contestants])
def test_a_row_is_called_after_the_folder_however_it_was_named(tmp_path, monkeypatch, gather):
    pictures(tmp_path / "theirs", "below/one")
    pictures(tmp_path / "theirs", "one")
    (tmp_path / "link").symlink_to("theirs")
    for here, named in ((".", "theirs"), ("..", "theirs"), ("../../theirs", "theirs"), ("../../link", "link")):
        monkeypatch.chdir(tmp_path / "theirs" / ("" if here == "." else "below"))
        [found] = gather(fused=[type(tmp_path)(here)], models=[], method_names=[])
        assert found.name == named


def test_what_an_evaluation_wrote_is_nothing_to_evaluate(tmp_path, capsys):
    """Pictures of pairs ``board_1`` and ``board_2`` would be a pair of their own; so would folders of them be stacks."""
    for number in "12":
        pictures(tmp_path / "pairs", f"board_{number}_A", f"board_{number}_B")
        pictures(tmp_path / "stacks", f"board_{number}/1", f"board_{number}/2")
    for kind, method in (("pairs", "average"), ("stacks", "pyramid")):
        words = ["eval", f"--{kind}", str(tmp_path / kind), "--methods", method, "--json"]
        for more in (["-o", str(tmp_path / kind / "out")], []):
            with pytest.raises(SystemExit) as ended:
                main([*words, *more])
            said = json.loads(capsys.readouterr().out)
            assert ended.value.code == 0
            assert [row["name"] for row in said["rows"]] == ["board_1", "board_2"]
            assert "passed_over" not in said
