"""Model files that say what they are.

An artefact (``.safetensors``, ``.onnx``, ``.engine`` and other formats' files) carries a `Manifest`: inside the file where its
format has room for it, beside it (``X.engine.json``) where it has none. Reading one needs neither onnx nor safetensors, so a
device can check a file before it loads it.
"""

import contextlib
import functools
import hashlib
import json
import mmap
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ufafuse.runtime.errors import InputError, ModelError
from ufafuse.runtime.filebytes import check_file
from ufafuse.runtime.kinds import SUFFIXES, Kind, in_words, kind_of
from ufafuse.runtime.manifest_entries import fault_in
from ufafuse.runtime.onnx_walk import fields, has_external_data
from ufafuse.runtime.texts import suffix_words
from ufafuse.runtime.underway import apart as apart  # noqa: PLC0414
from ufafuse.runtime.values import check_value, is_path
from ufafuse.runtime.writing import atomic_write as atomic_write  # noqa: PLC0414 - artefacts are written by them
from ufafuse.runtime.writing import write_json as write_json  # noqa: PLC0414

METADATA_KEY = "ufafuse"
SCHEMA = 1

_LAST_SECOND = 253_402_300_799  # of the year 9999

_ONNX_GRAPH_FIELD = 7
_ONNX_METADATA_FIELD = 14
_LARGEST_HEADER = 100 << 20  # bytes: safetensors' own limit


