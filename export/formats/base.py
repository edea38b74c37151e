"""What a format says of itself, and what its converter is given."""

import contextlib
import importlib
import importlib.util
import io
import logging
import subprocess
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ufafuse.export.form import Form
from ufafuse.export.graphs import Graph
from ufafuse.export.onnx_check import finished
from ufafuse.export.signatures import Signature
from ufafuse.export.tracing import program_of, trace
from ufafuse.runtime.artefact import Manifest
from ufafuse.runtime.backends.quietly import stdout_to_stderr
from ufafuse.runtime.errors import BackendError, UfaError

if TYPE_CHECKING:
    import onnx

_OPSET = 17
_LAST_LINES = 3


@dataclass(frozen=True)
class Format:
    """A way out.

    Args:
        name: As ``--format`` takes it, and as `ufafuse.runtime.kinds` calls the file.
        title: As its makers write it.
        suffix: Of the file.
        module: The converter: a module of `ufafuse.export.formats` with ``convert(source, out)``.
        needs: Modules that converting needs.
        packages: Whose releases the manifest names.
        extra: What installs them, and what runs the file here.
        runs_on: In words.
        precisions: Of the stored tensors.
        free: Whether frames of any size can go in; where not, a size is wanted.
        several: Whether several pairs can go in at once.
        ios: Layouts of the inputs and outputs.
        mark: What the name of a file has behind the network's in `ufa export --all`, where its suffix is another format's too.
        file_kind: Of the file, where it is not the format's name.
        why_not_run: Why a file cannot be run here; empty where it is.
    """

    name: str
    title: str
    suffix: str
    module: str
    needs: tuple[str, ...]
    packages: tuple[str, ...]
    extra: str
    runs_on: str
    precisions: tuple[str, ...] = ("fp32",)
    free: bool = False
    several: bool = False
    ios: tuple[str, ...] = ("float",)
    mark: str = ""
    file_kind: str = ""
    why_not_run: str = ""

    @property
    def kind(self) -> str:
        """Of the file, see `ufafuse.runtime.kinds`."""
        return self.file_kind or self.name

    @property
    def missing(self) -> list[str]:
        """Modules that it needs and that are not installed."""
        return [module for module in self.needs if importlib.util.find_spec(module) is None]

    def require(self) -> None:
        """Raises: BackendError, with what installs it, unless all that it needs is there."""
        if self.missing:
            raise BackendError(f"{self.title} needs {' and '.join(self.missing)}: pip install 'ufafuse[{self.extra}]'.")

    def convert(self, source: "SourceGraph", out: Path) -> None:
        """Write the file (its parts beside it). Raises: BackendError, ModelError where the converter fails."""
        converter: Callable[[SourceGraph, Path], None] = importlib.import_module(
            f"ufafuse.export.formats.{self.module}"
        ).convert
        try:
            converter(source, out)
        except UfaError:
            raise
        except Exception as error:  # others' converters raise whatever they run into
            said = next((line.strip() for line in str(error).splitlines() if line.strip()), "it does not say why")
            raise BackendError(f"{self.title}'s converter failed ({type(error).__name__}): {said.rstrip('.')}.") from error


@dataclass(frozen=True)
class SourceGraph:
    """A graph to be converted.

    Args:
        module: In evaluation mode.
        signature: Its inputs and outputs.
        form: What is fixed.
        manifest: Of the file to be; the stored tensors' precision is in it.
    """

    module: Graph
    signature: Signature
    form: Form
    manifest: Manifest

    @property
    def half(self) -> bool:
        """Whether tensors are to be stored as halves."""
        return self.manifest.precision == "fp16"

    def onnx(self) -> "onnx.ModelProto":
        """The graph as ONNX, a new message, in an opset that converters have known for years."""
        import onnx

        known, form = self.signature, replace(self.form, opset=_OPSET)
        traced = trace(self.module, known.inputs, list(known.outputs), known.free, form.opset)
        return onnx.load_from_string(finished(traced, self.manifest, known, form))

    def program(self) -> torch.export.ExportedProgram:
        """The graph as torch's exported program."""
        return program_of(self.module, self.signature.inputs, self.signature.free)

    def examples(self) -> tuple[torch.Tensor, ...]:
        """Inputs of the form's size that are no constants, in their order."""
        generator = torch.Generator().manual_seed(0)
        return tuple(torch.rand(each.shape, generator=generator).to(each.dtype) for each in self.signature.inputs.values())


@contextlib.contextmanager
def hushed(level: int = logging.WARNING) -> Iterator[None]:
    """While the block runs, what converters warn of, print, and log up to ``level`` in this process goes nowhere."""
    before = logging.root.manager.disable
    logging.disable(level)
    printed = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(printed),
            stdout_to_stderr(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def run_tool(title: str, command: Sequence[str], folder: Path) -> None:
    """Run a converter in a process of its own: it prints as it likes, and may end its process.

    Raises:
        BackendError: It failed; with the last lines that it said.
    """
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, errors="replace")
    if done.returncode:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()][-_LAST_LINES:]
        raise BackendError(f"{title}'s converter failed ({done.returncode}): {' '.join(said) or 'it does not say why'}.")
