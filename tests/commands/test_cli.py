"""A command line that cannot be used: one line in our words, an object with --json, exit code 2."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ufafuse.commands.cli import MODULES, build_app, main


def ufa(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return ended.value.code, capsys.readouterr()


BAD = [
    (["fuse", "a", "b", "--threads", "0"], "--threads must be "),
    (["fuse", "a", "b", "--threads", "x"], "--threads must be a whole number: see `ufa fuse --help`."),
    (["fuse", "a", "b", "--white", "x"], "--white must be a number: see `ufa fuse --help`."),
    (["stream", "--quality", "101"], "--quality must be "),
    (["fuse", "a", "b", "--backend", "abacus"], "--backend: 'abacus' is not one of 'auto', 'tensorrt'"),
    (["fuse", "a", "b", "--nonsense"], "no such option --nonsense"),
    (["fuse", "a", "b", "--out"], "option '--out' requires an argument"),
    (["calibrate"], "ONNX is missing: see `ufa calibrate --help`."),
    (["build"], "ONNX is missing: see `ufa build --help`."),
    (["train", "ablation"], "--out is missing: see `ufa train ablation --help`."),
    (["nonsense"], "no such command 'nonsense'"),
    (["train", "--steps", "3", "every", "--out", "r"], "--steps stands before every, whose options stand behind it: see `ufa "),
    (
        ["train", "--stack-set", "a=1", "b=2"],
        "--stack-set takes one value at a time: --stack-set a=1 --stack-set b=2, or --stack",
    ),
    (["train", "--resume", "ablation", "--out", "r"], "--resume stands before ablation, whose options stand behind it"),
    (["fuse", "a", "b", "--max-memory", "much"], "--max-memory much is not an amount of memory"),
    (["fuse", "a", "b", "--bayer", "xyz"], "the Bayer pattern 'xyz' is not known"),
]


def test_pictures_without_a_command_are_probably_to_be_fused(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").touch()
    assert ufa(capsys, "a.png", "b.png")[1].err == (
        "error: no such command 'a.png' (did you mean `ufa fuse a.png ...`?): see `ufa --help`.\n"
    )
    assert "fuse" not in ufa(capsys, "b.png", "a.png")[1].err
    assert "fuse" not in ufa(capsys, "x" * 5000)[1].err


@pytest.mark.parametrize(("arguments", "told"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_usage_is_one_line_in_our_words(arguments, told, capsys):
    code, said = ufa(capsys, *arguments)
    assert code == 2
    assert said.out == ""
    assert said.err.startswith(f"error: {told}")
    assert len(said.err.splitlines()) == 1
    for word in ("Input should", "Value error", "parse", "Usage"):
        assert word not in said.err
    code, as_json = ufa(capsys, *arguments, "--json")
    assert code == 2
    # (--json after an option that wants a value is that value.)
    if arguments[-1] != "--out":
        assert json.loads(as_json.out) == {"ok": False, "error": said.err.removeprefix("error: ").strip()}


def _repeatable():
    """Every command that has an option to be given more than once, with what it requires, as words; and the option."""
    pending = [([], typer.main.get_command(build_app()))]
    while pending:
        words, command = pending.pop()
        pending += [([*words, name], below) for name, below in getattr(command, "commands", {}).items()]
        asked = [param for param in command.params if param.required]
        needed = [word for param in asked for word in ([param.opts[0]] if param.opts[0].startswith("-") else []) + ["file"]]
        for param in command.params:
            if getattr(param, "multiple", False):
                yield pytest.param([*words, *needed], max(param.opts, key=len), id=" ".join([*words, param.opts[0]]))


@pytest.mark.parametrize(("words", "option"), list(_repeatable()))
def test_values_that_stand_alone_are_told_how_they_are_given(words, option, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    code, said = ufa(capsys, *words, option, "1x1", "2x2")
    assert code == 2
    assert f"{option} takes one value at a time: {option} 1x1 {option} 2x2" in said.err
    assert len(said.err.splitlines()) == 1


def test_the_version(capsys):
    code, said = ufa(capsys, "--version")
    assert code == 0
    assert said.out.startswith("ufafuse ")


def test_without_a_command_the_help(capsys):
    code, said = ufa(capsys)
    assert code == 2
    assert "Commands:" in said.err


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "ufafuse", "--version"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ufafuse ")


def test_a_reader_that_leaves_early_is_no_defect():
    done = subprocess.run(
        f"{sys.executable} -m ufafuse fuse --help | head -c 1; exit ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr


def test_the_shell_completes():
    environment = {**os.environ, "_UFA_COMPLETE": "complete_bash", "COMP_WORDS": "ufa fuse --pr", "COMP_CWORD": "2"}
    ufa = Path(sys.executable).with_name("ufa")
    done = subprocess.run([ufa], capture_output=True, text=True, check=False, env=environment)
    assert done.stdout.split() == ["--precision", "--prefer", "--provider"]


def test_every_command_is_found_in_its_module_and_alone_says_what_it_says_among_all():
    import typer

    whole = typer.main.get_command(build_app()).commands
    assert set(whole) == set(MODULES)
    for name in MODULES:
        alone = typer.main.get_command(build_app(name)).commands
        assert set(alone) == {other for other in MODULES if MODULES[other] == MODULES[name]}
        assert [param.name for param in alone[name].params] == [param.name for param in whole[name].params]


def test_what_is_run_is_all_that_is_imported():
    code = (
        "import sys\nfrom ufafuse.commands.cli import main\ntry: main(['fuse', '--help'])\nexcept SystemExit: pass\n"
        "print(sorted(name for name in sys.modules if name.startswith('ufafuse.commands.')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ufafuse.commands.fuse" in done.stderr
    assert "ufafuse.commands.bench" not in done.stderr
    assert "ufafuse.commands.train" not in done.stderr


def test_it_ends_quickly_with_all_written_and_what_was_to_be_done_at_the_end(tmp_path):
    program = (
        "import atexit, sys; atexit.register(lambda: print('at the end')); sys.argv = ['ufa', 'models', '--json'];"
        "from ufafuse.commands.cli import main; main()"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0
    assert json.loads(told.stdout.splitlines()[0])["ok"]
    assert told.stdout.endswith("at the end\n")


def test_a_full_disk_below_standard_output_is_told(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        program = [sys.executable, "-m", "ufafuse", "models", "--json"]
        told = subprocess.run(program, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert told.returncode != 0
    assert "No space left" in told.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["export", "--weights", "ufa-nano", "-o", "x.onnx", "--reference-size", "64x64"],
            "--reference-size is of packed pairs",
        ),
        (["export", "--weights", "ufa-nano", "-o", "x.onnx", "--pairs", "."], "--pairs are for --reference and --all"),
        (["export", "--weights", "ufa-nano", "-o", "x.onnx", "--size", "64x64"], "--size is for --all"),
        (["verify", "ufa-nano", "--reference", "x.npz", "--size", "64x64"], "--size is about pairs that are fused here"),
        (["calibrate", "x.onnx", "-o", "y.onnx", "--percentile", "99"], "--percentile is for --method percentile"),
        (["info", "--backend", "openvino"], "--backend is what --self-test runs on"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(arguments, said, tmp_path, monkeypatch):
    if arguments[0] in ("export", "calibrate"):
        pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["eval", "--pairs", ".", "--methods", "average", "-o", "OUT.html"],
        ["eval", "--stacks", ".", "--methods", "pyramid", "-o", "OUT.csv"],
        ["bench", "ufa-nano", "--report", "OUT.md"],
        ["verify", "ufa-nano", "--against", "ufa-nano", "-o", "OUT.json"],
        ["export", "--weights", "ufa-nano", "--all", "-o", "OUT.onnx"],
        ["dataset", "--stacks", "-o", "OUT.png"],
        ["train", "--images", "drawn:", "--out", "OUT.safetensors"],
        ["train", "every", "--out", "OUT.onnx"],
        ["train", "ablation", "--images", "drawn:", "--over", "lambda", "--steps", "1", "--out", "OUT.csv"],
    ],
    ids=lambda arguments: arguments[-1] if arguments[0] != "train" else " ".join(arguments[:2]),
)
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_is_called_like_a_file_is_refused(arguments, there, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    out = Path(arguments[-1])
    if there:
        out.write_bytes(b"")
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 2
    assert f"{out} {'is' if there else 'looks like'} a file, and several are written: give a folder" in done.output
    assert list(tmp_path.iterdir()) == ([tmp_path / out] if there else [])
