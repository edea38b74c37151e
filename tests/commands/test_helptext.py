"""Every page of help: nothing cut, nothing wider than the terminal, no words of a library."""

import re

import pytest
import typer

from ufafuse.commands.cli import ORDER, build_app
from ufafuse.commands.helptext import _help

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
        assert _help(param).count("[default") <= max(1, (param.help or "").count("[default")), "two defaults of one option"
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


def test_every_command_and_group_has_a_page():
    found = {" ".join(path[1:]) for path in pages()}
    assert set(ORDER) <= found | {""}
    assert {"train ablation", "train every", "train loader", "eval", "export", "models", "schema", "info"} <= found


@pytest.mark.parametrize("path", [("ufa", "train", "ablation"), ("ufa", "train", "every"), ("ufa", "train")], ids=" ".join)
def test_the_folder_of_a_run_is_marked_as_needed(path, monkeypatch):
    _, text = help_of(path, monkeypatch, 80)
    assert re.search(r"^  --out PATH +Folder of the runs?\. \[required\]", text, re.MULTILINE)


@pytest.mark.parametrize("path", [("ufa", "stream"), ("ufa", "serve"), ("ufa", "fuse")], ids=" ".join)
def test_options_of_no_group_come_first_or_last(path, monkeypatch):
    _, text = help_of(path, monkeypatch, 80)
    groups = re.findall(r"^([A-Z][^:\n]*):$", text, re.MULTILINE)
    groups = [group for group in groups if group != "Arguments"]
    assert "Options" in (groups[0], groups[-1])


def test_commands_come_in_the_order_of_the_work(monkeypatch):
    _, text = help_of(("ufa",), monkeypatch, 80)
    named = re.findall(r"^  ([a-z]+)  ", text[text.index("Commands:") :], re.MULTILINE)
    assert named == [name for name in ORDER if name in named]
    assert len(named) == len(COMMAND.commands)
