"""`ufa info`, `ufa models` and `ufa schema`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from ufafuse.commands.effects import refuse_idle
from ufafuse.commands.options import BackendOption, Json
from ufafuse.commands.request import as_command
from ufafuse.runtime import console

_LONGEST = 48  # characters of a list in the table; all of it is in --json
_LAYOUTS = {"float": "float: N x 3 x H x W, RGB, 0 to 1", "uint8": "uint8: N x H x W x 3, BGR"}


def register(app: typer.Typer) -> None:
    """Add these commands to ``app``."""
    app.command("info")(as_command(info, InfoRequest))
    app.command("models")(models)
    app.command("schema")(schema)


@dataclass(frozen=True, kw_only=True)
class InfoRequest:
    """Show this machine and what it can run; or a model file's manifest. Check a model on this machine."""

    artefact: Annotated[Path | None, typer.Argument(help="A model file of any format, or a bundled name.")] = None
    self_test: Annotated[
        bool, typer.Option("--self-test", help="Run the model (the default one, or ARTEFACT) on a packed pair.")
    ] = False
    backend: BackendOption = "auto"
    as_json: Json = False


def info(asked: InfoRequest) -> None:
    """Run `ufa info`."""
    with console.run(asked.as_json):
        from dataclasses import asdict

        from ufafuse.runtime import opencv
        from ufafuse.runtime.artefact import read_manifest, tool_versions
        from ufafuse.runtime.checks.runnable import why_not_here
        from ufafuse.runtime.machine import backends, machine
        from ufafuse.runtime.models import file_named

        artefact = None if asked.artefact is None else file_named(asked.artefact)
        refuse_idle(("--backend", asked.backend != "auto", asked.self_test, "is what --self-test runs on: add that"))
        result: dict[str, Any] = {
            "ok": True,
            "version": tool_versions()["ufafuse"],
            "machine": machine(),
            "opencv": opencv.state(),
            "backends": backends(),
        }
        if artefact is not None:
            manifest = read_manifest(artefact)
            why_not = why_not_here(artefact, manifest)
            here = {"runs_here": why_not is None, "why_not": why_not}
            result["artefact"] = {"path": str(artefact), **asdict(manifest), **here, **_graph(artefact)}
        if asked.self_test:
            result["self_test"] = _tested(artefact, asked.backend)
            result["ok"] = result["self_test"]["ok"]
        console.emit(result, as_json=asked.as_json)
        if not asked.as_json:
            _print_info(result)
        if asked.self_test and not result["ok"]:
            raise typer.Exit(1)


def _graph(artefact: Path) -> dict[str, Any]:
    """Of an ONNX file what is in its graph."""
    from ufafuse.runtime.onnx_summary import summary_of

    return {"graph": summary_of(artefact).to_dict()} if artefact.suffix == ".onnx" else {}


def _tested(artefact: Path | None, backend: str) -> dict[str, Any]:
    from ufafuse.runtime.checks.selftest import self_test
    from ufafuse.runtime.fuser import Fuser

    with Fuser(artefact, backend=backend) as fuser:
        return self_test(fuser.session, fuser.model).report


def _print_info(result: dict[str, Any]) -> None:
    if "artefact" in result:
        _print_artefact(result["artefact"])
    else:
        _print_machine(result)
    if "self_test" in result:
        from ufafuse.runtime.checks.cases import how_far

        test = result["self_test"]
        verdict = "[green]passed[/green]" if test["ok"] else "[red]failed[/red]"
        console.out.print(
            f"self-test {verdict}: {console.escape(test['artefact'])} on {test['backend']}, {test['precision']}: "
            f"{how_far(test)}"
        )


