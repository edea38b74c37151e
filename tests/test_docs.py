"""Commands in the pages are commands that exist; what pages show and link to is there."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from ufafuse.commands.cli import build_app

ROOT = Path(__file__).resolve().parents[1]
LATER = {".venv", "build", "src"}
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not LATER & set(path.relative_to(ROOT).parts) and "src" not in path.relative_to(ROOT).parts
)
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


@pytest.mark.parametrize("page", PAGES, ids=[path.relative_to(ROOT).as_posix() for path in PAGES])
def test_a_page_links_to_what_is_there(page):
    generated = {"folders", "changelog.md", "contributing.md", "cli.md"}
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" in target or (ROOT / "docs" in page.parents and generated & set(Path(target).parts)):
            continue
        assert (page.parent / target).exists(), target
