"""Words that a shell leaves as they are: `~` behind an option, an empty variable, a path of Windows."""

import json
import shutil
from pathlib import Path

import pytest
import typer

from ufafuse.commands.cli import build_app, main
from ufafuse.commands.words import as_meant

SAMPLE = [Path(__file__).resolve().parents[2] / "examples" / f"sample_{side}.png" for side in ("A", "B")]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and a folder beside it that the commands run in."""
    for name in ("home", "work"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


def command(*names):
    found = typer.main.get_command(build_app())
    for name in names:
        found = found.commands[name]
    return found


def valued():
    """Every command, with each of its options that takes a value."""
    pending = [((), command())]
    while pending:
        names, one = pending.pop()
        pending += [((*names, name), below) for name, below in getattr(one, "commands", {}).items()]
        yield from (
            (one, name)
            for param in one.params
            if not getattr(param, "is_flag", False)
            for name in param.opts
            if name[:1] == "-"
        )


def test_the_home_folder_stands_for_its_sign_in_every_option_but_a_secret(home):
    """`--out=~/x` reaches a program as it is: `ufa fuse --pairs in --out=~/x` made a folder that is called `~`."""
    found = list(valued())
    assert len(found) > 200
    for one, name in found:
        kept = name == "--token"
        wanted = "~/a b.png" if kept else f"{home}/a b.png"
        assert as_meant([name, "~/a b.png"], one, None) == [name, wanted]
        attached = f"{name}=" if name.startswith("--") else name
        assert as_meant([f"{attached}~/a b.png"], one, None) == [f"{attached}{wanted}"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["~/a.png", "~", "--force", "~/b.png"], ["{}/a.png", "{}", "--force", "{}/b.png"]),
        (["--", "-o", "~/a.png"], ["--", "-o", "{}/a.png"]),
        (["./~/a.png", "~b/a.png", "a~/b", "~a", "x.png~"], ["./~/a.png", "~b/a.png", "a~/b", "~a", "x.png~"]),
        (["--json", "~/a"], ["--json", "{}/a"]),
        (["--nonsense=~/a", "-o"], ["--nonsense=~/a", "-o"]),
        (["--bayer", "--", "~/a"], ["--bayer", "--", "{}/a"]),
    ],
)
def test_a_name_begins_with_the_home_folder_or_stays(words, meant, home):
    assert as_meant(words, command("fuse"), None) == [word.format(home) for word in meant]


def test_a_named_model_of_the_server_may_lie_in_the_home_folder(home):
    assert as_meant(["--model", "a=~/x.onnx"], command("serve"), None) == ["--model", f"a={home}/x.onnx"]


def test_without_a_home_folder_its_sign_is_refused(monkeypatch):
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(Exception, match="the name ~/a begins with ~, and no home folder is known"):
        as_meant(["~/a"], command("fuse"), None)


def test_results_are_written_there(home, capsys):
    shutil.copy(SAMPLE[0], home / "x_A.png")
    shutil.copy(SAMPLE[1], home / "x_B.png")
    with pytest.raises(SystemExit) as ended:
        main(["fuse", "--pairs=~", "--out=~/fused", "--json"])
    assert ended.value.code == 0
    assert json.loads(capsys.readouterr().out)["outputs"][0]["fused"] == f"{home}/fused/x.png"
    assert [path.name for path in home.parent.joinpath("work").iterdir()] == []


REFUSED = [
    (["fuse", "", "b.png"], "a name is empty"),
    (["fuse", "--crop", "", "b.png"], "a name is empty"),
    (["fuse", ""], "a name is empty"),
    (["fuse", "--pairs", "", "-o", "out"], "--pairs is empty"),
    (["fuse", "--pairs", ".", "-o", ""], "-o is empty"),
    (["fuse", "a.png", "b.png", "--model="], "--model is empty"),
    (["eval", "--pairs", ""], "--pairs is empty"),
    (["stream", "--near", "", "--far", "sim:"], "--near is empty"),
    (["stream", "--near", "sim:", "--far", "sim:", "--out", ""], "--out is empty"),
    (["train", "--images", "", "ablation"], "--images is empty"),
    (["train", "ablation", "--out="], "--out is empty"),
    (
        ["fuse", "a.png", "b.png", "-o", r"C:\Users\me\o.png"],
        r"-o C:\Users\me\o.png is a path of Windows, which names nothing here: in",
    ),
    (
        ["fuse", "D:/in/a.png", "b.png"],
        "the name D:/in/a.png is a path of Windows, which names nothing here: in WSL it is /mnt/d/in/a.png",
    ),
    (["fuse", "a.png", "b.png", r"-o\\server\share\o.png"], r"-o \\server\share\o.png is a path of Windows"),
    (
        ["fuse", "a.png", "b.png", r"--model=C:\x.onnx"],
        r"--model C:\x.onnx is a path of Windows, which names nothing here: in WSL it is /mnt/c/x.onnx",
    ),
]


@pytest.mark.parametrize(("arguments", "told"), REFUSED, ids=[" ".join(arguments) for arguments, _ in REFUSED])
def test_what_names_nothing_is_refused_and_nothing_written(arguments, told, home, capsys):
    """An unset variable named the folder that the command ran in, whose pictures were fused, and a model that nobody chose."""
    for name, source in zip(("x_A.png", "x_B.png", "a.png", "b.png"), SAMPLE * 2, strict=True):
        shutil.copy(source, name)
    before = sorted(path.name for path in home.parent.rglob("*"))
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"error: {told}")
    assert len(said.err.splitlines()) == 1
    assert sorted(path.name for path in home.parent.rglob("*")) == before