def _print_artefact(artefact: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(show_header=False, title=console.escape(Path(artefact["path"]).name))
    here = "[green]yes[/green]" if artefact["runs_here"] else f"[yellow]no: {console.escape(artefact['why_not'])}[/yellow]"
    rows = {
        "file": artefact["path"],
        "kind": artefact["kind"],
        "network": artefact["variant"],
        "tensors": artefact["precision"],
        "in and out": _LAYOUTS.get(artefact["io"], artefact["io"]),
        "made": artefact["created"],
        "with": _short(artefact["tools"]),
        "of the weights": artefact["weights_sha256"][:12] or "",
        **{key.replace("_", " "): _entry(key, value) for key, value in artefact["extra"].items() if "sha256" not in key},
    }
    table.add_row("runs here", here)
    for key, value in rows.items():
        if value != "":
            table.add_row(key, console.escape(str(value)))
    console.out.print(table)
    if "graph" in artefact:
        _print_graph(artefact["graph"])


def _print_graph(graph: dict[str, Any]) -> None:
    from rich.table import Table

    ports = Table("", "tensor", "type", "shape", "what it is")
    for way, key in (("in", "inputs"), ("out", "outputs")):
        for port in graph[key]:
            shape = " x ".join(map(str, port["shape"]))
            ports.add_row(way, *(console.escape(text) for text in (port["name"], port["type"], shape, port["about"])))
    console.out.print(ports)
    counts = ", ".join(f"{count} {name}" for name, count in graph["operators"].items())
    total = sum(graph["operators"].values())
    console.out.print(f"opset {graph['opset']}, {total} operators: {console.escape(counts)}", soft_wrap=False)


def _entry(key: str, value: Any) -> str:  # noqa: ANN401 - whatever a manifest holds
    """What a manifest says under ``key``; empty where it says nothing."""
    if key == "profiles":  # which sizes an engine serves is what it is looked at for: never cut
        return "; ".join(map(_profile, value))
    if isinstance(value, dict):
        value = {name: inner for name, inner in value.items() if inner not in (None, [])}
    return "" if value is None else _short(value)


def _profile(profile: dict[str, Any]) -> str:
    """An engine's sizes and numbers of pairs, such as "256x256 to 2160x3840, best 1080x1920"."""
    low, best, high = ("x".join(map(str, profile[key])) for key in ("min", "opt", "max"))
    sizes = high if low == high else f"{low} to {high}, best {best}"
    batches = profile.get("batch", [1])
    fewest, most = min(batches), max(batches)
    return sizes + ("" if most == 1 else f", {most} pairs" if fewest == most else f", {fewest} to {most} pairs")


def _short(value: Any) -> str:  # noqa: ANN401 - whatever a manifest holds
    """A value of a manifest in a few words."""
    if isinstance(value, str):
        return value  # somebody's words, such as what weights learnt from and its terms
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        value = [f"{key} {_short(inner)}" for key, inner in value.items()]
    if isinstance(value, float):
        return f"{value:.6g}"
    text = ", ".join(map(_short, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip(', ')} ..."


def _print_machine(result: dict[str, Any]) -> None:
    from rich.table import Table

    machine = result["machine"]
    table = Table(show_header=False, title=f"ufafuse {result['version']}")
    for key in ("system", "architecture", "python", "cpu", "cores", "memory_mib"):
        table.add_row(key, str(machine[key]))
    if machine["usable_cores"] < machine["cores"] or machine["cpu_quota"] is not None:
        quota = "" if machine["cpu_quota"] is None else f" (CPU quota: {machine['cpu_quota']:.3g} cores)"
        table.add_row("usable cores", f"{machine['usable_cores']}{quota}")
    if machine["memory_limit_mib"] is not None:
        table.add_row("memory limit", f"{machine['memory_limit_mib']} MiB (of the control group)")
    table.add_row("features", " ".join(name if has else f"[dim]no {name}[/dim]" for name, has in machine["features"].items()))
    table.add_row("gpus", ", ".join(gpu["name"] for gpu in machine["gpus"]) or "none")
    table.add_row("opencv", _opencv_text(result["opencv"]))
    for name, state in result["backends"].items():
        text = state["version"] if state["available"] else f"[yellow]{console.escape(state['why_not'])}[/yellow]"
        table.add_row(name, text)
    console.out.print(table)


def _opencv_text(state: dict[str, Any]) -> str:
    if not state["available"]:
        return f"[yellow]{console.escape(state['why_not'])}[/yellow]"
    came = " and ".join(f"{name} {version}" for name, version in state["builds"].items()) or "not from pip"
    warning = f"; [yellow]{console.escape(state['warning'])}[/yellow]" if "warning" in state else ""
    return f"{state['version']} ({came}){warning}"


def models(as_json: Json = False) -> None:
    """List the networks that come with the package: their precisions, sizes, and what each is for."""
    with console.run(as_json):
        from ufafuse.runtime.models import described

        found = [network.to_json() for network in described()]
        console.emit({"ok": True, "models": found}, as_json=as_json)
        if not as_json:
            _print_models(found)
            console.hint("ufa fuse NEAR FAR --model NAME")


def _print_models(found: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table("name", "files", "what for, and what it learnt from")
    for network in found:
        files = "\n".join(f"{name} {size / 1e6:.1f} MB" for name, size in network["bytes"].items())
        name = f"{network['name']}\n[dim]the default[/dim]" if network["default"] else network["name"]
        learnt = f"[{'green' if network['free'] else 'yellow'}]Learnt from {console.escape(network['data'])}.[/]"
        table.add_row(name, files, f"{console.escape(network['purpose'])}\n{learnt}", end_section=True)
    console.out.print(table)
    free = " and ".join(network["name"] for network in found if network["free"])
    console.out.print(f"Free for any use, in a product too: {free}. Stacks take ufa-stack by themselves.")


def schema(
    command: Annotated[
        str,
        typer.Argument(metavar="COMMAND", help="Such as fuse or 'train ablation'; or all: every command's, by name."),
    ],
) -> None:
    """Print the JSON Schema of what a command prints with --json."""
    with console.run():
        import json

        from ufafuse.commands.results import RESULTS
        from ufafuse.commands.schema import schema_of
        from ufafuse.runtime.errors import InputError

        names = (*RESULTS, "bench")
        if command not in (*names, "all"):
            raise InputError(f"{command} prints no JSON: choose one of {', '.join(names)}, or all.")
        wanted = {name: schema_of(name) for name in names} if command == "all" else schema_of(command)
        console.plain(json.dumps(wanted, indent=2))
