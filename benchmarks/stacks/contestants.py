"""Who fuses stacks: networks, the pyramid, classical methods folded pair by pair, and pictures of any program."""

import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray

from ufafuse.benchmarks.contestants import FolderContestant, check_names, distinct, fused_folders, once, refuse_idle, size_facts
from ufafuse.benchmarks.methods import is_rival, method, methods
from ufafuse.benchmarks.published import GIVEN, MEASURED, OURS
from ufafuse.benchmarks.stacks.registered import Placed, Registered, placed
from ufafuse.runtime.arrays import Array
from ufafuse.runtime.fuser import Fuser
from ufafuse.runtime.images import read_image
from ufafuse.runtime.models import DEFAULT, STACKS, bundled
from ufafuse.runtime.stack import fuse_stack, middle_out
from ufafuse.runtime.stacks.fusing import fuse_sources
from ufafuse.runtime.stacks.height import Height
from ufafuse.runtime.stacks.options import StackOptions

PYRAMID = "pyramid"
_ALL = "all"


class FusedStack(NamedTuple):
    """A fused stack.

    Args:
        picture: As `placed` brings it into the frames' geometry.
        ms: Time of the fusion alone; None where it was not made here.
        height: The height map of the method's own; None where it has none.
        order: The frames' numbers in the order that ``height`` counts them; empty: as they were given.
        told: What there is to tell of its file, in sentences.
    """

    picture: Placed
    ms: float | None = None
    height: Height | None = None
    order: list[int] = []  # noqa: RUF012 - never written to
    told: tuple[str, ...] = ()


class StackContestant(ABC):
    """Something that has a fused picture for a stack.

    Attributes:
        name: The row's name.
        folds: Whether it needs all registered frames at once.
    """

    name: str
    folds: bool = False

    @property
    def kind(self) -> str:
        """What its row is, a key of `published.KINDS`."""
        return MEASURED

    @abstractmethod
    def fused(self, stack: Registered, *, want_height: bool) -> FusedStack:
        """The fused picture of ``stack``, and its heights if they are wanted and it has any. Raises: UfaError."""

    def close(self) -> None:
        """Free what it holds."""


def _made(picture: NDArray[Any], stack: Registered, name: str) -> Placed:
    return placed(picture, stack.target, name, white=stack.white, move=False)


class PyramidContestant(StackContestant):
    """The classical choice of the strongest detail in every octave."""

    name = PYRAMID

    def fused(self, stack: Registered, *, want_height: bool) -> FusedStack:  # noqa: ARG002 - it has none
        """It was made when the frames were registered."""
        return FusedStack(_made(stack.pyramid.fused, stack, self.name), stack.pyramid.ms)


@dataclass(frozen=True)
class FoldContestant(StackContestant):
    """A classical method for pairs, folded in the order in which the networks for pairs are."""

    name: str
    folds = True

    @property
    def kind(self) -> str:
        """Of a network of the paper's tables: with our weights."""
        return OURS if is_rival(self.name) else MEASURED

    def fused(self, stack: Registered, *, want_height: bool) -> FusedStack:  # noqa: ARG002 - it has none
        """Fold the frames."""
        chosen, pictures = method(self.name), dict(enumerate(map(stack.white.bytes, stack.frames)))
        start = time.perf_counter()
        for number, (near, far) in enumerate(middle_out(len(pictures)), start=len(pictures)):
            pictures[number] = chosen.fuse(pictures.pop(near), pictures.pop(far))
        ms = (time.perf_counter() - start) * 1e3
        return FusedStack(_made(pictures.popitem()[1], stack, self.name), ms)


