"""Model files that say what they are.

An artefact (``.safetensors``, ``.onnx``, ``.engine``) carries a `Manifest`: inside the file where its format has room
for it, beside it (``X.engine.json``) where it has none. Reading one needs neither onnx nor safetensors, so a device can
check a file before it loads it.
"""

import contextlib
import hashlib
import json
import mmap
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.writing import atomic_write as atomic_write  # noqa: PLC0414 - artefacts are written by them
from ufafuse.runtime.writing import write_json as write_json  # noqa: PLC0414

METADATA_KEY = "ufafuse"
SCHEMA = 1

_ONNX_GRAPH_FIELD = 7
_ONNX_METADATA_FIELD = 14
_WIRE_VARINT, _WIRE_FIXED64, _WIRE_BYTES, _WIRE_FIXED32 = 0, 1, 2, 5


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Manifest:
    """What a model file is and where it came from.

    Args:
        kind: ``"weights"``, ``"onnx"`` or ``"engine"``.
        variant: The network's name, such as ``"ufa"``.
        precision: ``"fp32"``, ``"fp16"``, ``"bf16"`` or ``"int8"``: what the file's tensors are.
        io: ``"float"`` (N x 3 x H x W, RGB, [0, 1]) or ``"uint8"`` (N x H x W x 3, BGR).
        spec: The network's spec as a dictionary.
        weights_sha256: Hash of the weights file that it came from; empty for weights themselves.
        tools: Versions of the packages that made it.
        created: UTC time, ISO 8601.
        extra: What only this kind needs (role, halo, profiles, hash of the ONNX, ...).
    """

    kind: str
    variant: str
    precision: str
    io: str = "float"
    spec: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    tools: dict[str, str] = field(default_factory=dict)
    created: str = field(default_factory=_now)
    extra: dict[str, Any] = field(default_factory=dict)

    def to_metadata(self) -> dict[str, str]:
        """One string entry, as ONNX ``metadata_props`` and the safetensors header take it."""
        return {METADATA_KEY: json.dumps({"schema": SCHEMA, **asdict(self)}, sort_keys=True)}

    @classmethod
    def from_metadata(cls, entries: Mapping[str, str], where: str) -> "Manifest":
        """Read `to_metadata`'s entry back.

        Args:
            entries: The file's metadata.
            where: The file's name, for the error.

        Raises:
            ModelError: There is no manifest, or a newer or broken one.
        """
        if METADATA_KEY not in entries:
            raise ModelError(f"{where} carries no ufafuse manifest: it was not made by `ufa train` or `ufa export`.")
        try:
            values = json.loads(entries[METADATA_KEY])
            schema = values.pop("schema")
            if schema != SCHEMA:
                raise ModelError(f"{where} has a manifest of schema {schema}, this ufafuse reads {SCHEMA}: make it again.")
            return cls(**values)
        except (json.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
            raise ModelError(f"{where} has a manifest that cannot be read ({error}): make the file again.") from error


def read_manifest(path: Path) -> Manifest:
    """The manifest of a ``.safetensors``, ``.onnx`` or ``.engine`` file, without loading the model.

    Raises:
        InputError: The file does not exist or has another suffix.
        ModelError: The file is truncated, foreign, or its manifest is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file: give a .safetensors, .onnx or .engine file.")
    if path.stat().st_size == 0:
        raise ModelError(f"{path} is empty: make or copy it again.")
    if path.suffix == ".safetensors":
        return Manifest.from_metadata(_safetensors_metadata(path), str(path))
    if path.suffix == ".onnx":
        return Manifest.from_metadata(_onnx_metadata(path), str(path))
    if path.suffix == ".engine":
        return _engine_manifest(path)
    raise InputError(f"{path} has the suffix {path.suffix or 'none'!r}: expected .safetensors, .onnx or .engine.")


def manifest_path(engine: Path) -> Path:
    """Where an engine's manifest lies: beside it, so that the plan stays one that trtexec loads."""
    return engine.with_name(engine.name + ".json")


def _engine_manifest(path: Path) -> Manifest:
    beside = manifest_path(path)
    if not beside.is_file():
        raise ModelError(f"{path} has no manifest {beside.name} beside it: copy both, or run `ufa build` again.")
    try:
        return Manifest.from_metadata({METADATA_KEY: beside.read_text()}, str(beside))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{beside} cannot be read ({error}): run `ufa build` again.") from error


def _safetensors_metadata(path: Path) -> dict[str, str]:
    """Header of a safetensors file: 8 bytes of length, then JSON; the data's end is checked against the file's size."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= size - 8:
            raise ModelError(f"{path} is truncated or no safetensors file: make or copy it again.")
        try:
            header = json.loads(stream.read(length))
            entries = dict(header.pop("__metadata__", {}))
            end = max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ModelError(f"{path} is no safetensors file: its header is not JSON.") from error
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise ModelError(f"{path} is no safetensors file: its header does not describe tensors.") from error
    if 8 + length + end != size:
        raise ModelError(f"{path} is truncated: {size} bytes instead of {8 + length + end}. Make or copy it again.")
    return entries


def _onnx_metadata(path: Path) -> dict[str, str]:
    """``metadata_props`` of an ONNX file, by a walk over the outermost protobuf fields only."""
    entries: dict[str, str] = {}
    has_graph = False
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            for number, start, end in _protobuf_fields(data, 0, len(data)):
                has_graph |= number == _ONNX_GRAPH_FIELD
                if number == _ONNX_METADATA_FIELD:
                    parts = {n: bytes(data[a:b]).decode() for n, a, b in _protobuf_fields(data, start, end)}
                    entries[parts.get(1, "")] = parts.get(2, "")
        except (IndexError, ValueError) as error:
            raise ModelError(f"{path} is truncated or no ONNX file ({error}): make or copy it again.") from error
    if not has_graph:
        raise ModelError(f"{path} holds no graph: it is truncated or no ONNX file.")
    return entries


def _protobuf_fields(data: mmap.mmap, position: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(field number, start, end) of each length-delimited field in ``data[position:end]``."""
    while position < end:
        key, position = _varint(data, position)
        wire = key & 7
        if wire == _WIRE_VARINT:
            _, position = _varint(data, position)
        elif wire in (_WIRE_FIXED64, _WIRE_FIXED32):
            position += 8 if wire == _WIRE_FIXED64 else 4
        elif wire == _WIRE_BYTES:
            length, position = _varint(data, position)
            yield key >> 3, position, position + length
            position += length
        else:
            raise ValueError(f"wire type {wire}")
        if position > end:
            raise ValueError("a field runs past the end")


def _varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise ValueError("a number of more than ten bytes")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def tool_versions(*packages: str) -> dict[str, str]:
    """Installed versions of ``packages`` (and of ufafuse); those not installed are left out."""
    versions = {}
    for package in ("ufafuse", *packages):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
