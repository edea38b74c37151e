"""What `ufa fuse` tells people about what was decided for them."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from ufafuse.commands import telling
from ufafuse.runtime import console
from ufafuse.runtime.files import Outcome
from ufafuse.runtime.maker import maker


def outcome(**details):
    return Outcome(Path("a.png"), Path("b.png"), Path("f.png"), [2, 3], 1.0, details=details)


def test_what_was_done_to_the_frames():
    moved = [{"motion": "affine", "moved_px": 3.25}, {"motion": "affine", "moved_px": 12.5}]
    refused = {"motion": "none", "moved_px": 99.0, "refused": "too far"}
    done = telling.done_to(
        outcome(
            more=["c.png"],
            reference="x/b.png",
            alignment=[*moved, refused],
            gain=[[0.9, 1.1], [1.0]],
            white=4095,
            tiles={"count": 6},
        )
    )
    assert done == [
        "3 frames",
        "reference b.png",
        "moved by up to 12.5 pixels (affine)",
        "levels times 0.900 to 1.100",
        "white 4095",
        "in 6 tiles",
    ]


def test_what_was_done_to_a_stack():
    done = telling.done_to(outcome(more=["c.png"], method="pyramid", left_out={"x/d.png": "too far"}, order=["c.png", "a.png"]))
    assert done == [
        "3 frames",
        "chosen by detail alone (--method pyramid)",
        "d.png took no part",
        "put in the order of focus: c.png, a.png",
    ]


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"gain": [[1.0, 1.0002]]}, "levels times 1.000, as they were"),
        ({"gain": [[1.25], [1.25]]}, "levels times 1.250"),
        ({"hot_pixels": 1, "dust": 3}, "1 hot pixel mended; 3 spots of dust lightened"),
    ],
)
def test_what_was_mended_is_counted(entries, said):
    assert "; ".join(telling.done_to(outcome(**entries))) == said


def test_a_plain_pair_needs_no_words():
    assert telling.done_to(outcome()) == []


def test_what_was_passed_over_is_one_warning(capsys):
    telling.warn_and_fail([], [f"d{number} holds no pictures" for number in range(8)])
    said = capsys.readouterr().err
    assert said.startswith("warning: passed over: d0 holds no pictures; d1")
    assert said.endswith("; and 2 more.\n")


def test_the_pyramid_is_no_network(capsys):
    fuser = SimpleNamespace(model=Path("x/ufa-stack.onnx"), precision="bf16", backend="openvino", why="y")
    fuser.choice = SimpleNamespace(faster=True)
    telling.tell_one(fuser, outcome(), maker(fuser, "pyramid"))
    said = capsys.readouterr().out
    assert "pyramid in fp32 on opencv" in said
    assert "ufa-stack" not in said
    assert "faster" not in said
    telling.tell_one(fuser, outcome(), maker(fuser, "network"))
    assert "ufa-stack.onnx in bf16 on openvino (y)" in capsys.readouterr().out


@pytest.mark.parametrize(("share", "told"), [(0.001, "less than 1 %"), (0.0051, "1 %"), (0.234, "23 %")])
def test_a_small_share_is_not_told_as_none(share, told):
    assert telling.done_to(outcome(restored=[share, 1.1])) == [
        f"detail between planes of focus raised in {told} of the picture, up to 1.1 times"
    ]


def test_warnings_and_errors_of_a_kind_are_one_line(capsys):
    outcomes = [
        Outcome(Path("a"), Path("b"), Path(f"{name}.png"), warnings=["frames lie apart"], error=f"{name}.png exists already: x")
        for name in "abcde"
    ]
    telling.warn_and_fail(outcomes)
    warning, error = capsys.readouterr().err.splitlines()
    assert warning == "warning: a.png, b.png, c.png and 2 more: frames lie apart"
    assert error.startswith("error: 5 results exist already (a.png, b.png, c.png and 2 more): add --skip-existing")


def test_a_markdown_table_keeps_its_brackets(capsys):
    console.plain("| pip install 'ufafuse[gpu]' |\n")
    assert capsys.readouterr().out == "| pip install 'ufafuse[gpu]' |\n"