class NetworkContestant(StackContestant):
    """A network, by its bundled name or its file: one that gathers fuses by one rule, any other one folds pair by pair."""

    def __init__(self, model: str, *, backend: str, precision: str | None, threads: int | None) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        if Path(model).suffix == ".safetensors":
            self._folder = tempfile.TemporaryDirectory(prefix="ufa-eval-")
            model = _exported(Path(model), Path(self._folder.name))
        self._fuser = Fuser(model, backend=backend, precision=precision, threads=threads)
        self.name = self._fuser.model.stem
        self.backend, self.precision = self._fuser.backend, self._fuser.precision
        self.folds = not self._fuser.gathers

    @property
    def kind(self) -> str:
        """Of a bundled network: with our weights. Who trained a file is not known."""
        return OURS if self.name in bundled() else MEASURED

    def facts(self) -> dict[str, Any]:
        """The engine, its arithmetic, and how many numbers the network has learnt where its file says."""
        return {"backend": self.backend, "precision": self.precision} | size_facts(self._fuser.model)

    def fused(self, stack: Registered, *, want_height: bool) -> FusedStack:
        """Run the network."""
        if self.folds:
            frames: list[Array] = list(stack.frames)
            folded = fuse_stack(self._fuser, frames, StackOptions())
            return FusedStack(_made(folded.fused, stack, self.name), folded.ms)
        reference = None if stack.align == "off" else stack.pyramid.reference
        options = StackOptions(align=stack.align, want_height=want_height, reference=reference)
        result = fuse_sources(self._fuser, stack.sources, options)
        return FusedStack(_made(result.fused, stack, self.name), result.ms, result.height, result.order)

    def close(self) -> None:
        """Free the engine."""
        self._fuser.close()
        if self._folder is not None:
            self._folder.cleanup()


def _exported(weights: Path, folder: Path) -> str:
    """Weights as ONNX, in a folder of our own."""
    from ufafuse.export.onnx_export import onnx_from_weights

    out = folder / f"{weights.stem}.onnx"
    onnx_from_weights(weights, out)
    return str(out)


class PicturesContestant(StackContestant):
    """Pictures of any program, one a stack, in a folder."""

    def __init__(self, folder: FolderContestant) -> None:
        self.name, self._folder = folder.name, folder

    @property
    def kind(self) -> str:
        """Pictures that were given."""
        return GIVEN

    def fused(self, stack: Registered, *, want_height: bool) -> FusedStack:  # noqa: ARG002 - it has none
        """Read the stack's picture, and register it to the frames where it lies elsewhere."""
        path, told = self._folder.find(stack.name, "stack"), dict[str, None]()
        picture = read_image(path, told=told)
        told.update(dict.fromkeys(f"{text}." for text in stack.white.told(str(path), picture)))
        return FusedStack(placed(picture, stack.target, str(path), white=stack.white), told=tuple(told))


def stack_contestants(
    *,
    fused: list[Path],
    models: list[str],
    method_names: list[str],
    backend: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    names: Sequence[str] = (),
) -> list[StackContestant]:
    """Everything that the user asked to compare, once; the network for stacks when nothing was asked for.

    Args:
        fused: Folders of pictures; one that only holds folders stands for all of those.
        models: Bundled names, weights or model files, or networks of the paper's tables (``"rival-..."``).
        method_names: ``"pyramid"``, classical methods, bundled networks, or ``"all"``: the pyramid and every classical method.
        backend, precision, threads: For the models.
        names: Of all stacks, chosen or not, so that each picture is taken for the one that it is of.

    Raises:
        InputError: A name is not known, a folder is missing, or two would have the same name.
        ModelError, BackendError: A model cannot be loaded.
    """
    networks, classical = bundled(), list(methods())
    asked_for = [name for asked in method_names for name in ([PYRAMID, *classical] if asked == _ALL else [asked])]
    asked_for = once([*asked_for, *(model for model in models if is_rival(model))])
    models = [model for model in models if not is_rival(model)]
    check_names(asked_for, [PYRAMID, *classical, *networks])
    given = [one for folder in fused for one in fused_folders(folder, "stack", names=names)]
    found: list[StackContestant] = [PicturesContestant(one) for one in given]
    found += [PyramidContestant() for name in asked_for if name == PYRAMID]
    found += [FoldContestant(name) for name in asked_for if name in classical]
    models = once([*models, *(name for name in asked_for if name in networks)])
    if not found and not models:
        models = [STACKS if STACKS in networks else DEFAULT]
    refuse_idle(models, backend=backend, precision=precision, threads=threads)
    for model in models:
        found.append(NetworkContestant(model, backend=backend, precision=precision, threads=threads))
    return list(distinct(found))
