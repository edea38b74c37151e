"""Options that would do nothing are refused, before anything is read or written."""

import pytest

from ufafuse.commands.cli import main

PAIRS = ["--images", "i", "--masks", "m", "--out", "o"]
IDLE = [
    (["train", *PAIRS, "--init", "image", "--init-from", "ufa"], "--init is how weights are drawn: omit it with --init-from"),
    (["train", *PAIRS, "--stack-set", "lights=0"], "--stack-set is about drawn stacks: add --variant ufa-stack"),
    (["train", *PAIRS, "--lens", "0", "--lens-set", "noise=0"], "--lens-set is about lens pairs, and there are none"),
    (["train", *PAIRS, "--recipe", "paper", "--lens-set", "noise=0"], "--lens-set is about lens pairs, and there are none"),
    (["train", *PAIRS, "--photo-share", "0.45"], "--photo-share is about photographs among drawn surfaces"),
    (["train", *PAIRS, "--selection", "1"], "--selection is for a network over stacks"),
    (["train", *PAIRS, "--pair-share", "0"], "--pair-share is for a network over stacks"),
    (["train", "--images", "drawn:", "--out", "o", "--photo-share", "0.5"], "--photo-share is about photographs among"),
    (
        ["train", "--images", "drawn:", "--out", "o", "--variant", "ufa-stack", "--lens", "1"],
        "--lens is about pairs, and every",
    ),
    (["train", "every", "--out", "o", "--images", "drawn:", "--photo-share", "0"], "--photo-share is about photographs among"),
    (["dataset", *PAIRS, "--count", "0"], "--count is about lens pairs: add --lens, or --stacks"),
    (["dataset", *PAIRS, "--photo-share", "0"], "--photo-share is about drawn stacks: add --stacks"),
    (["dataset", *PAIRS, "--lens", "--stack-set", "lights=0"], "--stack-set is about drawn stacks: add --stacks"),
    (["dataset", "--stacks", "--out", "o", "--photo-share", "0.45"], "--photo-share is about photographs among drawn surfaces"),
    (
        ["dataset", "--stacks", "--out", "o", "--frames", "3", "--stack-set", "lights=0,max_frames=8"],
        "--stack-set max_frames has no effect beside --frames",
    ),
    (["dataset", "--lens", "--images", "drawn:p", "--masks", "m", "--out", "o"], "--images drawn: is for --stacks"),
    *(
        (["bench", "--from", "b.json", *more], f"--from measures nothing: omit {more[0]}")
        for more in (
            ["--seconds", "3"],
            ["--runs", "9"],
            ["--streams", "2"],
            ["--batch", "2"],
            ["--methods", "none"],
            ["--threads", "1"],
            ["--size", "8x8"],
            ["--profile"],
            ["--cold"],
            ["--device", "cpu"],
            ["--provider", "cuda"],
        )
    ),
    (["bench", "--device", "cpu", "--no-peers"], "--device is about peers: omit --no-peers"),
]


@pytest.mark.parametrize(("arguments", "told"), IDLE, ids=[" ".join(arguments) for arguments, _ in IDLE])
def test_what_would_do_nothing_is_refused(arguments, told, capsys, tmp_path, monkeypatch):
    if arguments[0] == "train":
        pytest.importorskip("torch", reason="needs torch")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"error: {told}")
    assert not list(tmp_path.iterdir())
