"""What an engine file says of itself, checked before any of it is deserialised.

A TensorRT plan runs on the release and the kind of GPU that it was built for and on no other; the library's own words
for a misfit are of little help. The manifest beside the plan (see `ufa build`) knows better, and knows the command
that mends it.
"""

import hashlib
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.backends.tensorrt.vendor import FLAVORS
from ufafuse.runtime.errors import BackendError, ModelError

AMPERE = (8, 0)


@dataclass(frozen=True)
class EngineFacts:
    """One engine's identity, from its manifest.

    Args:
        path: The engine file, for texts.
        flavor: ``"tensorrt"`` or ``"tensorrt-rtx"``.
        version: The release that built it.
        capabilities: The GPUs that it was built for: ``"sm86"`` and the like, or ``"ampere+"``; other words say nothing.
        hardware: ``"none"``, ``"ampere+"`` or ``"same-cc"``: what other GPUs it was built to tolerate.
        version_compatible: Whether later releases may load it; such a plan holds host code (the lean runtime).
        plan_sha256: Hash of the engine file.
        command: What builds it again.
        extra: The manifest's own entries.
    """

    path: Path
    flavor: str
    version: str
    capabilities: tuple[str, ...]
    hardware: str
    version_compatible: bool
    plan_sha256: str
    command: str
    extra: Mapping[str, Any]

    @classmethod
    def from_manifest(cls, path: Path, manifest: Manifest) -> "EngineFacts":
        """Read the facts. Raises: ModelError, when one of them is missing or the manifest is no engine's."""
        extra = manifest.extra
        if manifest.kind != "engine" or extra.get("flavor") not in FLAVORS:
            raise ModelError(f"{path} has a manifest that is no engine's: run `ufa build X.onnx -o {path} --force`.")
        try:
            return cls(
                path=path,
                flavor=extra["flavor"],
                version=str(extra["version"]),
                capabilities=tuple(map(str, extra["compute_capability"])),
                hardware=extra.get("hardware", "none"),
                version_compatible=bool(extra.get("version_compatible", False)),
                plan_sha256=extra["plan_sha256"],
                command=build_command(path, extra),
                extra=extra,
            )
        except KeyError as error:
            raise ModelError(f"{path} has a manifest without {error}: run `{build_command(path, extra)}`.") from error

    def command_for(self, size: Sequence[int]) -> str:
        """What builds an engine for frames of (height, width) ``size`` in its place."""
        static = {"min": list(size), "opt": list(size), "max": list(size)}
        return build_command(self.path, {**self.extra, "profiles": [static]})

    def check_plan(self, plan: bytes) -> None:
        """Refuse a file that is not the one the manifest was written for. Raises: ModelError."""
        found = hashlib.sha256(plan).hexdigest()
        if found != self.plan_sha256:
            raise ModelError(
                f"{self.path} is not the engine that its manifest describes (its hash is {found[:12]}, not "
                f"{self.plan_sha256[:12]}): copy both files again, or run `{self.command}`."
            )

    def check_version(self, version: str) -> None:
        """Refuse another release of TensorRT. Raises: ModelError.

        Plans bind to the exact release; one built version-compatible loads in its own and in later ones.
        """
        newer = _numbers(version) >= _numbers(self.version)
        if version == self.version or (self.version_compatible and newer):
            return
        raise ModelError(f"{self.path} was built by {self.flavor} {self.version}, here is {version}: run `{self.command}`.")

    def check_gpu(self, name: str, capability: tuple[int, int]) -> None:
        """Refuse a GPU that the engine was not built for. Raises: ModelError.

        Args:
            name: The GPU's name, for the text.
            capability: Its compute capability, such as (8, 6).
        """
        known = [word for word in self.capabilities if word == "ampere+" or word.startswith("sm")]
        if self.hardware == "ampere+":
            known.append("ampere+")
        here = f"sm{capability[0]}{capability[1]}"
        fits = here in known or ("ampere+" in known and capability >= AMPERE)
        if known and not fits:
            target = ["--target", here] if self.flavor == "tensorrt-rtx" else []
            raise ModelError(
                f"{self.path} was built for {', '.join(known)}; here is a {name}, which is {here}: "
                f"run `{' '.join([self.command, *target])}` on this machine."
            )


def build_command(path: Path, extra: Mapping[str, Any]) -> str:
    """The `ufa build` command that makes the engine ``path`` again, as far as its manifest tells."""
    words = ["ufa", "build", str(extra.get("onnx", "X.onnx")), "-o", str(path), "--force"]
    if extra.get("flavor") in FLAVORS:
        words += ["--flavor", extra["flavor"]]
    for profile in extra.get("profiles", ()):
        sizes = ["x".join(map(str, profile[key])) for key in ("min", "opt", "max")]
        if len(set(sizes)) == 1:
            words += ["--static", sizes[0]]
        else:
            words += ["--min", sizes[0], "--opt", sizes[1], "--max", sizes[2]]
    return shlex.join(words)


def check_precision(path: Path, manifest: Manifest, asked: str | None) -> None:
    """An engine's arithmetic was decided when it was built. Raises: BackendError."""
    if asked not in (None, manifest.precision):
        raise BackendError(
            f"{path.name} computes in {manifest.precision}, not {asked}: run `ufa export --precision {asked}` "
            "(or `ufa calibrate` for int8) and `ufa build`, or omit `precision`."
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
