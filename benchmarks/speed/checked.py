"""Whether a JSON value is what a schema describes, for as much of JSON Schema as ``schema.json`` uses."""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

_KINDS: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


@cache
def bench_schema() -> dict[str, Any]:
    """That of ``bench.json``."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
    return schema


def problem(value: object, schema: Mapping[str, Any]) -> str:
    """What is wrong with a value, the first thing found, and where; empty where it is as the schema has it."""
    return next(_problems(value, schema, schema, "it"), "")


def _problems(value: Any, schema: Mapping[str, Any], root: Mapping[str, Any], where: str) -> Iterator[str]:  # noqa: ANN401
    if "$ref" in schema:
        group, name = schema["$ref"].removeprefix("#/").split("/")
        yield from _problems(value, root[group][name], root, where)
    choices = [next(_problems(value, choice, root, where), "") for choice in schema.get("anyOf", ())]
    if choices and all(choices):
        yield choices[0]
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{where} is {value!r:.40}, not {' or '.join(kinds)}"
        return
    if ("const" in schema and value != schema["const"]) or ("enum" in schema and value not in schema["enum"]):
        yield f"{where} is {value!r:.40}, not {schema.get('const', schema.get('enum'))}"
    yield from _problems_within(value, schema, root, where)
    if isinstance(value, int | float) and not isinstance(value, bool):
        least, above = schema.get("minimum", value), schema.get("exclusiveMinimum")
        if not value >= least or (above is not None and not value > above):
            yield f"{where} is {value}, which is too small"


def _problems_within(
    value: Any,  # noqa: ANN401
    schema: Mapping[str, Any],
    root: Mapping[str, Any],
    where: str,
) -> Iterator[str]:
    """What is wrong with the entries of an object or an array."""
    if isinstance(value, dict):
        yield from (f"{where} has no {name}" for name in schema.get("required", ()) if name not in value)
        for name, entry in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            if isinstance(inner, dict):
                yield from _problems(entry, inner, root, name if where == "it" else f"{where}.{name}")
    elif isinstance(value, list):
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)):
            yield f"{where} has {len(value)} entries"
        for number, entry in enumerate(value):
            yield from _problems(entry, schema.get("items", {}), root, f"{where}[{number}]")


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))