def made_at() -> str:
    """The time that model files say they were made at, UTC, ISO 8601: now, or what ``SOURCE_DATE_EPOCH`` says.

    With that two runs write the same bytes (https://reproducible-builds.org/specs/source-date-epoch).

    Raises:
        InputError: It is set to something else than whole seconds since 1970.
    """
    told = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not told:
        return datetime.now(timezone.utc).isoformat(timespec="seconds")
    if not (told.isascii() and told.isdigit() and len(told) <= len(str(_LAST_SECOND)) and int(told) <= _LAST_SECOND):
        raise InputError(f"SOURCE_DATE_EPOCH is {told!r}: give whole seconds since 1970, or unset it.")
    return datetime.fromtimestamp(int(told), timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Manifest:
    """What a model file is and where it came from.

    Args:
        kind: One of the names in `ufafuse.runtime.kinds`.
        variant: The network's name, such as ``"ufa"``.
        precision: ``"fp32"``, ``"fp16"``, ``"bf16"`` or ``"int8"``: what the file's tensors are.
        io: ``"float"`` (N x 3 x H x W, RGB, [0, 1]) or ``"uint8"`` (N x H x W x 3, BGR).
        spec: The network's spec as a dictionary.
        weights_sha256: Hash of the weights file that it came from; empty for weights themselves.
        tools: Versions of the packages that made it.
        created: As `made_at` says.
        extra: What only this kind needs (role, halo, profiles, hash of the ONNX, ...).
    """

    kind: str
    variant: str
    precision: str
    io: str = "float"
    spec: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""
    tools: dict[str, str] = field(default_factory=dict)
    created: str = field(default_factory=made_at)
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def role(self) -> str:
        """What a graph is for: ``"whole"`` fuses frames, the others are steps of tiling and of stacks."""
        return str(self.extra.get("role", "whole"))

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
            ModelError: There is no manifest, or a newer or broken one, or one of its entries has another type or range.
        """
        if METADATA_KEY not in entries:
            raise ModelError(f"{where} carries no ufafuse manifest: it was not made by `ufa train` or `ufa export`.")
        try:
            values = json.loads(entries[METADATA_KEY])
            schema = values.pop("schema")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ModelError(f"{where} has a manifest that cannot be read ({error}): make the file again.") from error
        if schema != SCHEMA:
            raise ModelError(f"{where} has a manifest of schema {schema!r:.40}, this ufafuse reads {SCHEMA}: make it again.")
        if fault := fault_in(values):
            raise ModelError(f"{where} has a manifest that cannot be used: {fault}. Make the file again.")
        return cls(**values)


def read_manifest(path: str | Path) -> Manifest:
    """The manifest of a model file, without loading the model.

    Raises:
        InputError: The file does not exist, cannot be read, or has another suffix; or this is no path.
        ModelError: The file is truncated, foreign, its manifest is missing or broken, or it is an ONNX file that wants data
            from other files: they could be anybody's, and some engines read them from anywhere.
    """
    check_value("path", path, is_path)
    try:
        return _manifest_of(Path(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _manifest_of(path: Path) -> Manifest:
    kind = kind_of(path)
    if not path.exists() or (path.is_dir() and kind is None):
        raise InputError(f"{path} is not a file: give a {in_words(SUFFIXES)} file.")
    if kind is None:
        raise InputError(f"{suffix_words(path)}: expected {in_words(SUFFIXES)}.")
    if path.is_dir() != (kind.name == "coreml"):
        raise InputError(f"{path} is a {'folder' if path.is_dir() else 'file'}, which {kind.suffix} is not: make it again.")
    if not path.is_dir():
        check_file(path, give=f"a {in_words(SUFFIXES)} file")
    if path.is_file() and path.stat().st_size == 0:
        raise ModelError(f"{path} is empty: make or copy it again.")
    if kind.name == "weights":
        return Manifest.from_metadata(safetensors_metadata(path), str(path))
    if kind.name == "onnx":
        return Manifest.from_metadata(_onnx_metadata(path), str(path))
    return _manifest_beside(path, kind)


def manifest_path(model: Path) -> Path:
    """Where the manifest lies of a file that has no room for one: beside it, so that it stays one that others load."""
    return model.with_name(model.name + ".json")


def _manifest_beside(path: Path, kind: Kind) -> Manifest:
    beside = manifest_path(path)
    if not beside.is_file():
        raise ModelError(f"{path} has no manifest {beside.name} beside it: copy both, or run `{kind.maker}` again.")
    try:
        manifest = Manifest.from_metadata({METADATA_KEY: beside.read_text()}, str(beside))
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{beside} cannot be read ({error}): run `{kind.maker}` again.") from error
    if kind.name not in ("engine", manifest.kind):  # an engine's is looked at by its session
        raise ModelError(f"{beside} is the manifest of a file of another kind ({manifest.kind}): copy the right one.")
    return manifest


def safetensors_metadata(path: Path) -> dict[str, str]:
    """What a safetensors file says of itself. Raises: ModelError where it is no such file, or truncated.

    Its header is 8 bytes of length, then JSON; the data's end is checked against the file's size.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(size - 8, _LARGEST_HEADER):
            raise ModelError(f"{path} is truncated or no safetensors file: make or copy it again.")
        try:
            header = json.loads(stream.read(length))
            entries = dict(header.pop("__metadata__", {}))
            end = max((int(tensor["data_offsets"][1]) for tensor in header.values()), default=0)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ModelError(f"{path} is no safetensors file: its header is not JSON.") from error
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
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
            for number, start, end in fields(data, 0, len(data)):
                has_graph |= number == _ONNX_GRAPH_FIELD and end is not None
                if number == _ONNX_METADATA_FIELD and end is not None:
                    parts = {n: bytes(data[a:b]).decode() for n, a, b in fields(data, start, end) if b is not None}
                    entries[parts.get(1, "")] = parts.get(2, "")
            external = has_external_data(data)
        except (IndexError, ValueError) as error:
            raise ModelError(f"{path} is truncated or no ONNX file ({error}): make or copy it again.") from error
    if not has_graph:
        raise ModelError(f"{path} holds no graph: it is truncated or no ONNX file.")
    if external:
        raise ModelError(f"{path} wants data from other files, which is not read: export it again as one file.")
    return entries


def check_graph(path: Path, manifest: Manifest) -> None:
    """Refuse an ONNX file whose graph, weights included, is not the one that it was written with: a bit that flipped is enough.

    Args:
        path: A model file.
        manifest: Its own. Files without a ``graph_sha256``, of another kind or of an older version, are not looked at.

    Raises:
        ModelError: The graph was damaged, or changed by another program.
    """
    wanted = manifest.extra.get("graph_sha256") if manifest.kind == "onnx" else None
    if wanted is None:
        return
    digest = hashlib.sha256()
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for number, start, end in fields(data, 0, len(data)):
            if number == _ONNX_GRAPH_FIELD and end is not None:
                digest.update(data[start:end])
    if digest.hexdigest() != wanted:
        raise ModelError(
            f"{path} was damaged, or changed by another program: its graph is not the one that it was written with. Make or "
            "copy it again (to use it as it is, remove `graph_sha256` from its metadata)."
        )


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def hashes_of(path: Path) -> list[str]:
    """SHA-256 of each of the files that make up ``path``, as its manifest has them. Raises: OSError."""
    kind = kind_of(path)
    assert kind is not None
    return [sha256_of(each) for each in kind.files(path)]


def check_files(path: Path, wanted: list[str] | None) -> None:
    """Refuse a file that is not the one, or not all of those, that the manifest beside it was written for.

    Args:
        path: The model file.
        wanted: The manifest's ``files_sha256``; None: it has none, and nothing is checked.

    Raises:
        ModelError: A part is missing, or is another file.
    """
    kind = kind_of(path)
    if kind is None or wanted is None:
        return
    files = kind.files(path)
    missing = next((each.name for each in files if not each.is_file()), None)
    if missing is not None:
        raise ModelError(f"{path} needs {missing} beside it: copy both, or run `{kind.maker}` again.")
    if hashes_of(path) != wanted:
        raise ModelError(
            f"{' and '.join(each.name for each in files[:2])} {'are' if len(files) > 1 else 'is'} not what {path.name}.json "
            f"was written for: copy all of it again, or run `{kind.maker}` again."
        )


def tool_versions(*packages: str) -> dict[str, str]:
    """Installed versions of ``packages`` (and of ufafuse); those not installed are left out."""
    found = {package: _version(package) for package in ("ufafuse", *packages)}
    return {package: version for package, version in found.items() if version}


@functools.cache  # reading it takes milliseconds, and each of a thousand results says what it was made with
def _version(package: str) -> str:
    folders = () if package != "ufafuse" else (Path(place) for place in sys.path)  # what is told of it takes 20 ms to parse
    named = (name for folder in folders for name in folder.glob("ufafuse-*.dist-info/METADATA"))
    if (found := next(named, None)) is not None:
        return found.parent.name.removeprefix("ufafuse-").removesuffix(".dist-info")
    from importlib import metadata

    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return ""
