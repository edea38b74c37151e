"""The JSON Schemas of what commands print, made from `ufafuse.commands.results`."""

from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from ufafuse.commands.results import RESULTS

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def schema_of(command: str) -> dict[str, Any]:
    """The JSON Schema (2020-12) of what a command prints with ``--json`` where it could begin.

    Raises:
        KeyError: There is no such command, or it prints no JSON.
    """
    if command == "bench":
        import json
        from importlib.resources import files

        found: dict[str, Any] = json.loads(
            files("ufafuse.benchmarks.speed").joinpath("schema.json").read_text(encoding="utf-8")
        )
        return found
    title = f"What `ufa {command} --json` prints. Keys may be added; times in ms, sizes as [height, width]."
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **_schema(RESULTS[command])}


def _schema(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any annotation
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return {}
    if is_typeddict(kind):
        properties = {name: _schema(hint) for name, hint in get_type_hints(kind).items()}
        return {"type": "object", "required": sorted(kind.__required_keys__), "properties": properties}
    if origin in (list, dict, tuple):
        return _container(origin, [_schema(part) for part in inner])
    if origin is Literal:
        return {"enum": list(inner)}
    return {"anyOf": [_schema(part) for part in inner]} if origin in (Union, UnionType) else {"type": _PLAIN[kind]}


def _container(origin: type, inner: list[dict[str, Any]]) -> dict[str, Any]:
    if origin is dict:
        return {"type": "object", "additionalProperties": inner[1]}
    if origin is list:
        return {"type": "array", "items": inner[0]}
    return {"type": "array", "prefixItems": inner, "minItems": len(inner), "maxItems": len(inner)}
