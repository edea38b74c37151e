"""What commands print with --json, as JSON Schema; every other test of a command holds its result against it (conftest)."""

import json

import pytest
import typer
from typer.testing import CliRunner

from ufafuse.commands.cli import build_app
from ufafuse.commands.results import RESULTS
from ufafuse.commands.schema import schema_of
from ufafuse.runtime import console

jsonschema = pytest.importorskip("jsonschema")

DONE = {
    "ok": True,
    "backend": "openvino",
    "precision": "fp32",
    "model": "x.onnx",
    "outputs": [{"near": "a", "far": "b", "fused": "c", "size": [4, 5], "ms": 1.5, "new key": 1}],
    "failed": 0,
}


@pytest.mark.parametrize("name", [*RESULTS, "bench"])
def test_each_schema_is_one(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema_of(name))


def test_every_command_with_json_has_one() -> None:
    def named(group: typer.core.TyperGroup, prefix: str = "") -> list[str]:
        found: list[str] = []
        for name, command in group.commands.items():
            found += [prefix + name] if any("--json" in param.opts for param in command.params) else []
            found += named(command, f"{prefix}{name} ") if isinstance(command, typer.core.TyperGroup) else []
        return found

    assert set(named(typer.main.get_command(build_app()))) == {*RESULTS, "bench"}


@pytest.mark.parametrize(
    "change",
    [{"ok": None}, {"outputs": [{}]}, {"failed": "0"}, {"outputs": [{**DONE["outputs"][0], "size": [4]}]}],  # type: ignore[index]
)
def test_what_does_not_fit_is_found(change: dict[str, object]) -> None:
    jsonschema.validate(DONE, schema_of("fuse"))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(DONE | change, schema_of("fuse"))


def test_the_command_prints_them() -> None:
    run = CliRunner().invoke
    assert json.loads(run(build_app(), ["schema", "train ablation"]).stdout) == schema_of("train ablation")
    assert set(json.loads(run(build_app(), ["schema", "all"]).stdout)) == {*RESULTS, "bench"}
    refused = run(build_app(), ["schema", "schema"])
    assert refused.exit_code == 2
    assert "schema prints no JSON: choose one of fuse" in refused.stderr


def test_results_of_commands_are_held_against_them(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()
    app.callback()(lambda: None)

    @app.command("models")
    def models() -> None:
        console.emit({"ok": True}, as_json=True)

    with pytest.raises(jsonschema.ValidationError, match="'models' is a required property"):
        CliRunner().invoke(app, ["models"], catch_exceptions=False)
