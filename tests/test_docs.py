"""Commands in the pages are commands that exist; what pages show and link to is there."""

import ast
import importlib
import itertools
import re
import shlex
from pathlib import Path

import pytest
import typer

from ufafuse.commands.cli import build_app
from ufafuse.commands.results import RESULTS
from ufafuse.commands.schema import schema_of
from ufafuse.runtime.models import described

ROOT = Path(__file__).resolve().parents[1]
LATER = {".venv", "build", "src"}
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not LATER & set(path.relative_to(ROOT).parts) and "src" not in path.relative_to(ROOT).parts
)
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "runtime").rglob("*.py")))
COMMAND = typer.main.get_command(build_app())


def command_lines(text):
    """The `ufa` calls in fenced and indented blocks, and in backticks."""
    text = re.sub(r"\\\n\s*", " ", text)
    yield from re.findall(r"^(?: {4}|\| )?(?:[^\s`]*/)?(ufa [a-z].*)$", text, re.MULTILINE)
    yield from re.findall(r"`(ufa [a-z][^`]*)`", text)


def wrong_with(line):
    """What a command line names that does not exist; empty where all of it does."""
    line = re.split(r"\s{2,}|\s[|&;#]\s?|\s+\(", line)[0]
    try:
        words = shlex.split(line)[1:]
    except ValueError:
        return ""
    command = COMMAND
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return "" if command is not COMMAND else f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"-h", "--help"}
    named = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    return f"no option {', '.join(sorted(named - known))}" if named - known else ""


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])
def test_a_page_names_what_exists(page):
    text = page.read_text(encoding="utf-8")
    wrong = {line: told for line in command_lines(text) if (told := wrong_with(line))}
    assert wrong == {}


def test_the_check_finds_what_does_not_exist():
    assert wrong_with("ufa fuse a b --nonsense")
    assert wrong_with("ufa nonsense")
    assert not wrong_with("ufa fuse a b -o x.png --force")
    assert not wrong_with("ufa train ablation --over lambda")
    assert list(command_lines("```sh\nufa fuse a b\n```\n    ufa info\nand `ufa eval --pairs x`"))


# What `pip install 'ufafuse[...]'` a command needs; an alternative where several do.
NEEDS = {"train": "train", "export": "export", "calibrate": "export", "bench": "bench", "eval": "bench", "serve": "serve"}
NEEDS |= {"dataset": "train", "build": "gpu|rtx|dev", "fuse": "cpu|gpu", "stream": "cpu|gpu", "verify": "export|cpu|gpu"}
HOWTOS = [*sorted((ROOT / "docs").glob("howto/*.md")), ROOT / "docs/serving.md", ROOT / "docs/index.md"]


def extras_named(text):
    """The extras that a page says to install."""
    found = re.findall(r"ufafuse\[([a-z,]+)\]", text)
    return {extra for names in found for extra in names.split(",")}


def blocks(text):
    """The code blocks: what a reader copies and runs."""
    return "\n".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL))


@pytest.mark.parametrize("page", HOWTOS, ids=[path.name for path in HOWTOS])
def test_a_howto_says_what_its_commands_need(page):
    text = page.read_text(encoding="utf-8")
    used = {line.split()[1] for line in command_lines(blocks(text))} & set(NEEDS)
    named = extras_named(text)
    assert {name for name in used if not named & set(NEEDS[name].split("|"))} == set()
    assert "view" in named or not re.search(r"^ufa stream.* --view", blocks(text), re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])
def test_a_page_links_to_what_is_there(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" in target:
            continue
        assert (page.parent / target).exists(), target


def test_the_readme_says_which_networks_are_free_and_how_to_take_them():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    answer = text[text.index("May I use them in a product?") :].split("\n\n")[0]
    free = {network.name for network in described() if network.free}
    assert set(re.findall(r"`(ufa-\w+)`", answer.split(": yes")[0])) == free
    assert "--model ufa-free" in answer


def keys_of(schema):
    """The keys that a schema names, at any depth; of `ufa bench`, whose own file says more, those at the top."""
    found = dict(schema.get("properties", {}))
    inner = [*found.values(), *schema.get("anyOf", []), schema.get("items"), schema.get("additionalProperties")]
    return set(found).union(*(keys_of(part) for part in inner if isinstance(part, dict)))


@pytest.mark.parametrize("command", [*RESULTS, "bench"])
def test_the_page_names_the_keys_that_the_schema_has(command):
    page = (ROOT / "docs" / "reference" / "json.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| ") and f"`{command}`" in line.split("|")[1])
    schema = schema_of(command)
    wanted = set(schema["properties"]) if command == "bench" else keys_of(schema)
    named = set(re.findall(r"`(\w+)`", row.split("|", 2)[2]))
    assert wanted - named == set()
    values = {"measured", "ours", "authors", "given"}  # of `kinds`
    assert command == "bench" or named - wanted <= values


