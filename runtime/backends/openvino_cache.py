"""Compiled networks kept between processes, so that the second start with a size of frames does not compile again.

A kept network is used only where all is as it was when it was compiled: the model's files (by their SHA-256), the frames' size
and kind, the settings, OpenVINO's release, the CPU and what it can do. It is checked against its own SHA-256, and taken from a
folder and a file that belong to this user and that nobody else can write to. Whatever does not fit is compiled anew.
"""

import contextlib
import hashlib
import io
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ufafuse.runtime.artefact import hashes_of
from ufafuse.runtime.backends.openvino_api import ov
from ufafuse.runtime.backends.ort_providers import engine_cache_folder

_FORMAT = 2  # of the files, and of what is done to a network before it is compiled: one more where that changes
_DIGEST = hashlib.sha256().digest_size
_SUFFIX = ".ov"
_MOST_FILES, _MOST_BYTES = 64, 256 << 20
_LEFT_BEHIND_SECONDS = 3600.0  # a file that a killed process had begun
_OTHERS_MAY_WRITE = 0o022


class KeptNetworks:
    """The compiled networks of one model. Safe to use from several threads and processes.

    Make it before the model is read: the file may be replaced while a process still runs what it was, and what is compiled of
    that must not be taken for the new one.

    Args:
        model: Its file; they are kept in ``$UFAFUSE_CACHE/openvino``, or ``~/.cache/ufafuse/openvino``.

    Attributes:
        trouble: Why nothing can be kept, in a few words; empty where it can.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self._folder = engine_cache_folder() / "openvino"
        self._hashes = hashes_of(model)
        self.trouble = ""

    def name_for(self, task: Any, settings: Mapping[str, Any], capabilities: Sequence[str]) -> str:  # noqa: ANN401 - JSON-ready
        """The file's name for a task: a hash of all that the compiled network depends on."""
        said = [_FORMAT, ov.get_version(), _cpu(), sorted(capabilities), os.cpu_count(), self._hashes, task]
        text = json.dumps([*said, {key: str(value) for key, value in sorted(settings.items())}])
        return f"{self._model.stem}-{hashlib.sha256(text.encode()).hexdigest()[:40]}{_SUFFIX}"

    def load(self, core: Any, name: str, settings: Mapping[str, Any]) -> Any | None:  # noqa: ANN401 - openvino's types are its own
        """The kept network, or None."""
        path = self._folder / name
        try:
            if not (_is_ours(self._folder) and _is_ours(path)):
                return None
            network = core.import_model(io.BytesIO(_checked(path.read_bytes())), "CPU", dict(settings))
            os.utime(path)  # the least used go first
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RuntimeError):  # damaged, or of a release that calls itself the same
            with contextlib.suppress(OSError):
                path.unlink()
            return None
        return network

    def keep(self, network: Any, name: str) -> None:  # noqa: ANN401 - as above
        """Keep a compiled network. A folder that cannot be written is no reason not to fuse: `trouble` says so."""
        temporary = self._folder / f"{name}.{os.getpid()}.tmp"
        try:
            if hashes_of(self._model) != self._hashes:  # perhaps before it was read
                self.trouble = f"{self._model.name} was replaced"
                return
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not _is_ours(self._folder):
                self.trouble = f"{self._folder} can be written by others"
                return
            blob = io.BytesIO()
            network.export_model(blob)
            data = blob.getvalue()
            with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(hashlib.sha256(data).digest() + data)
            temporary.replace(self._folder / name)
            with contextlib.suppress(OSError):  # another process sweeps too
                self._sweep()
        except (OSError, RuntimeError) as error:
            self.trouble = error.strerror or str(error) if isinstance(error, OSError) else "OpenVINO cannot export it"
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _sweep(self) -> None:
        """Remove what was not used for longest, beyond the most that is kept, and what a killed process left."""
        with os.scandir(self._folder) as entries:
            found = [(entry.stat().st_mtime, entry.stat().st_size, Path(entry.path)) for entry in entries]
        old = time.time() - _LEFT_BEHIND_SECONDS
        total = 0
        for number, (_, size, path) in enumerate(sorted((e for e in found if e[2].suffix == _SUFFIX), reverse=True)):
            total += size
            if number >= _MOST_FILES or total > _MOST_BYTES:
                path.unlink(missing_ok=True)
        for used, _, path in found:
            if path.suffix == ".tmp" and used < old:
                path.unlink(missing_ok=True)


def _checked(data: bytes) -> bytes:
    """What a file holds behind its hash. Raises: ValueError, where it was cut short or changed."""
    if hashlib.sha256(data[_DIGEST:]).digest() != data[:_DIGEST]:
        raise ValueError("the file was cut short or changed")
    return data[_DIGEST:]


def _is_ours(path: Path) -> bool:
    """Whether a file or folder belongs to this user and nobody else can write to it. Raises: FileNotFoundError."""
    state = path.lstat()
    return state.st_uid == os.geteuid() and not state.st_mode & _OTHERS_MAY_WRITE


def _cpu() -> str:
    from ufafuse.runtime.machine import cpu

    name, features = cpu()
    return f"{name} {' '.join(feature for feature, has in features.items() if has)}"
