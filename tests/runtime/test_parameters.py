"""How errors name what a caller gave, in Python and on a command line."""

import ast
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.runtime import console
from ufafuse.runtime.errors import InputError
from ufafuse.runtime.parameters import as_options, deep_as_options, options_of, size_from

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ("runtime", "network", "train", "export", "calibration", "benchmarks")
OPTIONS = {"tile": "--tile", "max_memory": "--max-memory", "force": "--force", "images": "NEAR FAR"}


def docstrings(tree: ast.AST) -> set[int]:
    """The nodes that document a module, a class or a function."""
    bodies = [node.body for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]
    return {id(body[0].value) for body in bodies if body and isinstance(body[0], ast.Expr)}


def whole(text: ast.expr) -> str:
    """A text, or an f-text with a letter for each value in it."""
    if isinstance(text, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x" for part in text.values)
    return str(text.value) if isinstance(text, ast.Constant) and isinstance(text.value, str) else ""


def texts_with_options(path: Path) -> list[str]:
    """Texts of a module that name an option of the command line outside of a command to type, such as `ufa build --force`."""
    tree = ast.parse(path.read_text())
    skipped = docstrings(tree)
    for node in ast.walk(tree):  # parts of f-texts, and words of commands that are run
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
        elif isinstance(node, ast.List):
            skipped |= {id(word) for word in ast.walk(node)}
    texts = [(node, whole(node)) for node in ast.walk(tree) if isinstance(node, ast.expr) and id(node) not in skipped]
    outside = [
        (node, re.sub(r"`(ufa|pip|v4l2-ctl|podman|torchrun) [^`]*`|setProperty\('--", "", text)) for node, text in texts
    ]  # and styles
    made = {id(sum_.left) for sum_ in ast.walk(tree) if isinstance(sum_, ast.BinOp)}  # "--" + name
    return [
        f"{path}:{node.lineno}: {text}"
        for node, text in outside
        if re.search(r"(?<![\w-])--[a-z](?!\r)", text) or (text == "--" and id(node) in made)
    ]


@pytest.mark.parametrize("folder", LIBRARY)
def test_the_library_names_parameters_and_not_options(folder: str) -> None:
    translates = ROOT / "runtime" / "parameters.py"
    paths = [path for path in sorted((ROOT / folder).rglob("*.py")) if path != translates]
    assert [text for path in paths for text in texts_with_options(path)] == []


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("`tile=5` is odd", "--tile 5 is odd"),
        ("give more `max_memory`.", "give more --max-memory."),
        ("replace it with `force=True`", "replace it with --force"),
        ("`images=a b`", "NEAR FAR a b"),
        ("`align=affine` is not an option here", "`align=affine` is not an option here"),
        ("run `ufa build X.onnx --force`", "run `ufa build X.onnx --force`"),
        ("`tile", "`tile"),
    ],
)
def test_a_command_has_its_options_instead(text: str, spoken: str) -> None:
    assert as_options(text, OPTIONS) == spoken
    assert as_options(text, {}) == text
    assert deep_as_options({"a": [text, 1, None]}, OPTIONS) == {"a": [spoken, 1, None]}


def test_whatever_a_command_prints_names_its_options() -> None:
    app = typer.Typer()

    @app.command()
    def command(*, max_memory: int = 5, as_json: bool = False) -> None:
        with console.run(as_json):
            console.warn("mind `max_memory`")
            console.emit({"ok": True, "warnings": ["mind `max_memory=5`"]}, as_json=as_json)
            raise InputError(f"`max_memory={max_memory}` is too little.")

    done = CliRunner().invoke(app, ["--as-json"])
    assert done.stderr == "warning: mind --max-memory\nerror: --max-memory 5 is too little.\n"
    assert '"warnings": ["mind --max-memory 5"]' in done.stdout
    assert '"error": "--max-memory 5 is too little."' in done.stdout
    with pytest.raises(typer.Exit), console.run():
        raise InputError("`max_memory=5` is too little.")


@pytest.mark.parametrize(("text", "size"), [("520x480", (520, 480)), (" 8X9 ", (8, 9)), ("720 x 1280", (720, 1280))])
def test_a_size(text: str, size: tuple[int, int]) -> None:
    assert size_from(text) == size


@pytest.mark.parametrize("text", ["", "520", "0x5", "5x0", "-3x4", "3x4x5", "axb", "²x4", "9999999x9999999", "1.5x2"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"`optima={text}` is no size of frames")):
        size_from(text, "optima")


def test_another_commands_option_is_named_with_its_command():
    text = "take a file that was exported without `static`; `conflicts` shows where; `tile=5` and `unknown` stay"
    told = as_options(text, {"max_memory": "--max-memory"})
    assert told.startswith("take a file that was exported without --static; `ufa fuse --conflicts` shows where")
    assert told.endswith("`tile=5` and `unknown` stay")
    assert as_options(text, {}) == text  # in Python
    assert as_options("`static`", {"static": "--static"}) == "--static"


def test_an_option_is_known_by_its_own_name_too():
    command = typer.main.get_command(build_app("serve")).commands["serve"]
    assert as_options("`model=nope` and `max_memory=5`", options_of(command)) == "--model nope and --max-memory 5"