def python_in(text):
    """The Python of a page: its blocks, and lines of indented ones that import."""
    yield from re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    yield from re.findall(r"^ {4,}(from ufafuse\S* import \w+(?:, \w+)*)", text, flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])
def test_python_in_a_page_imports_what_is_there(page):
    for block in python_in(page.read_text(encoding="utf-8")):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ufafuse"):
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "fuse_stack":
                assert 'Fuser("ufa-stack"' in block, "as `ufa fuse`: the network for stacks, and not the one for pairs"


MODELS = (".onnx", ".xml", ".ncnn.param", ".engine", ".npz", ".mnn", ".tflite")


@pytest.mark.parametrize("page", HOWTOS, ids=[path.name for path in HOWTOS])
def test_a_howto_makes_the_model_files_that_it_uses(page):
    text = page.read_text(encoding="utf-8")
    calls = [
        shlex.split(re.split(r"\s{2,}|\s[|&;#]\s?", line)[0], comments=True) for line in command_lines(text) if "'" not in line
    ]
    made, used = set(), set()
    for words in calls:
        makes = {
            words[at + 1]
            for at, word in enumerate(words[:-1])
            if word in ("-o", "--out") or (words[1], word) == ("export", "--reference")
        }
        made |= makes
        used |= {word for word in words if word.endswith(MODELS) and "/" not in word} - makes  # a path is the reader's own
    assert used - made <= {"other.onnx", "X.onnx"}


def calls_of(text):
    """The words of each `ufa` call of a page's code blocks, in their order."""
    lines = command_lines(blocks(text))
    return [shlex.split(re.split(r"\s{2,}|\s[|&;#]\s?", line)[0], comments=True)[1:] for line in lines]


def after(words, *options):
    """What follows any of these options."""
    return [word for option, word in itertools.pairwise(words) if option in options]


@pytest.mark.parametrize("page", HOWTOS, ids=[path.name for path in HOWTOS])
def test_a_pages_commands_run_one_after_the_other(page):
    made = set()
    for command, *words in calls_of(page.read_text(encoding="utf-8")):
        if {"--resume", "--skip-existing", "--force"} & set(words) or command == "stream":
            continue
        results = set(after(words, "-o", "--out", "--depth", "--depth-view", "--mesh"))
        results = {word for word in results if Path(word).suffix or command == "train"}  # many pictures may share a folder
        assert made & results == set(), "it is there already, and would be refused"
        made |= results


@pytest.mark.parametrize("page", HOWTOS, ids=[path.name for path in HOWTOS])
def test_what_a_page_packs_fits_the_engine_that_it_verifies(page):
    calls = calls_of(page.read_text(encoding="utf-8"))
    packed = {
        name: after(words, "--reference-size") for words in calls for name in after(words, "--reference") if "export" in words
    }
    built = {name: after(words, "--static") for words in calls for name in after(words, "-o") if "build" in words}
    for words in calls:
        if words[0] == "verify" and words[1] in built:
            assert set(built[words[1]]) <= set(packed[after(words, "--reference")[0]])


@pytest.mark.parametrize("folder", ["commands", "network"])
def test_a_folders_page_says_what_each_file_is(folder):
    text = (ROOT / folder / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in (ROOT / folder).glob("*.py")} - {"__init__.py"}
    assert {name for name in files if f"`{name}`" not in text} == set()


TOLD_IN_WORDS = {"Grid", "Quality"}  # how tiles were cut, and the figures that `ufa stream` has a table of


@pytest.mark.parametrize("name", ["Fusion", "Stacked", "FusedPair", "Frame"])
def test_the_page_on_python_has_what_results_consist_of(name):
    page = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    members = {word for line in re.findall(r"members: \[(.*)\]", page) for word in line.split(", ")}
    module = re.search(rf"::: (\S+)\n    options:\n      members: \[[^]]*\b{name}\b", page)[1]
    annotations = getattr(importlib.import_module(module), name).__annotations__.values()
    named = {word for hint in annotations for word in re.findall(r"\b[A-Z]\w+", getattr(hint, "__forward_arg__", str(hint)))}
    ours = {word for word in named if re.search(rf"^class {word}\b", SOURCES, re.MULTILINE)}
    assert ours - TOLD_IN_WORDS - members == set()
