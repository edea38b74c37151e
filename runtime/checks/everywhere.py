"""A model held against its reference on every engine that is installed, each in the file's own precision."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.checks.cases import Findings
from ufafuse.runtime.errors import BackendError
from ufafuse.runtime.kinds import engines_of
from ufafuse.runtime.session import SessionOptions, installed


@dataclass(frozen=True)
class Everywhere:
    """What came out, by engine.

    Args:
        by_backend: At least one.
        left_out: Engines that are installed and were not asked, and why.
    """

    by_backend: dict[str, Findings]
    left_out: dict[str, str]

    @property
    def told(self) -> Findings:
        """The one to tell of: the first that falls short, or the first; its report has the others as ``backends``."""
        chosen = next((each for each in self.by_backend.values() if not each.report["ok"]), None)
        chosen = chosen or next(iter(self.by_backend.values()))
        own = {name: _short(each.report) for name, each in self.by_backend.items()}
        return replace(chosen, report={**chosen.report, "backends": own, "left_out": self.left_out})


def _short(report: dict[str, Any]) -> dict[str, Any]:
    return {key: report[key] for key in ("ok", "precision", "pairs", "worst", "tolerance")}


def own_precision(manifest: Manifest, backend: str) -> str | None:
    """The arithmetic that is the file's own on an engine: nothing coarser than what is stored.

    OpenVINO computes in bfloat16 where the CPU has it, whatever the file holds, unless float32 is asked for; a file of halves
    it computes in float32. Of an int8 file this is the arithmetic of the rest.
    """
    return "fp32" if backend == "openvino" and manifest.precision in ("fp32", "fp16", "int8") else None


def verify_everywhere(
    manifest: Manifest, backend: str, options: SessionOptions, verify: Callable[[str, SessionOptions], Findings]
) -> Everywhere:
    """Verify on each engine for this kind of file that is installed, or on one.

    Args:
        manifest: The file's.
        backend: One of `BACKENDS`; ``"auto"``: all of them.
        options: Their ``precision`` None: the file's own (`own_precision`).
        verify: Called with (engine, options).

    Raises:
        BackendError: The engine that was asked for, or every one, is missing or refuses.
    """
    asked = [backend]
    if backend == "auto":
        engines = engines_of(manifest.kind)
        known = [name for name in engines if options.provider == "cpu" or name == "onnxruntime"]  # providers are its own
        asked = [name for name in known if len(engines) == 1 or installed(name)]
    found: dict[str, Findings] = {}
    left_out: dict[str, str] = {}
    for name in asked or [backend]:
        own = options if options.precision else replace(options, precision=own_precision(manifest, name))
        try:
            findings = verify(name, own)
        except BackendError as error:
            if backend != "auto" or len(asked) == 1:
                raise
            left_out[name] = str(error)
        else:
            found[findings.report["backend"]] = findings
    if not found:
        raise BackendError(" ".join(left_out.values()))
    return Everywhere(found, left_out)
