"""Every page of help: nothing cut, nothing wider than the terminal, no words of a library."""

import re

import pytest
import typer

from ufafuse.commands.cli import ORDER, build_app

COMMAND = typer.main.get_command(build_app())


def pages(command=COMMAND, path=("ufa",)):
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from pages(child, (*path, name))


def help_of(path, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    command, context = COMMAND, None
    for name in path:
        command = command if context is None else command.commands[name]
        context = typer.Context(command, info_name=name, parent=context)
    return command, command.get_help(context)


@pytest.mark.parametrize("columns", [80, 100])
@pytest.mark.parametrize("path", list(pages()), ids=" ".join)
def test_a_page_fits_and_is_whole(path, columns, monkeypatch):
    command, text = help_of(path, monkeypatch, columns)
    assert max(map(len, text.splitlines())) <= columns
    assert "<" not in re.sub(r"[<>]=", "", text), "a library's name of a type"
    assert "left away" not in text
    flat = " ".join(text.split())
    for param in command.params:
        if getattr(param, "hidden", False):
            continue
        for name in param.opts if param.param_type_name == "option" else []:
            assert name in flat
        for word in (param.help or "").split():  # broken between words only
            assert word in flat.split() or word in flat


def test_choices_are_whole_and_flags_have_no_type(monkeypatch):
    _, text = help_of(("ufa", "fuse"), monkeypatch, 80)
    assert "--backend auto|tensorrt|onnxruntime|openvino" in text
    assert re.search(r"^  --crop +With", text, re.MULTILINE)
    assert "[default: auto]" in text


def test_required_options_are_marked_and_in_the_usage(monkeypatch):
    _, text = help_of(("ufa", "build"), monkeypatch, 80)
    assert text.startswith("Usage: ufa build ONNX --out PATH [OPTIONS]")
    assert "[required]" in text


def test_commands_come_in_the_order_of_the_work(monkeypatch):
    _, text = help_of(("ufa",), monkeypatch, 80)
    named = re.findall(r"^  ([a-z]+)  ", text[text.index("Commands:") :], re.MULTILINE)
    assert named == [name for name in ORDER if name in named]
    assert len(named) == len(COMMAND.commands)
